"""A folder of finished pictures, from whatever program: which setting each of them shows.

Names are read by a pattern of the person's, or by the words trainers and the ancestor scripts use.
Controls are paired as the ancestors pair them: by epoch number, or by place in the list of
strengths. Nothing is passed over: what cannot be placed is told.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainer.core.errors import DatasetError
from trainer.data.image import SUFFIXES

Axis = Literal["epoch", "strength", "both"]

_NUMBER = r"(-?\d+(?:\.\d+)?)"
_WORDS = {
    "epoch": rf"(?:epochs?|(?<![a-z])ep?)[ _=-]*{_NUMBER}",
    "strength": rf"(?:strength|weight|scale|(?<![a-z])s)[ _=-]*{_NUMBER}",
    "prompt": rf"(?:prompt|(?<![a-z])p)[ _=-]*{_NUMBER}",
    "seed": rf"seed[ _=-]*{_NUMBER}",
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
        DatasetError: The folder is missing, empty, or none of its names says what it is.
    """
    files = _files(folder)
    places = {path: _place(path.stem, pattern) for path in files}
    known = {path: place for path, place in places.items() if place is not None}
    if not known:
        raise DatasetError(
            f"none of the {len(files)} names says an epoch or a strength, the first is "
            f"{files[0].name!r}",
            where=str(folder),
            hint="names like epoch_01.png or strength_0.4.png, or --pattern",
        )
    axis = _axis(list(known.values()))
    _refuse_twice(known, folder)
    strengths = sorted({place["strength"] for place in known.values() if "strength" in place})
    controls = _controls(control)
    pictures = [
        _found(path, place, axis, strengths, controls, folder) for path, place in known.items()
    ]
    pictures += _gaps(known, axis, folder)
    strange = tuple(path.name for path, place in places.items() if place is None)
    return Folder(axis, tuple(sorted(pictures, key=_order)), strange)


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DatasetError("there is no such folder", where=str(folder))
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
    if not files:
        raise DatasetError("the folder has no pictures", where=str(folder))
    return files


def _place(stem: str, pattern: str) -> dict[str, float] | None:
    """The numbers in a name, by what they are; None when it says neither epoch nor strength."""
    if pattern:
        expression = re.escape(pattern)
        for name in _WORDS:
            expression = expression.replace(re.escape(f"{{{name}}}"), f"(?P<{name}>-?[0-9.]+)")
        match = re.fullmatch(expression, stem)
        return {k: float(v) for k, v in match.groupdict().items()} if match else None
    found = _numbers(stem)
    return found if found.keys() & {"epoch", "strength"} else None


def _numbers(stem: str) -> dict[str, float]:
    """The numbers that a name says in words, by what they are."""
    found: dict[str, float] = {}
    for name, expression in _WORDS.items():
        match = re.search(expression, stem, re.IGNORECASE)
        if match:
            found[name] = float(match[1])
    trailing = re.search(r"-(\d{6})(?!\d)", stem)  # as kohya numbers its epochs
    if "epoch" not in found and trailing:
        found["epoch"] = float(trailing[1])
    return found


def _axis(places: Sequence[dict[str, float]]) -> Axis:
    epochs = {place["epoch"] for place in places if "epoch" in place}
    strengths = {place["strength"] for place in places if "strength" in place}
    if epochs and strengths:
        return "both"
    return "epoch" if epochs else "strength"


def _refuse_twice(known: dict[Path, dict[str, float]], folder: Path) -> None:
    seen: dict[tuple[tuple[str, float], ...], Path] = {}
    for path, place in known.items():
        key = tuple(sorted(place.items()))
        if key in seen:
            raise DatasetError(
                f"{seen[key].name!r} and {path.name!r} are for the same place",
                where=str(folder),
                hint="remove one, or name the difference (prompt, seed) in the file name",
            )
        seen[key] = path


@dataclass(frozen=True, slots=True)
class _Controls:
    """One control for all, or many with their places."""

    single: Path | None
    many: tuple[tuple[Path, dict[str, float]], ...]

    def of(self, place: dict[str, float], axis: Axis, strengths: Sequence[float]) -> Path | None:
        """The control of a picture: of its prompt and seed, else of its number."""
        if self.single is not None or not self.many:
            return self.single
        for keys in (("prompt", "seed"), ("prompt",), ("seed",)):
            if not all(key in place for key in keys):
                continue
            for path, own in self.many:
                if all(own.get(key) == place[key] for key in keys):
                    return path
        if axis == "strength":
            number = float(strengths.index(place["strength"]) + 1)
        else:
            number = place.get("epoch", 0.0)
        return next((path for path, own in self.many if own.get("number") == number), None)


def _controls(control: Path | None) -> _Controls:
    if control is None or control.is_file():
        return _Controls(control, ())
    many = []
    for path in _files(control):
        own = _numbers(path.stem)
        numbers = re.findall(r"\d+", path.stem)
        if numbers:
            own["number"] = float(numbers[-1])
        many.append((path, own))
    return _Controls(many[0][0] if len(many) == 1 else None, tuple(many))


def _found(
    path: Path,
    place: dict[str, float],
    axis: Axis,
    strengths: Sequence[float],
    controls: _Controls,
    folder: Path,
) -> Found:
    return Found(
        path=path,
        epoch=int(place.get("epoch", 0)),
        strength=place.get("strength", 1.0),
        prompt=int(place.get("prompt", 0)),
        seed=int(place.get("seed", 0)),
        control=controls.of(place, axis, strengths),
    )


def _gaps(known: dict[Path, dict[str, float]], axis: Axis, folder: Path) -> list[Found]:
    """Epochs that are missing in an unbroken row of numbers."""
    if axis != "epoch":
        return []
    epochs = sorted({int(place["epoch"]) for place in known.values()})
    steps = {b - a for a, b in itertools.pairwise(epochs)}
    step = min(steps, default=1)
    missing = set(range(epochs[0], epochs[-1], step)) - set(epochs)
    return [
        Found(folder / f"epoch {n}", n, 1.0, 0, 0, None, f"there is no picture of epoch {n}")
        for n in sorted(missing)
    ]


def _order(found: Found) -> tuple[int, float, int, int]:
    return found.epoch, found.strength, found.prompt, found.seed
