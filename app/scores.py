"""Finished pictures, scored and printed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table as Grid
from rich.text import Text

from trainer.core import toml
from trainer.core.errors import COMPLETED, UNDECIDED, ConfigError, DatasetError
from trainer.core.schema import Config
from trainer.job.choosing import AnalysisConfig

_SETTABLE = ("analysis.metrics", "analysis.rule", "analysis.weights")
_RULES = ("sweetspot", "ancestor", "weights")

if TYPE_CHECKING:
    from rich.console import Console

    from analysis.beside import Beside


@dataclass(frozen=True, slots=True)
class Scores:
    """A table of pictures and what was chosen.

    Attributes:
        rows: Plain values, a picture each.
        choice: The chosen setting, or None.
        told: The verdict in words.
    """

    rows: list[dict[str, Any]]
    choice: Mapping[str, Any] | None
    told: list[str]
    exit_code: int

    def as_dict(self) -> dict[str, Any]:
        """The table for JSON."""
        return {"rows": self.rows, "choice": self.choice, "told": self.told}


@dataclass(frozen=True, slots=True)
class Asked:
    """How a folder is scored.

    Attributes:
        compat: By the ancestor scripts' own numbers.
        pattern: How names are made; empty to find out.
        to: A new folder for a report.
        progress: Told of how many of the pictures are scored.
    """

    rule: str = "sweetspot"
    compat: bool = False
    pattern: str = ""
    to: Path | None = None
    beside: Beside | None = None
    progress: Callable[[int, int], None] = lambda done, total: None


class _OfPictures(Config):
    """What may be set of an analysis of finished pictures."""

    analysis: AnalysisConfig = AnalysisConfig()


def asked_of_pictures(
    pattern: str,
    to: Path | None,
    compared: tuple[Path | None, Path | None],
    overrides: Sequence[str],
) -> Asked:
    """How a folder is scored, from `analysis.metrics=...` and the like.

    Args:
        pattern: How names are made; empty to find out.
        to: A new folder for a report.
        compared: Folders of training and of held-out pictures.
        overrides: Of `analysis.metrics`, `analysis.rule`, `analysis.weights`.

    Raises:
        ConfigError: Something is set that means nothing for finished pictures.
    """
    from analysis.beside import Beside

    for told in overrides:
        if told.partition("=")[0].strip() not in _SETTABLE:
            raise ConfigError(
                f"{told!r} means nothing for pictures that are finished",
                hint=f"of those, {', '.join(_SETTABLE)} can be set",
            )
    named = any(told.startswith("analysis.metrics") for told in overrides)
    asked = toml.override(_OfPictures, {}, overrides).analysis
    metrics = asked.metrics if named else ()
    return Asked(asked.rule, False, pattern, to, Beside(metrics, asked.weight_of, *compared))


def scored(
    folder: Path,
    control: Path | None,
    asked: Asked,
) -> Scores:
    """Score a folder of pictures.

    Raises:
        DatasetError: The folder has nothing to score, or compat has no controls.
    """
    from analysis.pictures import find

    if asked.rule not in _RULES:
        known = ", ".join(_RULES)
        raise ConfigError(f"there is no rule {asked.rule!r} for pictures", hint=f"one of {known}")
    if asked.compat and asked.to is not None:
        raise ConfigError(
            "the ancestors' table is no report, so --out means nothing with --compat",
            hint="leave one of them out",
        )
    found = find(folder, control, asked.pattern)
    if not asked.compat:
        from analysis.folder import analyse_folder

        beside = asked.beside
        if asked.rule == "weights" and (beside is None or not beside.weights):
            raise ConfigError(
                "rule 'weights' needs weights",
                hint="`sweetspot analyse FOLDER --set analysis.weights=...`",
            )
        return Scores(
            *analyse_folder(
                found, rule=asked.rule, to=asked.to, beside=beside, progress=asked.progress
            )
        )
    if control is None:
        raise DatasetError(
            "the ancestors' table needs the base model's pictures",
            where=str(folder),
            hint="--control FILE_OR_FOLDER",
        )
    from analysis.ancestor import lines

    table = lines(found)
    told = table.as_dict()
    why = "its name says no epoch or strength"
    rows = [
        *told["rows"],
        *({"image": n, "status": "strange", "reason": why} for n in found.strange),
    ]
    code = COMPLETED if table.choice is not None else DatasetError.exit_code
    return Scores(rows, told["choice"], [], code)


def print_scores(scores: Scores, console: Console) -> None:
    """The table and the choice."""
    if scores.rows:
        heads = list(dict.fromkeys(h for row in scores.rows for h in row if h != "reason"))
        grid = Grid(*heads, "why not", box=None)
        for row in scores.rows:
            cells = [_plain(row.get(head)) for head in heads]
            grid.add_row(*cells, str(row.get("reason", "")))
        console.print(grid)
    if scores.choice:
        words = ", ".join(f"{name} {value:g}" for name, value in scores.choice.items())
        console.print(Text(f"choice: {words}", style="bold"))
    elif scores.exit_code != COMPLETED:
        undecided = scores.exit_code == UNDECIDED
        console.print(Text("no choice" if undecided else "nothing could be scored", style="bold"))
    for line in scores.told:
        console.print(line, markup=False, highlight=False)


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


@contextlib.contextmanager
def counting(err: Console) -> Iterator[Callable[[int, int], None]]:
    """Shows how many pictures are scored, on a terminal."""
    from rich.progress import Progress

    with Progress(console=err, transient=True, disable=not err.is_terminal) as shown:
        bar = shown.add_task("scoring pictures", total=None)
        yield lambda done, total: shown.update(bar, completed=done, total=total)
