"""Which strengths of an epoch are safe to use."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.ranking import Ranking
    from analysis.table import Table


def safe_strengths(table: Table, found: Ranking) -> dict[int, tuple[float, float]]:
    """The strengths of each epoch that act and hold their quality: lowest and highest.

    Where one between them does not, the stretch of the choice counts, else the longest.
    """
    stretches: dict[int, list[list[int]]] = {}
    before = None
    for index, (epoch, _) in enumerate(table.settings):
        acts = index < len(found.real) and bool(found.real[index])
        if acts and index not in found.vetoes:
            some = stretches.setdefault(epoch, [])
            if before != index - 1 or not some:
                some.append([])
            some[-1].append(index)
            before = index
    best = {
        e: max(some, key=lambda s: (found.choice in s, len(s))) for e, some in stretches.items()
    }
    strength = [setting.strength for setting in table.settings]
    return {epoch: (strength[some[0]], strength[some[-1]]) for epoch, some in best.items()}
