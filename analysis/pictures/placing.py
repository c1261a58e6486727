"""A folder of finished pictures, from whatever program: which setting each of them shows.

Nothing is passed over: what cannot be placed, or is missing in a row, is told.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from analysis.pictures.controls import Controls, controls_of, ladder, unbroken
from analysis.pictures.names import Name, expression, matched, said
from trainer.core.errors import DatasetError
from trainer.data.image import SUFFIXES

Axis = Literal["epoch", "strength", "both"]
Setting = tuple[int, float]

_AXES: dict[tuple[str, ...], Axis] = {
    ("epoch",): "epoch",
    ("strength",): "strength",
    ("epoch", "strength"): "both",
}


@dataclass(frozen=True, slots=True)
class Found:
    """A picture and its place.

    Attributes:
        epoch: Its epoch; 0 when strengths alone are swept.
        strength: Its strength; 1 when epochs alone are swept.
        prompt: Index or number of its prompt.
        control: The base model's picture to compare it with.
        problem: Why it cannot be scored; empty when it can.
    """

    path: Path
    epoch: int
    strength: float
    prompt: int
    seed: int
    control: Path | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Folder:
    """What a folder holds.

    Attributes:
        axis: What is swept.
        pictures: By epoch, strength, prompt and seed; missing ones with a problem.
        strange: Files that could not be placed.
    """

    axis: Axis
    pictures: tuple[Found, ...]
    strange: tuple[str, ...]


def find(folder: Path, control: Path | None, pattern: str = "") -> Folder:
    """Place every picture of a folder.

    Args:
        folder: The pictures.
        control: The base model's picture for all, or a folder of them.
        pattern: How names are made, with {epoch}, {strength}, {prompt}, {seed}; empty to find out.

    Raises:
        ConfigError: The pattern has no such placeholder, or one twice.
        DatasetError: The folder is missing, empty, or none of its names says what it is; names are
            of two kinds, or two of them for one place.
    """
    files = _files(folder)
    names = _names(files, pattern)
    if not names:
        raise DatasetError(
            f"none of the {len(files)} names says an epoch or a strength, the first is "
            f"{files[0].name!r}",
            where=str(folder),
            hint="names like epoch_01.png or strength_0.4.png, or --pattern",
        )
    axis = _axis(names, folder)
    _refuse_twice(names, folder)
    controls = _controls(control)
    strengths = sorted({name.strength for name in names})
    rungs = ladder(strengths, controls.numbers) if axis == "strength" else []
    known = {_found(name, controls, rungs): name for name in names}
    pictures = [*known, *_missing(known, _wanted(axis, known, controls.numbers, rungs))]
    placed = {name.path for name in names}
    strange = tuple(path.name for path in files if path not in placed)
    return Folder(axis, tuple(sorted(pictures, key=_order)), strange)


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DatasetError("there is no such folder", where=str(folder))
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
    if not files:
        inner = sorted(p.name for p in folder.iterdir() if p.is_dir())
        hint = f"one of the folders in it: {', '.join(inner[:5])}" if inner else ""
        raise DatasetError("the folder has no pictures", where=str(folder), hint=hint)
    return files


def _names(files: Sequence[Path], pattern: str) -> list[Name]:
    """The names that say an epoch or a strength."""
    if pattern:
        wanted = expression(pattern)
        return [Name(path, spans) for path in files if (spans := matched(path, wanted))]
    names = [Name(path, said(path.stem)) for path in files]
    return [name for name in names if name.spans.keys() & {"epoch", "strength"}]


def _axis(names: Sequence[Name], folder: Path) -> Axis:
    kinds: dict[tuple[str, ...], Path] = {}
    for name in names:
        kinds.setdefault(tuple(w for w in ("epoch", "strength") if w in name.spans), name.path)
    if len(kinds) > 1:
        told = [f"{path.name!r} says {' and '.join(words)}" for words, path in kinds.items()]
        raise DatasetError(
            f"names are of different kinds: {', '.join(told)}",
            where=str(folder),
            hint="a folder for each kind, or --pattern to pick one",
        )
    return _AXES[next(iter(kinds))]


def _refuse_twice(names: Sequence[Name], folder: Path) -> None:
    seen: dict[tuple[float, ...], Path] = {}
    for name in names:
        other = seen.setdefault(name.place, name.path)
        if other != name.path:
            raise DatasetError(
                f"{other.name!r} and {name.path.name!r} are for the same place",
                where=str(folder),
                hint="remove one, or name the difference (prompt, seed) in the file name",
            )


def _controls(control: Path | None) -> Controls:
    if control is None or control.is_file():
        return controls_of(control, ())
    controls = controls_of(control, _files(control))
    _refuse_twice([name for name in controls.many if name.spans], control)
    return controls


def _found(name: Name, controls: Controls, rungs: Sequence[float]) -> Found:
    epoch, strength, prompt, seed = name.place
    number = rungs.index(strength) + 1 if rungs else epoch
    return Found(name.path, epoch, strength, prompt, seed, controls.of(name, number))


def _wanted(
    axis: Axis, known: Mapping[Found, Name], numbers: set[int], rungs: Sequence[float]
) -> set[Setting]:
    """The settings that should be there: an unbroken row, and what controls were made for."""
    there = {(found.epoch, found.strength) for found in known}
    if axis == "strength":
        return {(0, strength) for strength in rungs}
    epochs = {epoch for epoch, _ in there}
    wanted = unbroken(epochs)
    if axis == "epoch":
        return {(epoch, 1.0) for epoch in wanted | (numbers if numbers & epochs else set())}
    strengths = {strength for _, strength in there}
    full = 2 * len(there) >= len(epochs) * len(strengths)
    return set(itertools.product(wanted, strengths)) if full else there


def _missing(known: Mapping[Found, Name], wanted: set[Setting]) -> list[Found]:
    """Pictures of wanted settings that are not there, in the prompts and seeds that most have."""
    shots = Counter((found.prompt, found.seed) for found in known)
    there = {(found.epoch, found.strength) for found in known}
    usual = [shot for shot, times in shots.items() if 2 * times > len(there)]
    models = {(found.prompt, found.seed): name for found, name in known.items()}
    have = {name.place for name in known.values()}
    absent = []
    for setting in wanted | there:
        for shot in usual or ([] if setting in there else [min(shots)]):
            if (*setting, *shot) not in have:
                problem = f"there is no picture of {_words(models[shot], *setting)}"
                path = models[shot].instead(*setting)
                absent.append(Found(path, *setting, *shot, None, problem))
    return absent


def _words(name: Name, epoch: int, strength: float) -> str:
    words = {"epoch": f"{epoch}", "strength": f"{strength:g}"}
    words |= {what: f"{name.whole(what)}" for what in ("prompt", "seed")}
    return ", ".join(f"{what} {value}" for what, value in words.items() if what in name.spans)


def _order(found: Found) -> tuple[int, float, int, int]:
    return found.epoch, found.strength, found.prompt, found.seed
