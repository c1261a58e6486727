"""From what a person names (a run, LoRA files) to a sweep's folder."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.sweep import Sweep, SweepConfig, config_of_run, sweep_of_run
from trainer.core import toml
from trainer.core.errors import ConfigError, RunError
from trainer.core.events import Event, Warned
from trainer.job.choosing import MOST_STRENGTHS
from trainer.job.run import Run

if TYPE_CHECKING:
    from analysis.cell import Checkpoint


@dataclass(frozen=True, slots=True)
class Named:
    """What a person says of LoRA files from anywhere.

    Attributes:
        base: Base model: demo, a folder, a .safetensors file, a hub name.
        family: Its family; told from the model where it is empty.
        dataset: Pictures that they were trained on.
        held_out: Pictures of the same that they were not trained on.
        parts_from: Where the parts are that a base model in one file lacks.
    """

    base: str = "demo"
    family: str = ""
    dataset: Path | None = None
    held_out: Path | None = None
    trigger: str = ""
    class_word: str = ""
    overrides: Sequence[str] = field(default=())
    parts_from: str = ""


def sweep_of_config(config: SweepConfig, runs: Path, ticket: str = "") -> Sweep:
    """A new sweep as a file asks for it: in its run's folder, else among the runs."""
    day = date.today().isoformat()
    if config.run is not None:
        return Sweep.create(config, config.run / "analysis", day, ticket)
    return Sweep.create(config, runs / "sweeps", f"{day}-{config.name}", ticket)


def resumed(folder: Path, processes: int) -> Sweep:
    """An analysis to go on with, by other so many processes unless that is 0.

    Raises:
        RunError: Another process works on it.
    """
    sweep = Sweep.open(folder)
    if processes:
        with sweep.lock():
            sweep.change([f"analysis.processes={processes}"])
    return sweep


def sweep_of_files(files: Sequence[Path], named: Named, out: Path | None, runs: Path) -> Sweep:
    """A new sweep over LoRA files, in `out`, else among the runs."""
    config = config_of_files(files, named, runs)
    if out is None:
        return sweep_of_config(config, runs)
    return Sweep.create(config, out.absolute().parent, out.name)


def config_of_files(files: Sequence[Path], named: Named, runs: Path) -> SweepConfig:
    """What is asked of LoRA files."""
    from trainer.families.finding import kind_of

    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", files[0].stem).strip("-.") or "loras"
    values: dict[str, Any] = {
        "name": stem[:64],
        "loras": [str(path.absolute()) for path in files],
        "model": {
            "kind": named.family or kind_of(named.base),
            "base": named.base,
            **({"parts_from": named.parts_from} if named.parts_from else {}),
        },
        "cache": str(runs.absolute() / "cache"),
    }
    if named.dataset is not None:
        told = {"trigger": named.trigger, "class_word": named.class_word}
        values["dataset"] = {"folder": str(named.dataset.absolute()), **told}
    if named.held_out is not None:
        values["held_out"] = str(named.held_out.absolute())
    return toml.override(SweepConfig, values, named.overrides)


def numbers(text: str) -> str:
    """`0.2,0.4` or `0.2:1.2:0.2` as a TOML list.

    Raises:
        ConfigError: It is neither.
    """
    try:
        if ":" in text:
            first, last, step = (float(part) for part in text.split(":"))
            count = min(round((last - first) / step) + 1, MOST_STRENGTHS + 1)
            found = [round(first + step * n, 6) for n in range(count)]
        else:
            found = [float(part) for part in text.split(",")]
    except (ValueError, ZeroDivisionError, OverflowError):
        raise ConfigError(
            f"{text!r} is no list of strengths", hint="like 0.4,0.6,0.8 or 0.2:1.2:0.2"
        ) from None
    return "[" + ", ".join(map(str, found)) + "]"


