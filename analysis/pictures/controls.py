"""The base model's pictures, and which of them belongs to which picture.

Paired as the ancestor scripts pair them: by epoch number, or by place in the list of strengths; by
prompt and seed where the controls' names say those. A control that may be the wrong one is none.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from analysis.pictures.names import Name, said

_MOST = 10
"""Numbers that leave out more than nine tenths of a row are no row."""


@dataclass(frozen=True, slots=True)
class Controls:
    """One control for all, or many with what their names say."""

    single: Path | None
    many: tuple[Name, ...] = ()

    @property
    def numbers(self) -> set[int]:
        """The numbers of those that are told apart by a number alone."""
        plain = [c for c in self.many if not c.shot and "strength" not in c.spans]
        return {c.whole("epoch") for c in plain if "epoch" in c.spans}

    def of(self, name: Name, number: int) -> Path | None:
        """The control of a picture: of its prompt and seed; among those, of its number."""
        if self.single is not None:
            return self.single
        alike = [c for c in self.many if _agrees(c, name)]
        most = max((len(c.shot) for c in alike), default=0)
        alike = [c for c in alike if len(c.shot) == most]
        exact = [c for c in alike if _fits(c, name, number)]
        if not exact and most:
            exact = alike
        return exact[0].path if len(exact) == 1 else None


def controls_of(control: Path | None, files: Collection[Path]) -> Controls:
    """The controls in a folder's files, or the one picture for all.

    Args:
        control: The picture or the folder.
        files: The folder's pictures.
    """
    if control is None or control.is_file():
        return Controls(control)
    many = tuple(_control(path) for path in files)
    if len(many) == 1 and not many[0].shot:
        return Controls(many[0].path)
    return Controls(None, many)


def ladder(strengths: list[float], numbers: Collection[int]) -> list[float]:
    """The strengths that numbered controls stand for, in their order.

    Where controls are more than strengths, some of an even row are missing: the scripts count
    those too, so that the others keep their controls.
    """
    count = max(numbers, default=0)
    if not 2 <= len(strengths) < count <= _MOST * len(strengths):
        return strengths
    step = min(b - a for a, b in itertools.pairwise(strengths))
    rows = [[round(first + step * i, 6) for i in range(count)] for first in (strengths[0], step)]
    whole = [row for row in rows if set(strengths) <= set(row)]
    ending = [row for row in whole if row[-1] == strengths[-1]]
    return (ending or whole or [strengths])[0]


def unbroken(epochs: set[int]) -> set[int]:
    """The epochs with those that are missing between them."""
    ordered = sorted(epochs)
    steps = Counter(b - a for a, b in itertools.pairwise(ordered))
    step = min(steps, key=lambda s: (-steps[s], s), default=1)
    row = range(ordered[0], ordered[-1] + 1, step)
    fits = len(row) <= _MOST * len(epochs) and set(ordered[:-1]) <= set(row)
    return epochs | set(row) if fits else epochs


def _control(path: Path) -> Name:
    """What a control's name says; the last number that means nothing else is its epoch's."""
    spans = said(path.stem)
    taken = list(spans.values())
    free = [
        match.span()
        for match in re.finditer(r"\d+", path.stem)
        if all(match.end() <= start or end <= match.start() for start, end in taken)
    ]
    if free and "epoch" not in spans:
        spans["epoch"] = free[-1]
    return Name(path, spans)


def _agrees(control: Name, name: Name) -> bool:
    """Whether what a control says of prompt and seed is what the picture says."""
    return all(control.whole(what) == name.whole(what, -1) for what in control.shot)


def _fits(control: Name, name: Name, number: int) -> bool:
    """Whether a control is of a picture's strength or number; strength 0 is the base model's."""
    if "strength" in control.spans and control.strength:
        return control.strength == name.strength
    return "epoch" in control.spans and control.whole("epoch") == number
