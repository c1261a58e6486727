"""Which pictures count: those that the settings which are compared have in common.

A shot is a prompt with a seed. Settings are compared in pairs, so that a shot which most of them
lack is passed over, and a setting that lacks a shot which most have does not compete.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analysis.table import Array, Column, Table


@dataclass(frozen=True, slots=True)
class Shared:
    """The shots that count.

    Attributes:
        prompts: Indices of prompts that have any.
        seeds: Of each of them, indices of its seeds.
    """

    prompts: tuple[int, ...]
    seeds: tuple[tuple[int, ...], ...]

    def __bool__(self) -> bool:
        return bool(self.prompts)

    @property
    def first(self) -> tuple[int, int]:
        """The first of them."""
        return self.prompts[0], self.seeds[0][0]

    def of(self, values: Array) -> Array:
        """The numbers of these shots: `(S, P, K)` -> `(S, P', K')`.

        Where prompts have different seeds, the mean of each prompt's: `(S, P', 1)`.
        """
        if len(set(self.seeds)) == 1:
            return np.asarray(values[:, self.prompts][:, :, self.seeds[0]])
        means = [
            values[:, prompt][:, seeds].mean(axis=1)
            for prompt, seeds in zip(self.prompts, self.seeds, strict=True)
        ]
        return np.stack(means, axis=1)[:, :, None]


def shared(table: Table, column: Column, prompts: Sequence[int]) -> Shared:
    """The shots of these prompts of which most of the settings have numbers, and their controls.

    Settings that a race dropped have no say, and none that has no number at all.
    """
    known = np.isfinite(column.values - column.base)
    runs: NDArray[np.bool_] = np.array([s not in table.dropped for s in table.settings])
    voters = known[runs & known.any(axis=(1, 2))]
    kept = 2 * voters.sum(axis=0) >= max(1, len(voters))
    seeds = {p: tuple(int(k) for k in np.flatnonzero(kept[p])) for p in prompts}
    some = tuple(prompt for prompt in prompts if seeds[prompt])
    return Shared(some, tuple(seeds[prompt] for prompt in some))


def passed_over(table: Table, column: Column, found: Shared) -> int:
    """Pictures that have a number and do not count."""
    known = np.isfinite(column.values - column.base)
    for prompt, seeds in zip(found.prompts, found.seeds, strict=True):
        known[:, prompt, list(seeds)] = False
    return int(known.sum())