def minutes(text: str) -> float:
    """`10m`, `1.5h`, `90s` or `10` (minutes) in minutes.

    Raises:
        ConfigError: It is none of these.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if match is None or float(match[1]) <= 0:
        raise ConfigError(f"{text!r} is no time to spend", hint="like 10m, 90s or 1.5h")
    return float(match[1]) * {"s": 1 / 60, "m": 1, "": 1, "h": 60}[match[2]]


def sweep_of(sources: Sequence[Path], named: Named, out: Path | None, runs: Path) -> Sweep:
    """A new sweep over what was named: one run, or LoRA files and folders of them.

    Raises:
        RunError: A name is neither a run nor a file.
    """
    run = _run_of(sources, runs)
    if run is not None:
        _refuse_idle(named, out)
        return sweep_of_run(run, named.overrides)
    return sweep_of_files(_files_of(sources), named, out, runs)


@dataclass(frozen=True, slots=True)
class Compared:
    """LoRA files that a sweep compares.

    Attributes:
        left_out: What is wrong with files that it does not.
    """

    checkpoints: list[Checkpoint]
    left_out: str = ""


def compared(run: Path | None, files: Sequence[Path]) -> Compared:
    """The LoRA files of a run, or those named; each is read whole.

    Raises:
        AdapterError: None can be used.
        RunError: The run has none yet.
    """
    from analysis.cell import of_files, of_run

    left_out: list[str] = []

    def note(event: Event) -> None:
        if isinstance(event, Warned):
            left_out.append(event.message)

    found = of_run(Run.open(run), note) if run is not None else of_files(files, note)
    return Compared(found, "; ".join(left_out))


def planned(
    sources: Sequence[Path],
    named: Named,
    runs: Path,
    reading: Callable[[Path | None, Sequence[Path]], Compared] = compared,
) -> dict[str, Any]:
    """What a sweep would take, in words; nothing is made.

    Args:
        sources: A run, or LoRA files and folders of them.
        named: What is said of files.
        runs: Where runs are.
        reading: `compared`, or what remembers its answers.
    """
    from analysis.preview import preview

    run = _run_of(sources, runs)
    if run is not None:
        _refuse_idle(named, None)
        config, found = config_of_run(run, named.overrides), reading(run.path, ())
    else:
        files = _files_of(sources)
        config, found = config_of_files(files, named, runs), reading(None, files)
    return {
        **preview(config, found.checkpoints),
        **({"not used": found.left_out} if found.left_out else {}),
    }


def _refuse_idle(named: Named, out: Path | None) -> None:
    """Raise where something is asked that means nothing for a run, which knows it itself."""
    plain = Named()
    idle = {
        "--out": out is not None,
        "--base": named.base != plain.base,
        "--family": named.family != plain.family,
        "--parts": named.parts_from != plain.parts_from,
        "--dataset": named.dataset is not None,
        "--held-out": named.held_out is not None,
        "--trigger": bool(named.trigger),
        "--class-word": bool(named.class_word),
    }
    for option, given in idle.items():
        if given:
            raise ConfigError(
                f"{option} means nothing for a run: its own is taken, and the analysis lies in it",
                hint=f"leave {option} out, or name the run's LoRA files instead of the run",
            )


def find_sweep(folder: Path) -> Path:
    """The analysis's folder, or the newest in a run's.

    Raises:
        RunError: There is none.
    """
    if (folder / "report.json").is_file() or (folder / "sweep.toml").is_file():
        return folder
    inside = sorted((folder / "analysis").glob("*/sweep.toml"), key=lambda p: p.stat().st_mtime)
    if not inside:
        raise RunError(
            "there is no analysis here",
            where=str(folder),
            hint="`sweetspot analyse RUN` makes one",
        )
    return inside[-1].parent


def quoted(texts: Sequence[str] | None) -> str:
    """Texts as a TOML list; empty when there are none."""
    told = json.dumps(list(texts), ensure_ascii=False) if texts else ""
    return told.replace("\x7f", "\\u007f")  # the one control character that JSON lets through


def _run_of(sources: Sequence[Path], runs: Path) -> Run | None:
    """The run that is named, in full or by its name in the runs folder."""
    if len(sources) != 1:
        return None
    for path in (sources[0], runs / sources[0]):
        if (path / "job.toml").is_file():
            return Run.open(path)
    return None


def pictures_of(sources: Sequence[Path]) -> Path | None:
    """The folder of finished pictures that is named; None when it is LoRA files or a run."""
    from trainer.data.image import SUFFIXES

    if len(sources) != 1 or not sources[0].is_dir() or (sources[0] / "job.toml").is_file():
        return None
    kinds = {path.suffix.lower() for path in sources[0].iterdir()}
    return sources[0] if kinds & SUFFIXES and ".safetensors" not in kinds else None


def _files_of(sources: Sequence[Path]) -> list[Path]:
    from analysis.studio import lora_files

    missing = [path for path in sources if not path.exists()]
    if missing:
        raise RunError(
            "there is no such run, LoRA file or folder",
            where=str(missing[0]),
            hint="`sweetspot runs list` shows the runs",
        )
    return lora_files(sources)
