"""Racing: a little of every setting is rendered, then only what can still win.

Pictures are rendered a shot (one prompt, one seed) at a time for all settings that are still in the
race, so that those compared have the same shots. It decides which to render next; who is
dropped when is told by `ranking` on what all have in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from analysis.ranking import Ranking, learned_of, rank
from analysis.statistics import contest
from analysis.vetoes import counted, leaning

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analysis.table import Column, Table
    from analysis.vetoes import Facts, Rules

FIRST = 3
"""Shots of every setting before any is dropped."""

_SHARE = 0.25
"""Of the pictures left, so many may go into the next shot; more than an even share at first."""

_NARROWED = 0.6
"""About how wide an interval of the first few shots will be when all are rendered."""

Shot = tuple[int, int]
"""Indices of prompt and seed."""


@dataclass(slots=True)
class Racer:
    """A race over settings.

    Attributes:
        budget: Pictures to render in all, controls not counted.
        facts: Of the table's metrics.
        rules: How the choice is made.
        alive: Indices of the settings still in the race.
        done: The shots that all alive settings have.
        spent: Pictures asked for so far.
    """

    budget: int
    facts: Sequence[Facts]
    rules: Rules
    alive: list[int]
    shots: list[Shot]
    done: list[Shot] = field(default_factory=list)
    spent: int = 0

    def next(self, table: Table, copies: Mapping[int, float]) -> tuple[list[int], Shot] | None:
        """The settings to render, and at which shot; None when the race is over.

        Args:
            table: What is known so far, NaN elsewhere.
            copies: Share of copies among each setting's pictures, by index.
        """
        left = self.shots[len(self.done) :]
        if not left:
            return None
        if len(self.done) >= FIRST:
            self._drop(seen(table, self.done), copies, len(left))
        if self.spent + len(self.alive) > self.budget and len(self.done) >= FIRST:
            return None
        shot = left[0]
        self.done.append(shot)
        self.spent += len(self.alive)
        return list(self.alive), shot

    def _drop(self, table: Table, copies: Mapping[int, float], left: int) -> None:
        """Leave out who surely cannot win, then who the budget has no room for."""
        found = rank(table, self.facts, self.rules, copies)
        if found.gain is None:
            return
        doomed = leaning(table, self.facts, self.rules, narrowed=_NARROWED)
        spoilt = leaning(table, self.facts, self.rules)
        hopeless = set(found.vetoes) | self._outdone(table, found, doomed)
        keep = [index for index in self.alive if index not in hopeless] or self.alive
        money = self.budget - self.spent
        room = max(1, money // left, int(_SHARE * money))
        gain = np.nan_to_num(found.gain.mean, nan=-np.inf)
        if len(keep) > room:
            # A third of the room is for those that look sound: all others may be ruled out.
            ranked = sorted(keep, key=lambda i: -gain[i])
            sound = [i for i in ranked if i not in spoilt][: max(1, room // 3)]
            maybe = [i for i in ranked if i not in doomed]
            keep = sorted(list(dict.fromkeys([*sound, *maybe, *ranked]))[:room])
        self.alive = keep

    def _outdone(self, table: Table, found: Ranking, spoilt: set[int]) -> set[int]:
        """Settings that surely learned less than one whose quality looks held.

        Those that look spoilt are no measure: they may be ruled out later.
        """
        _, column = learned_of(table)
        runners = [i for i in self.alive if i not in spoilt and i not in found.vetoes]
        if column is None or len(runners) < 2:
            return set()
        prompts = counted(table, "trigger")
        against = contest(column.values[runners][:, prompts])
        return {i for i, tied in zip(runners, against.tied, strict=True) if not tied}


def shots_of(prompts: int, seeds: int) -> list[Shot]:
    """All shots, a seed of every prompt before the next seed."""
    return [(prompt, seed) for seed in range(seeds) for prompt in range(prompts)]


def seen(table: Table, shots: Sequence[Shot]) -> Table:
    """The table of these shots alone, each as a prompt with one seed."""
    rows, columns = [p for p, _ in shots], [k for _, k in shots]

    def only(column: Column) -> Column:
        from analysis.table import Column

        return Column(
            column.values[:, rows, columns][:, :, None], column.control[rows, columns][:, None]
        )

    return replace(
        table,
        prompts=tuple(table.prompts[p] for p in rows),
        seeds=(0,),
        columns={name: only(column) for name, column in table.columns.items()},
    )
