"""What speaks against a setting: quality that is surely not held, memory, copies.

All is judged on differences to the base model at the same prompt and seed, with intervals that
hold for all settings at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from analysis.shots import shared
from analysis.statistics import Intervals, contest, simultaneous

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analysis.table import Array, Table

MARGINS = {"brisque": 5.0, "burn": 0.02, "diversity": 0.1}
"""How much worse than the base model's own a mean may be. Mirroring alone moves BRISQUE by 3 to 11
(docs/metrics.md); the others are judgement."""

FEW_PICTURES = 4
"""Below so many held-out pictures the draws, not the pictures, are what is resampled."""


class Unknown(str):
    """A reason that only says that something is not known of a setting."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """What ranking needs to know of a metric."""

    name: str
    axis: str
    better: str
    counts: str


@dataclass(frozen=True, slots=True)
class Rules:
    """How the choice is made.

    Attributes:
        allowances: Level up to which a metric may be worse, since the person's own pictures are.
        least_moved: Mean 1 - SSIM below which nothing was learned, whatever is significant.
        drift: Share by which the loss on class pictures may rise.
        copied: Share of copies among a setting's pictures that spoils it.
        weights: For rule "weights".
    """

    rule: str = "sweetspot"
    margins: Mapping[str, float] = field(default_factory=lambda: dict(MARGINS))
    allowances: Mapping[str, float] = field(default_factory=dict)
    least_moved: float = 0.02
    drift: float = 0.1
    copied: float = 0.5
    weights: Mapping[str, float] = field(default_factory=dict)


def vetoes_of(
    table: Table,
    facts: Sequence[Facts],
    rules: Rules,
    copies: Mapping[int, float],
    whole: NDArray[np.bool_],
) -> dict[int, list[str]]:
    """Reasons against settings, by index.

    Args:
        table: The numbers.
        facts: Of the table's columns.
        rules: What is allowed.
        copies: Share of copies of training pictures among a setting's pictures, by index.
        whole: Settings that have all their numbers.
    """
    found: dict[int, list[str]] = {}
    for index, reason in (
        *_worse_pictures(table, facts, rules, whole),
        *_worse_judgement(table, rules),
    ):
        found.setdefault(index, []).append(reason)
    for index, share in copies.items():
        if share >= rules.copied:
            words = f"{100 * share:.0f}% of its pictures are copies of training pictures"
            found.setdefault(index, []).append(words)
    return found


def _worse_pictures(
    table: Table, facts: Sequence[Facts], rules: Rules, whole: NDArray[np.bool_]
) -> list[tuple[int, str]]:
    """Settings whose pictures are surely worse than the base model's, metric by metric."""
    found: list[tuple[int, str]] = []
    for fact, worse, allowed in worsening(table, facts, rules):
        usable = whole & whole_settings(worse)
        if usable.any():
            unknown = np.flatnonzero(whole & ~usable)
            words = Unknown(f"not all its pictures have {fact.name}")
            found += [(int(i), words) for i in unknown]
            spans = spread_out(simultaneous(worse[usable], family=len(usable)), usable)
            found += [
                (int(i), f"{fact.name} is worse than the base model's by {spans.mean[i]:.3g}")
                for i in np.flatnonzero(spans.low > allowed)
            ]
    return found


def worsening(
    table: Table, facts: Sequence[Facts], rules: Rules
) -> Iterator[tuple[Facts, Array, float]]:
    """Of each quality how much worse than the base model's it is, `(S, P, K)`, and how much may be.

    Pictures that most settings have no numbers of are passed over: `left_out` tells them.
    """
    for fact in facts:
        column = table.columns.get(fact.name)
        if fact.axis != "quality" or fact.better == "neither" or column is None:
            continue
        shots = shared(table, column, counted(table, fact.counts))
        if not shots:
            continue
        base = shots.of(column.base)
        sign = 1 if fact.better == "lower" else -1
        allowed = rules.margins.get(fact.name, 0.0)
        if fact.name in rules.allowances:
            allowed = max(allowed, sign * (rules.allowances[fact.name] - float(np.nanmean(base))))
        yield fact, sign * (shots.of(column.values) - base), allowed


