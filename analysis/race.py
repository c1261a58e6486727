"""Racing: a little of every setting is rendered, then only what can still win.

Pictures are rendered a shot (one prompt, one seed) at a time for all settings that are still in the
race, so that those compared have the same shots. After each shot the rest of the full grid is
imagined many times from what is known; the settings that are chosen there, or are the best that
the choice is measured by, stay in as far as the budget has room. Quality is judged by how wide its
intervals will be in the end: ruling settings out at every look would rule out too many.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from analysis.ranking import learned_of
from analysis.shots import shared
from analysis.statistics import forecast
from analysis.vetoes import counted, vetoes_of, worsening

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from analysis.table import Array, Column, Table
    from analysis.vetoes import Facts, Rules

FIRST = 2
"""Shots of every setting before any is dropped."""

_FINALISTS = 6
"""So many settings get all their shots, where the budget has room for them."""

_SHARE = 0.25
"""Of the pictures left, so many may go into the next shot; more than an even share at first."""

_IMAGINED = 500
"""Ends of the race that are drawn to see who may win."""

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
            self._drop(table, copies, len(left))
        if self.spent + len(self.alive) > self.budget and len(self.done) >= FIRST:
            return None
        shot = left[0]
        self.done.append(shot)
        self.spent += len(self.alive)
        return list(self.alive), shot

    def _drop(self, table: Table, copies: Mapping[int, float], left: int) -> None:
        """Leave out who will not win, then who the budget has no room for."""
        whole = np.ones(len(table.settings), bool)
        sure = {i: share for i, share in copies.items() if self._copied(share)}
        settled = vetoes_of(seen(table, self.done), (), self.rules, sure, whole)
        runners = [i for i in self.alive if i not in settled] or self.alive
        chance, gain = self._chances(table, runners)
        money = self.budget - self.spent
        finalists = max(1, min(_FINALISTS, money // left))
        room = max(finalists, min(int(_SHARE * money), money - finalists * (left - 1)))
        self.alive = sorted(sorted(runners, key=lambda i: (-chance[i], -gain[i]))[:room])

    def _copied(self, share: float) -> bool:
        """Whether so many copies among the shots seen surely are more than may be (Wilson 1927)."""
        shots, z = len(self.done), 1.96
        middle = share + z * z / (2 * shots)
        half = z * math.sqrt(share * (1 - share) / shots + (z / (2 * shots)) ** 2)
        return (middle - half) / (1 + z * z / shots) >= self.rules.copied

    def _chances(self, table: Table, runners: Sequence[int]) -> tuple[Array, Array]:
        """How often each setting is chosen, or is the best, when the full grid is imagined.

        Returns:
            That, and the mean gain so far, both by index of all settings.
        """
        chance, mean = np.zeros(len(table.settings)), np.full(len(table.settings), -np.inf)
        now = seen(table, self.done)
        _, column = learned_of(now)
        if column is None:
            return chance, mean
        behind = frozenset(s for i, s in enumerate(now.settings) if i not in runners)
        now = replace(now, dropped=behind)
        shots = shared(now, column, counted(now, "trigger"))
        if not shots:
            return chance, mean
        gains = shots.of(column.values - column.base)
        running = [i for i in runners if np.isfinite(gains[i]).all()]
        mean[running] = gains[running].mean(axis=(1, 2))
        if not running or len(shots.prompts) < FIRST:
            return chance, mean
        gain, width = self._imagined(table, gains[running], "trigger", seed=0)
        able = gain > width
        for n, (fact, worse, allowed) in enumerate(worsening(now, self.facts, self.rules)):
            known = worse[running]
            if np.isfinite(known).all() and known.shape[1] >= FIRST:
                later, span = self._imagined(table, known, fact.counts, seed=n + 1)
                able &= later - span <= allowed
        gentlest = sorted(range(len(running)), key=lambda i: table.settings[running[i]].effort)
        won = _wins(gain[:, gentlest], able[:, gentlest], width[gentlest])
        chance[np.array(running)[gentlest]] = won
        return chance, mean

    def _imagined(self, table: Table, values: Array, counts: str, seed: int) -> tuple[Array, Array]:
        """Means and half widths of the full grid, of the shots that a metric counts on."""
        prompts = set(counted(table, counts))
        shots = sum(prompt in prompts for prompt, _ in self.shots)
        clusters = len(prompts) if len(prompts) > 1 else shots
        return forecast(values, shots, clusters, draws=_IMAGINED, seed=seed)


def _wins(gain: Array, able: NDArray[np.bool_], width: Array) -> Array:
    """How often each setting is the best of those able, and how often it is chosen: the sum.

    Args:
        gain: `(draws, S)`, settings from the earliest and gentlest on.
        able: Which may be chosen, `(draws, S)`.
        width: Half widths of the gains' intervals, `(S,)`.
    """
    some = np.flatnonzero(able.any(axis=1))
    best = np.where(able, gain, -np.inf).argmax(axis=1)
    behind = gain[np.arange(len(gain)), best][:, None] - gain
    chosen = (able & (behind <= np.hypot(width, width[best][:, None]))).argmax(axis=1)
    return np.asarray(
        np.bincount(best[some], minlength=len(width))
        + np.bincount(chosen[some], minlength=len(width)),
        dtype=np.float64,
    )


def least(settings: int, shots: int) -> int:
    """Pictures below which a race cannot end: all begin, and two go through to the end."""
    return FIRST * settings + 2 * max(0, shots - FIRST)


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
