"""From what a person names (a run, LoRA files) to a sweep's folder."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from analysis.preview import preview
from analysis.sweep import Sweep, SweepConfig
from trainer.core import toml
from trainer.core.errors import ConfigError, RunError
from trainer.core.events import Event, Warned
from trainer.job.run import Run


@dataclass(frozen=True, slots=True)
class Named:
    """What a person says of LoRA files from anywhere.

    Attributes:
        base: Base model: demo, a folder, a hub name.
        dataset: Pictures that they were trained on.
        held_out: Pictures of the same that they were not trained on.
    """

    base: str = "demo"
    family: str = "sd"
    dataset: Path | None = None
    held_out: Path | None = None
    trigger: str = ""
    class_word: str = ""
    overrides: Sequence[str] = field(default=())


def sweep_of_run(run: Run, overrides: Sequence[str]) -> Sweep:
    """A new sweep over a run's epochs, in the run's own folder."""
    config = config_of_run(run, overrides)
    return Sweep.create(config, run.path / "analysis", date.today().isoformat())


def config_of_run(run: Run, overrides: Sequence[str]) -> SweepConfig:
    """What is asked of a run's epochs: as its job says, with overrides laid over it."""
    job = run.job
    values: dict[str, Any] = {
        "run": str(run.path),
        "name": job.name,
        "model": job.model.model_dump(mode="json"),
        "dataset": job.dataset.model_dump(mode="json"),
        "held_out": str(job.validation.folder or ""),
        "classes": str(job.prior.folder or ""),
        "cache": str(job.cache_folder),
        "device": job.compute.device,
        "precision": job.compute.precision,
        "analysis": job.analysis.model_dump(mode="json"),
    }
    return toml.override(SweepConfig, values, overrides)


def sweep_of_files(files: Sequence[Path], named: Named, out: Path | None, runs: Path) -> Sweep:
    """A new sweep over LoRA files, in `out`, else among the runs."""
    config = config_of_files(files, named, runs)
    if out is None:
        return Sweep.create(config, runs / "sweeps", f"{date.today().isoformat()}-{config.name}")
    return Sweep.create(config, out.absolute().parent, out.name)


def config_of_files(files: Sequence[Path], named: Named, runs: Path) -> SweepConfig:
    """What is asked of LoRA files."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", files[0].stem).strip("-.") or "loras"
    values: dict[str, Any] = {
        "name": stem[:64],
        "loras": [str(path.absolute()) for path in files],
        "model": {"kind": named.family, "base": named.base},
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
            count = round((last - first) / step) + 1
            found = [round(first + step * n, 6) for n in range(count)]
        else:
            found = [float(part) for part in text.split(",")]
    except (ValueError, ZeroDivisionError):
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


def planned(sources: Sequence[Path], named: Named, runs: Path) -> dict[str, Any]:
    """What a sweep would take, in words; nothing is made."""
    from analysis.cell import of_files, of_run

    run = _run_of(sources, runs)
    left_out: list[str] = []

    def note(event: Event) -> None:
        if isinstance(event, Warned):
            left_out.append(event.message)

    if run is not None:
        _refuse_idle(named, None)
        config, checkpoints = config_of_run(run, named.overrides), of_run(run, note)
    else:
        files = _files_of(sources)
        config, checkpoints = config_of_files(files, named, runs), of_files(files, note)
    return {
        **preview(config, checkpoints),
        **({"not used": "; ".join(left_out)} if left_out else {}),
    }


def _refuse_idle(named: Named, out: Path | None) -> None:
    """Raise where something is asked that means nothing for a run, which knows it itself."""
    plain = Named()
    idle = {
        "--out": out is not None,
        "--base": named.base != plain.base,
        "--family": named.family != plain.family,
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
