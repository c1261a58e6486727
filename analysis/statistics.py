"""The statistics of choosing: paired differences, intervals that hold for all settings at once.

Numbers come as `(S, P, K)`: settings, prompts, seeds, without NaN. Every setting has the same
prompts and seeds, so they are compared in pairs; prompts are the clusters, or seeds when there is
one prompt. It knows no metric.

A few prompts tell a setting's own spread badly, so it is moderated by all settings' (after
Smyth 2004). How many spreads wide an interval must be is then read off made-up numbers that know
no difference and go through the same recipe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

CONFIDENCE = 0.95
DRAWS = 1000

_AT_A_TIME = 2_000_000
"""Made-up numbers held at once."""

_NOTHING = 1e-24
"""A variance that is rounding."""

_WIDEST = 10.0
"""Of one picture alone nothing is known; chances are then counted with this much more spread."""


@dataclass(frozen=True, slots=True)
class Intervals:
    """Estimates with intervals that hold for all of them at once.

    Attributes:
        mean: `(S,)`.
        low: `(S,)`.
        high: `(S,)`.
    """

    mean: Array
    low: Array
    high: Array


@dataclass(frozen=True, slots=True)
class Contest:
    """Settings compared with the best of them.

    Attributes:
        best: Index of the setting with the highest mean.
        behind: How far each is behind the best, with its interval.
        tied: Which cannot be told apart from the best.
        chance: In what share of resampled prompts and seeds each comes out best.
        smallest: The smallest difference to the best that could have been seen.
    """

    best: int
    behind: Intervals
    tied: NDArray[np.bool_]
    chance: Array
    smallest: float


def resampled(values: Array, draws: int = DRAWS, seed: int = 0) -> Array:
    """Means of resampled prompts, then seeds within them: `(S, P, K)` -> `(draws, S)`.

    The same prompts and seeds for all settings (Davison and Hinkley 1997, section 3.8).
    """
    dice = np.random.default_rng(seed)
    settings, prompts, seeds = values.shape
    chosen = dice.integers(prompts, size=(draws, prompts))
    inner = dice.integers(seeds, size=(draws, prompts, seeds))
    flat = chosen[:, :, None] * seeds + inner
    counts = np.zeros((draws, prompts * seeds))
    np.add.at(counts, (np.arange(draws)[:, None], flat.reshape(draws, -1)), 1.0)
    return np.asarray(counts @ values.reshape(settings, -1).T / (prompts * seeds))


def simultaneous(values: Array, *, family: int = 0, seed: int = 0, draws: int = DRAWS) -> Intervals:
    """The mean of each setting with intervals that hold for all at once (max-t).

    Of a single picture each nothing is known: the intervals have no ends. With one setting
    they are Student's.

    Args:
        values: `(S, P, K)`.
        family: Among how many settings these were picked, when that is more than S: having
            picked them widens the intervals as if all were here.
        seed: Of the made-up numbers.
        draws: How many times they are made up.
    """
    means = _by_cluster(values)
    mean, clusters = means.mean(axis=1), means.shape[1]
    if clusters < 2:
        return Intervals(mean, np.full_like(mean, -np.inf), np.full_like(mean, np.inf))
    off = means - mean[:, None]
    largest = [_largest_mean(some) for some in _made_up(off, family, draws, seed)]
    width = _quantile(largest, clusters) * _spread(off) / np.sqrt(clusters)
    return Intervals(mean, mean - width, mean + width)


def contest(values: Array, *, family: int = 0, seed: int = 0, draws: int = DRAWS) -> Contest:
    """Compare all settings with the best of them; higher is better.

    Which one is best is read off the same numbers, so the width is one that holds for all pairs
    (Tukey's), and a setting is tied unless another is surely better: the best, or, when its
    difference to the best swings more than its difference to a middling one, that (after Hsu's
    multiple comparisons with the best, 1984). Arguments as of `simultaneous`.
    """
    means = _by_cluster(values)
    mean, clusters = means.mean(axis=1), means.shape[1]
    best = int(mean.argmax())
    behind = mean[best] - mean
    chance = _chances(values, draws, seed)
    if clusters < 2:
        width, tied = np.full_like(mean, np.inf), np.ones(len(mean), bool)
    else:
        off = _apart(means - mean[:, None])
        largest = [_largest_apart(some) for some in _made_up(off, family, draws, seed)]
        error = _spread(off) / np.sqrt(clusters)
        pairs = _quantile(largest, clusters) * np.hypot(error, error[:, None])
        width, tied = pairs[best], ~(mean - mean[:, None] > pairs).any(axis=1)
    others = width[np.arange(len(mean)) != best]
    smallest = float(np.median(others)) if len(others) else 0.0
    return Contest(best, Intervals(behind, behind - width, behind + width), tied, chance, smallest)


def differ(values: Array) -> bool:
    """Whether any settings differ at all, by the F test of a two-way layout (Fisher 1925).

    Args:
        values: `(S, n, 1)`, without NaN; the rows of n shots are what all settings share.
    """
    from scipy.stats import f

    means = _by_cluster(values)
    settings, shots = means.shape
    if settings < 2 or shots < 2:
        return False
    own, shot = means.mean(axis=1, keepdims=True), means.mean(axis=0, keepdims=True)
    between = shots * float(((own - means.mean()) ** 2).sum()) / (settings - 1)
    freedom = (settings - 1) * (shots - 1)
    rest = float(((means - own - shot + means.mean()) ** 2).sum()) / freedom
    if rest <= _NOTHING:
        return bool(between > _NOTHING)
    return bool(f.sf(between / rest, settings - 1, freedom) < 1 - CONFIDENCE)


def forecast(
    values: Array, shots: int, clusters: int, *, seed: int = 0, draws: int = DRAWS
) -> tuple[Array, Array]:
    """What the means may come to once all shots are there, and how wide their intervals will be.

    Shots to come are drawn around the mean of those seen, each setting for itself.

    Args:
        values: What is known, `(S, n, 1)`, each shot as a cluster.
        shots: How many there will be; at least n.
        clusters: Into how many clusters they will fall.
        seed: Of the draws.
        draws: How many outcomes to draw.

    Returns:
        Means, `(draws, S)`; half widths of intervals that hold for all settings, `(S,)`.
    """
    seen = _by_cluster(values)
    mean, known = seen.mean(axis=1), seen.shape[1]
    spread = _spread(seen - mean[:, None])
    dice = np.random.default_rng(seed)
    unsure = spread * np.sqrt(1 / known - 1 / shots)
    means = mean + unsure * dice.standard_normal((draws, len(mean)))
    plain = dice.standard_normal((draws, len(mean), clusters))
    width = _quantile([_largest_mean(plain)], clusters) * spread / np.sqrt(shots)
    return means, width


def _by_cluster(values: Array) -> Array:
    """Means of clusters: `(S, P)`, or `(S, K)` of a single prompt."""
    return values[:, 0, :] if values.shape[1] == 1 else values.mean(axis=2)


def _spread(off: Array) -> Array:
    """Standard deviation over the last axis, its square half a setting's own, half the middle one.

    Args:
        off: `(..., S, P)`, of mean 0 over P.
    """
    own = (off**2).sum(axis=-1) / (off.shape[-1] - 1)
    return np.asarray(np.sqrt((own + np.median(own, axis=-1, keepdims=True)) / 2))


def _apart(off: Array) -> Array:
    """What parts settings at a prompt, without what all of them share there: `(..., S, P)`.

    Scaled so that settings which share nothing keep their spread, however few they are.
    """
    settings = off.shape[-2]
    alone = np.sqrt(settings / max(settings - 1, 1))
    return np.asarray((off - off.mean(axis=-2, keepdims=True)) * alone)


def _made_up(off: Array, family: int, draws: int, seed: int) -> Iterator[Array]:
    """Numbers without any difference, each setting's for itself, that spread as these do.

    Settings of the family that are not here are taken to spread like those that are.

    Yields:
        `(n, S, P)`, a few draws at a time so that many settings or clusters fit in memory.
    """
    dice, clusters = np.random.default_rng(seed), off.shape[1]
    spread = np.resize(_spread(off), max(len(off), family))[:, None]
    few = max(1, _AT_A_TIME // (clusters * len(spread)))
    for start in range(0, draws, few):
        size = min(few, draws - start)
        yield dice.standard_normal((size, len(spread), clusters)) * spread


def _largest_mean(made_up: Array) -> Array:
    """Of each draw the mean that is most of its errors from 0: `(n, S, P)` -> `(n,)`."""
    centre = made_up.mean(axis=2)
    error = _spread(made_up - centre[..., None]) / np.sqrt(made_up.shape[2])
    return np.asarray(_ratio(np.abs(centre), error).max(axis=1))


def _largest_apart(made_up: Array) -> Array:
    """Of each draw the pair that is most of its errors apart: `(n, S, P)` -> `(n,)`."""
    draws, settings, clusters = made_up.shape
    centre = made_up.mean(axis=2)
    off = made_up - centre[..., None]
    error = _spread(_apart(off)) / np.sqrt(clusters)
    largest = np.zeros(draws)
    for one in range(settings - 1):
        rest = slice(one + 1, None)
        apart = np.abs(centre[:, rest] - centre[:, [one]])
        together = np.hypot(error[:, rest], error[:, [one]])
        largest = np.maximum(largest, _ratio(apart, together).max(axis=1))
    return largest


def _ratio(some: Array, error: Array) -> Array:
    """`some / error`; 0 where nothing varies."""
    return np.divide(some, error, out=np.zeros_like(some), where=error > 1e-12)


def _quantile(largest: Sequence[Array], clusters: int) -> float:
    """Of the largest ratios; never below Student's own for one setting."""
    from scipy.stats import t

    student = float(t.ppf((1 + CONFIDENCE) / 2, clusters - 1))
    return max(float(np.quantile(np.concatenate(largest), CONFIDENCE)), student)


def _chances(values: Array, draws: int, seed: int) -> Array:
    """How often each is best when the spread of resampled means is widened for few clusters."""
    from scipy.stats import norm, t

    clusters = _by_cluster(values).shape[1]
    wider = _WIDEST
    if clusters > 1:
        point = (1 + CONFIDENCE) / 2
        wider = float(t.ppf(point, clusters - 1) / norm.ppf(point))
        wider = min(wider * float(np.sqrt(clusters / (clusters - 1))), _WIDEST)
    mean = values.mean(axis=(1, 2))
    drawn = mean + (resampled(values, draws, seed) - mean) * wider
    return np.asarray(np.bincount(drawn.argmax(axis=1), minlength=len(mean)) / draws)
