"""From a table to a choice: the most learned setting whose quality holds, or "can't tell".

Two axes are kept apart: how much was learned, and whether quality is held. All is judged on
differences at the same prompt and seed. `words` says what came out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from analysis.length import length_of, overtrained
from analysis.shots import Shared, passed_over, shared
from analysis.statistics import Contest, Intervals, contest, differ, simultaneous
from analysis.vetoes import (
    Facts,
    Rules,
    clustered,
    counted,
    left_out,
    spread_out,
    vetoes_of,
    whole_settings,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analysis.table import Array, Column, Setting, Table

State = Literal["chosen", "cannot tell apart", "nothing learned", "nothing safe", "nothing scored"]
Trained = Literal["too short", "right", "too long", "unknown"]

LEARNED = ("dinov2", "clip_i", "fidelity", "moved")
"""What tells how much was learned, the best first; "moved" is 1 - SSIM to the control."""


_NAMED = 4
"""Settings that a sentence names at most."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """What was found. Arrays and indices go by the table's settings.

    Attributes:
        learned: The metric that told how much was learned; empty when none could.
        gain: How much more was learned than the base model has; None without numbers.
        real: Settings whose effect is real.
        vetoes: Reasons against a setting, by its index.
        field: Indices of the settings that competed, in the contest's order.
        contest: Those compared with the best of them.
        choice: Index of the chosen setting.
        fit: Fall of the loss on held-out pictures, with intervals, when it was judged.
        peak: The epoch that has surely learned more than the last, where training was too long.
        moved: Whether any setting moved its pictures from the base model's at all.
        said: What else to know of how it was ranked, in sentences.
    """

    state: State
    learned: str = ""
    gain: Intervals | None = None
    real: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    vetoes: Mapping[int, list[str]] = field(default_factory=dict)
    field: Sequence[int] = ()
    contest: Contest | None = None
    choice: int | None = None
    trained: Trained = "unknown"
    overtrained_from: int | None = None
    peak: int | None = None
    fit: Intervals | None = None
    moved: bool = False
    said: tuple[str, ...] = ()

    @property
    def tied(self) -> list[int]:
        """Settings that cannot be told apart from the best."""
        if self.contest is None:
            return []
        return [index for index, tied in zip(self.field, self.contest.tied, strict=True) if tied]


def rank(
    table: Table, facts: Sequence[Facts], rules: Rules, copies: Mapping[int, float]
) -> Ranking:
    """Choose by the rules.

    Args:
        table: With NaN where there is no number; a setting without all its numbers does not
            compete.
        facts: Of the table's columns.
        rules: How to choose.
        copies: Share of copies of training pictures among a setting's pictures, by index.
    """
    if rules.rule == "ancestor":
        return _by_brisque(table)
    if rules.rule == "weights":
        return _by_weights(table, facts, rules)
    return _sweetspot(table, facts, rules, copies)


def _sweetspot(
    table: Table, facts: Sequence[Facts], rules: Rules, copies: Mapping[int, float]
) -> Ranking:
    name, column = learned_of(table)
    if column is None:
        return Ranking("nothing scored")
    asked = counted(table, "trigger")
    shots = shared(table, column, asked)
    if not shots:
        return Ranking("nothing scored", said=(_no_prompt(name),))
    values = shots.of(column.values - column.base)
    whole = whole_settings(values)
    if not whole.any():
        return Ranking("nothing scored", said=("No setting has all its pictures scored.",))
    over = passed_over(table, column, shots)
    said = (*_said(table, name, len(asked) - len(shots.prompts), over, whole),)
    said = (*said, *left_out(table, facts))
    gain = spread_out(simultaneous(values[whole], family=len(whole)), whole)
    moved = _moved(table, shots) >= rules.least_moved
    real = whole & _above_zero(gain) & moved
    vetoes = vetoes_of(table, facts, rules, copies, whole)
    fit = _fit(table, whole)
    found = Ranking("nothing learned", name, gain, real, vetoes, fit=fit)
    found = _with(found, overtrained_from=overtrained(table, vetoes))
    found = _with(found, moved=bool((moved & whole).any()), said=said)
    if not real.any():
        return found
    able = [i for i in range(len(real)) if real[i] and i not in vetoes]
    if not able:
        return _with(found, state="nothing safe", **length_of(table, found, None))
    against = contest(values[able], family=len(whole))
    tied = [index for index, same in zip(able, against.tied, strict=True) if same]
    alike = len(tied) == int(whole.sum()) > 1 and not _raced_apart(table, column, asked)
    state: State = "cannot tell apart" if alike else "chosen"
    chosen = min(tied, key=lambda i: table.settings[i].effort)
    done = _with(found, state=state, field=able, contest=against, choice=chosen)
    return _with(done, **length_of(table, done, values))


def _raced_apart(table: Table, column: Column, prompts: Sequence[int]) -> bool:
    """Whether the pictures that a race rendered of all settings tell any of them apart.

    Those that it dropped had few pictures, and may be as good as those that are left.
    """
    if not table.dropped:
        return False
    gains = (column.values - column.base)[:, prompts].reshape(len(table.settings), -1)
    common = np.isfinite(gains).all(axis=0)
    return differ(gains[:, common][:, :, None])


def _no_prompt(name: str) -> str:
    return f"{name} has no prompt of which the base model's picture and any other have a number."


def _said(table: Table, name: str, prompts: int, over: int, whole: NDArray[np.bool_]) -> list[str]:
    """What was left out of the comparison.

    Args:
        table: What is compared.
        name: By which metric.
        prompts: How many prompts do not count.
        over: How many pictures with a number do not.
        whole: Settings that compete.
    """
    said = []
    if over and not table.dropped:
        many = "One picture does" if over == 1 else f"{over} pictures do"
        said.append(f"{many} not count, since most settings have none to compare with.")
    if prompts:
        many = "One prompt" if prompts == 1 else f"{prompts} prompts"
        said.append(f"{many} could not be compared: there {name} has no number.")
    missing = [table.settings[i] for i in np.flatnonzero(~whole)]
    if table.dropped and missing:
        said.append(f"{len(missing)} of {len(whole)} settings were left behind by the race.")
    elif missing:
        few = ", ".join(f"epoch {s.epoch} at {s.strength:g}" for s in missing[:_NAMED])
        more = ", ..." if len(missing) > _NAMED else ""
        said.append(
            f"{len(missing)} of {len(whole)} settings do not compete, since not all their pictures "
            f"were rendered and scored ({few}{more})."
        )
    return said


def _above_zero(gain: Intervals) -> NDArray[np.bool_]:
    """Settings whose gain is surely real; of a single picture each, those that gained at all."""
    unknown = np.isneginf(gain.low)
    return np.asarray(np.where(unknown, gain.mean > 0, gain.low > 0))


def _with(found: Ranking, **changes: object) -> Ranking:
    return replace(found, **changes)  # type: ignore[arg-type]


def learned_of(table: Table) -> tuple[str, Column | None]:
    """The best metric there is of how much was learned."""
    from analysis.table import Column

    for name in LEARNED:
        column = table.columns.get(name)
        if name == "moved" and "ssim" in table.columns:
            ssim = table.columns["ssim"]
            column = Column(1 - ssim.values, np.zeros_like(ssim.control))
        if column is not None and np.isfinite(column.values).any():
            return name, column
    return "", None


def _moved(table: Table, shots: Shared) -> Array:
    """Mean 1 - SSIM to the control; infinite where it was not measured."""
    if "ssim" not in table.columns:
        return np.full(len(table.settings), np.inf)
    values = 1 - table.columns["ssim"].values[:, list(shots.prompts)]
    known = np.isfinite(values)
    sums, counts = np.where(known, values, 0).sum(axis=(1, 2)), known.sum(axis=(1, 2))
    return np.asarray(np.where(counts, sums / np.maximum(counts, 1), np.inf))


def _fit(table: Table, whole: NDArray[np.bool_]) -> Intervals | None:
    fit = table.judged.get("fit")
    if fit is None:
        return None
    known = whole_settings(fit.values)
    if not known.any():
        return None
    return spread_out(simultaneous(clustered(fit.control - fit.values[known])), known)


def finer(found: Ranking, settings: Sequence[Setting]) -> list[Setting]:
    """Half a step to both sides of the chosen strength, at its epoch."""
    if found.choice is None:
        return []
    chosen = settings[found.choice]
    strengths = sorted({s.strength for s in settings})
    place = strengths.index(chosen.strength)
    near = [*strengths[max(0, place - 1) : place], *strengths[place + 1 : place + 2]]
    return [chosen._replace(strength=round((chosen.strength + s) / 2, 4)) for s in near]


def _by_brisque(table: Table) -> Ranking:
    """The ancestors' rule: the lowest mean; within 0.01 the earliest epoch, the lowest strength."""
    column = table.columns.get("brisque")
    means = {} if column is None else _means(column.values)
    if not means:
        return Ranking("nothing scored", "brisque")
    lowest = min(means.values())
    alike = [i for i, mean in means.items() if mean - lowest < 0.01]
    return Ranking("chosen", "brisque", choice=min(alike, key=lambda i: table.settings[i]))