def _worse_judgement(table: Table, rules: Rules) -> list[tuple[int, str]]:
    """Settings that forget the class, or have turned from learning to memorising."""
    found: list[tuple[int, str]] = []
    known: NDArray[np.bool_] = np.ones(len(table.settings), dtype=np.bool_)
    for column in table.judged.values():
        known = np.logical_and(known, whole_settings(column.values))
    words = Unknown("the model's loss with it is no number")
    found += [(int(i), words) for i in np.flatnonzero(~known)]
    settings = [int(i) for i in np.flatnonzero(known)]
    if not settings:
        return found
    drift = table.judged.get("drift")
    if drift is not None and np.isfinite(drift.control).all():
        spans = simultaneous(clustered(drift.values[settings] - drift.control))
        most = rules.drift * float(drift.control.mean())
        share = spans.mean / float(drift.control.mean())
        found += [
            (settings[i], f"its loss on pictures of the class rose by {100 * share[i]:.0f}%")
            for i in np.flatnonzero(spans.low > most)
        ]
    fit = table.judged.get("fit")
    if fit is not None:
        against = contest(-clustered(fit.values[settings]))
        best = table.settings[settings[against.best]]
        for i in (settings[k] for k in np.flatnonzero(~against.tied)):
            setting = table.settings[i]
            if setting.epoch >= best.epoch and setting.strength >= best.strength:
                found.append(
                    (i, "it memorises: its loss on held-out pictures has risen past its best")
                )
    return found


def left_out(table: Table, facts: Sequence[Facts]) -> list[str]:
    """Sentences on qualities that were judged on some prompts only, or not at all."""
    said = [
        f"{name} could not be judged: the base model's own loss is no number."
        for name, column in table.judged.items()
        if not np.isfinite(column.control).all()
    ]
    for fact in facts:
        column = table.columns.get(fact.name)
        if fact.axis != "quality" or fact.better == "neither" or column is None:
            continue
        prompts = counted(table, fact.counts)
        there = int(sum(_rendered(table)[prompt].sum() for prompt in prompts))
        counting = sum(map(len, shared(table, column, prompts).seeds))
        if not counting:
            said.append(f"{fact.name} could not be judged: no picture has a number to compare.")
        elif counting < there:
            many = f"{there - counting} of {there} prompts and seeds"
            said.append(f"{fact.name} could not be judged on {many}: pictures have no number.")
    return said


def _rendered(table: Table) -> NDArray[np.bool_]:
    """Which prompts and seeds there are pictures of, by any number: `(P, K)`."""
    known = [np.isfinite(column.values).any(axis=0) for column in table.columns.values()]
    return np.asarray(np.logical_or.reduce(known))


def clustered(values: Array) -> Array:
    """Pictures as clusters; of very few pictures, each draw as one."""
    if values.shape[1] >= FEW_PICTURES:
        return values
    return values.reshape(len(values), -1, 1)


def counted(table: Table, counts: str) -> list[int]:
    """Indices of the prompts that a metric counts on."""
    kinds = [prompt.kind for prompt in table.prompts]
    chosen = [i for i, kind in enumerate(kinds) if counts in ("all", kind)]
    return chosen or list(range(len(kinds)))


def whole_settings(values: Array) -> NDArray[np.bool_]:
    """Which settings have all their numbers."""
    return np.asarray(np.isfinite(values).all(axis=(1, 2)))


def spread_out(some: Intervals, whole: NDArray[np.bool_]) -> Intervals:
    """Intervals of the whole settings at their places, NaN at the others."""
    places = []
    for values in (some.mean, some.low, some.high):
        full = np.full(len(whole), np.nan)
        full[whole] = values
        places.append(full)
    return Intervals(*places)
