"""How strongly people prefer each setting: Bradley and Terry's model with Davidson's ties.

P(i over j) is proportional to e^i, P(j over i) to e^j, and P(tie) to t e^((i + j) / 2)
(Bradley and Terry 1952; Davidson 1970, JASA 65(329), eq. 2.4). A weak normal prior on each
strength and on log t keeps a setting that never lost finite. It knows no metric.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.table import Setting
from analysis.votes.ballot import Vote

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Ints = NDArray[np.int_]

PRIOR = 2.0
"""Standard deviation of strengths beforehand: two settings that far apart are told apart 7 of 8
times."""
_WIDTH = 1.959964
_STEPS = 200
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Standing:
    """How a setting fares.

    Attributes:
        strength: Log-odds to be preferred over the average of its island.
        low: Lower end of the 95% interval, like `high` from the curvature of the likelihood, as
            if votes were independent of each other.
        preferred: `strength` as a probability, ties aside; 0.5 is as good as the average.
        island: Which island it belongs to; strengths of different ones do not compare.
    """

    setting: Setting
    strength: float
    low: float
    high: float
    wins: int
    losses: int
    ties: int
    island: int

    @property
    def preferred(self) -> float:
        """The strength as a probability."""
        return chance(self.strength)


@dataclass(frozen=True, slots=True)
class Scores:
    """What the votes say.

    Attributes:
        standings: By island, the largest first, then the strongest first.
        islands: Settings that votes link, directly or through others; the largest first.
        unseen: Settings that no vote is on.
        counted: How many votes count.
        strange: How many are on cells that the analysis does not have, or on one setting twice.
        tie: How likely two equal settings are to be called equal.
    """

    standings: list[Standing]
    islands: list[tuple[Setting, ...]]
    unseen: list[Setting]
    counted: int
    strange: int
    tie: float


def score(
    votes: Iterable[Vote], settings: Mapping[str, Setting], *, prior: float = PRIOR
) -> Scores:
    """Fit the strengths of all settings that votes are on.

    Args:
        votes: In any order.
        settings: The setting of each cell.
        prior: Standard deviation of the strengths beforehand; very large is none.
    """
    cast = list(votes)
    known = [v for v in cast if _counts(v, settings)]
    duels = [(settings[v.pair.left], settings[v.pair.right]) for v in known]
    voted = sorted({setting for duel in duels for setting in duel})
    number = {setting: index for index, setting in enumerate(voted)}
    pairs = np.array([[number[a], number[b]] for a, b in duels], dtype=int).reshape(-1, 2)
    outcome = np.array([("left", "right", "tie").index(v.winner) for v in known], dtype=int)
    islands = _islands(len(voted), pairs)
    strength, error, tie = _fit(pairs, outcome, islands, prior)
    counts = _counted(len(voted), pairs, outcome)
    standings = [
        Standing(
            setting,
            float(strength[index]),
            float(strength[index] - _WIDTH * error[index]),
            float(strength[index] + _WIDTH * error[index]),
            wins=int(counts[index, 0]),
            losses=int(counts[index, 1]),
            ties=int(counts[index, 2]),
            island=int(islands[index]),
        )
        for index, setting in enumerate(voted)
    ]
    return Scores(
        standings=sorted(standings, key=lambda s: (s.island, -s.strength, s.setting)),
        islands=_members(voted, islands),
        unseen=sorted(set(settings.values()) - set(voted)),
        counted=len(known),
        strange=len(cast) - len(known),
        tie=tie,
    )


def chance(apart: float) -> float:
    """How likely the stronger of two is preferred, ties aside, when they are this far apart."""
    return 0.5 * (1 + math.tanh(apart / 2))


def _counts(vote: Vote, settings: Mapping[str, Setting]) -> bool:
    left, right = settings.get(vote.pair.left), settings.get(vote.pair.right)
    return left is not None and right is not None and left != right


def _islands(count: int, pairs: Ints) -> Ints:
    """The island of each setting, the largest numbered 0."""
    label = np.arange(count)
    for one, other in pairs:
        label[label == label[other]] = label[one]
    _, inverse, sizes = np.unique(label, return_inverse=True, return_counts=True)
    order = np.argsort(-sizes, kind="stable")
    return np.asarray(np.argsort(order)[inverse])


def _members(voted: Sequence[Setting], islands: Ints) -> list[tuple[Setting, ...]]:
    return [
        tuple(setting for setting, own in zip(voted, islands, strict=True) if own == island)
        for island in range(int(islands.max(initial=-1)) + 1)
    ]


def _counted(count: int, pairs: Ints, outcome: Ints) -> Ints:
    """`(S, 3)`: wins, losses, ties."""
    counts = np.zeros((count, 3), dtype=int)
    np.add.at(counts, (pairs[:, 0], np.array([0, 1, 2])[outcome]), 1)
    np.add.at(counts, (pairs[:, 1], np.array([1, 0, 2])[outcome]), 1)
    return counts


def _fit(pairs: Ints, outcome: Ints, islands: Ints, prior: float) -> tuple[Array, Array, float]:
    """Strengths with a mean of 0 on each island, their errors, and the chance of a tie.

    Newton's method: the likelihood is a multinomial logit's, so it is concave.
    """
    x = np.zeros(len(islands) + 1)
    tied = bool((outcome == 2).any())
    same = (islands[:, None] == islands[None, :]).astype(float)
    for _ in range(_STEPS):
        slope, curve = _slope_and_curve(x, pairs, outcome, prior, tied=tied)
        curve[:-1, :-1] += same
        step = np.linalg.solve(curve, slope)
        here = _height(x, pairs, outcome, prior, tied=tied)
        while _height(x + step, pairs, outcome, prior, tied=tied) < here - _ROUNDING:
            step /= 2
        x += step
        if np.abs(step).max(initial=0.0) < _ROUNDING:
            break
    size = same.sum(axis=1)
    spread = np.diag(np.linalg.inv(curve))[:-1] - 1 / (size * (size + prior**-2))
    tie = math.exp(x[-1]) / (2 + math.exp(x[-1])) if tied else 0.0
    return x[:-1], np.sqrt(np.maximum(spread, 0)), tie


def _logs(x: Array, pairs: Ints, *, tied: bool) -> Array:
    """`(N, 3)`: log-probability of left, right and tie in each vote."""
    left, right = x[pairs[:, 0]], x[pairs[:, 1]]
    tie = x[-1] + (left + right) / 2 if tied else np.full(len(pairs), -np.inf)
    raw = np.stack([left, right, tie], axis=1)
    return np.asarray(raw - np.logaddexp.reduce(raw, axis=1, keepdims=True))


def _height(x: Array, pairs: Ints, outcome: Ints, prior: float, *, tied: bool) -> float:
    """Log-posterior, but for a constant."""
    logs = _logs(x, pairs, tied=tied)[np.arange(len(pairs)), outcome]
    return float(logs.sum() - (x @ x) / (2 * prior**2))


def _slope_and_curve(
    x: Array, pairs: Ints, outcome: Ints, prior: float, *, tied: bool
) -> tuple[Array, Array]:
    """The gradient of the log-posterior, and minus its second derivatives."""
    left, right = pairs.T
    win, _, tie = np.exp(_logs(x, pairs, tied=tied)).T
    half = win + tie / 2
    off = np.array([1.0, 0.0, 0.5])[outcome] - half
    slope = -x / prior**2
    np.add.at(slope, left, off)
    np.add.at(slope, right, -off)
    slope[-1] += ((outcome == 2) - tie).sum()
    curve = np.eye(len(x)) / prior**2
    own, cross = win + tie / 4 - half**2, tie / 2 - half * tie
    for one, other, sign in ((left, left, 1), (right, right, 1), (left, right, -1)):
        np.add.at(curve, (one, other), sign * own)
    np.add.at(curve, (right, left), -own)
    for one, sign in ((left, 1), (right, -1)):
        np.add.at(curve, (one, -1), sign * cross)
        np.add.at(curve, (-1, one), sign * cross)
    curve[-1, -1] += (tie * (1 - tie)).sum()
    return slope, curve