def _by_weights(table: Table, facts: Sequence[Facts], rules: Rules) -> Ranking:
    """Means scaled to 0 (worst of the sweep) to 1, weighed; what does not vary counts nothing."""
    weighed = {f: rules.weights[f.name] for f in facts if rules.weights.get(f.name)}
    all_means = {
        fact: _means(table.columns[fact.name].values[:, counted(table, fact.counts)])
        for fact in weighed
        if fact.name in table.columns
    }
    merit: dict[int, float] = {}
    counts = ", ".join(f"{fact.name} {weighed[fact]:g}" for fact in all_means)
    said = [f"Weighed as you asked ({counts}), each metric from 0, its worst, to 1, its best."]
    absent = sorted(set(rules.weights) - {fact.name for fact in all_means})
    said += [f"{name} was not measured, so its weight counts nothing." for name in absent]
    complete = set(range(len(table.settings))).intersection(*all_means.values())
    if len(complete) < len(table.settings):
        left = len(table.settings) - len(complete)
        said.append(f"{left} of {len(table.settings)} settings lack a weighed number and are out.")
    for fact, every in all_means.items():
        weight, means = weighed[fact], {i: mean for i, mean in every.items() if i in complete}
        low, high = min(means.values(), default=0), max(means.values(), default=0)
        if not high > low:
            said.append(f"{fact.name} is the same everywhere, so its weight counts nothing.")
        for index, mean in means.items():
            share = (mean - low) / (high - low) if high > low else 0.0
            good = 1 - share if fact.better == "lower" else share
            merit[index] = merit.get(index, 0.0) + weight * good
    if not merit:
        return Ranking("nothing scored", "weights", said=tuple(said))
    best = max(merit.values())
    alike = [i for i, value in merit.items() if value >= best - 1e-12]
    choice = min(alike, key=lambda i: table.settings[i].effort)
    return Ranking("chosen", "weights", choice=choice, said=tuple(said))


def _means(values: Array) -> dict[int, float]:
    """The mean of each setting that has all its numbers, by index."""
    return {i: float(v.mean()) for i, v in enumerate(values) if np.isfinite(v).all()}
