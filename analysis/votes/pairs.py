"""Which pairs of pictures to vote on: blind, balanced, and so that all settings can be compared.

It knows no votes but their pairs.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.table import Setting
from analysis.votes.ballot import Pair

Place = tuple[str, int]
"""A prompt and a seed."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture that can be voted on."""

    cell: str
    setting: Setting
    prompt: str
    seed: int


def shown_in(report: Mapping[str, Any]) -> list[Shown]:
    """The pictures of a report.json; the control is epoch 0 at strength 0."""
    prompts, seeds = report["prompts"], report["seeds"]
    rows = [*report["cells"], *({"epoch": 0, "strength": 0.0, **c} for c in report["controls"])]
    return [
        Shown(
            row["picture"],
            Setting(int(row["epoch"]), float(row["strength"])),
            prompts[row["prompt"]]["text"],
            int(seeds[row["seed"]]),
        )
        for row in rows
        if row["picture"] is not None
    ]


def pairs(
    shown: Sequence[Shown], count: int, *, seed: int, before: Iterable[Pair] = ()
) -> list[Pair]:
    """Pairs of the same prompt and seed and of different settings; the same for the same seed.

    Each next pair has the setting that was shown least, with one that cannot be compared with it
    yet, else that it met least, else that was shown least; at the prompt and seed used least.
    So every setting is linked with every other after as many pairs as there are settings, less
    one, where prompts and seeds allow it. Sides are drawn.

    Args:
        shown: All pictures there are.
        count: How many pairs; fewer come back when there are not so many.
        seed: Decides sides, and among equals.
        before: Pairs that were voted on already: counted, and not repeated.
    """
    draw = _Draw(shown, random.Random(seed))
    for pair in before:
        draw.count(pair.left, pair.right)
    return [pair for pair, _ in zip(draw.pairs(), range(count), strict=False)]


class _Draw:
    """What was shown so far."""

    def __init__(self, shown: Sequence[Shown], luck: random.Random) -> None:
        self.luck = luck
        self.cells: dict[Setting, dict[Place, str]] = defaultdict(dict)
        self.places: dict[str, tuple[Setting, Place]] = {}
        for one in shown:
            place = (one.prompt, one.seed)
            self.cells[one.setting][place] = one.cell
            self.places[one.cell] = (one.setting, place)
        self.appeared: Counter[Setting] = Counter()
        self.met: Counter[frozenset[Setting]] = Counter()
        self.used: Counter[Place] = Counter()
        self.done: set[frozenset[str]] = set()
        self.island = {setting: number for number, setting in enumerate(self.cells)}

    def pairs(self) -> Iterator[Pair]:
        """One after another until there are none."""
        while True:
            found = self._next()
            if found is None:
                return
            cells = [self.cells[setting][found[2]] for setting in found[:2]]
            self.luck.shuffle(cells)
            self.count(*cells)
            yield Pair(cells[0], cells[1], *found[2])

    def count(self, left: str, right: str) -> None:
        """Take note of a pair; one of strange cells says nothing."""
        if left not in self.places or right not in self.places:
            return
        (one, place), (other, _) = self.places[left], self.places[right]
        self.appeared.update((one, other))
        self.met[frozenset((one, other))] += 1
        self.used[place] += 1
        self.done.add(frozenset((left, right)))
        joined, kept = self.island[other], self.island[one]
        self.island.update({s: kept for s, number in self.island.items() if number == joined})

    def _next(self) -> tuple[Setting, Setting, Place] | None:
        for one in sorted(self.cells, key=lambda s: (self.appeared[s], self.luck.random())):
            for other in sorted(self.cells, key=lambda s: self._wish(one, s)):
                places = self._open(one, other)
                if places:
                    return one, other, min(places, key=lambda p: (self.used[p], self.luck.random()))
        return None

    def _wish(self, one: Setting, other: Setting) -> tuple[bool, int, int, float]:
        """How unwelcome `other` is beside `one`."""
        linked = self.island[one] == self.island[other]
        met = self.met[frozenset((one, other))]
        return linked, met, self.appeared[other], self.luck.random()

    def _open(self, one: Setting, other: Setting) -> list[Place]:
        """Prompts and seeds at which the two were not compared yet."""
        if one == other:
            return []
        first, second = self.cells[one], self.cells[other]
        return [
            place
            for place in first
            if place in second and frozenset((first[place], second[place])) not in self.done
        ]
