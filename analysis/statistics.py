"""The statistics of choosing: paired differences, intervals that hold for all settings at once.

Numbers come as `(S, P, K)`: settings, prompts, seeds. Every setting has the same prompts and
seeds, so they are compared in pairs; prompts are resampled as clusters, then seeds within them
(Davison and Hinkley 1997, section 3.8), the same for all settings. It knows no metric.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

CONFIDENCE = 0.95
DRAWS = 1000

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
        tied: Which cannot be told apart from the best: their interval reaches 0.
        chance: In what share of resampled prompts and seeds each comes out best.
        smallest: The smallest difference to the best that could have been seen.
    """

    best: int
    behind: Intervals
    tied: NDArray[np.bool_]
    chance: Array
    smallest: float


def resampled(values: Array, draws: int = DRAWS, seed: int = 0) -> Array:
    """Means of resampled prompts and seeds: `(S, P, K)` -> `(draws, S)`."""
    dice = np.random.default_rng(seed)
    settings, prompts, seeds = values.shape
    chosen = dice.integers(prompts, size=(draws, prompts))
    inner = dice.integers(seeds, size=(draws, prompts, seeds))
    flat = chosen[:, :, None] * seeds + inner
    counts = np.zeros((draws, prompts * seeds))
    np.add.at(counts, (np.arange(draws)[:, None], flat.reshape(draws, -1)), 1.0)
    return np.asarray(counts @ values.reshape(settings, -1).T / (prompts * seeds))


def small_sample(prompts: int, seeds: int) -> float:
    """How much wider intervals must be than resampling of so few clusters makes them.

    Resampling P clusters finds (P - 1) / P of their variance, and knows nothing of Student's t,
    here with P - 1 degrees of freedom, or of all pictures when there is one prompt.
    """
    from scipy.stats import norm, t

    clusters = prompts if prompts > 1 else prompts * seeds
    if clusters < 2:
        return float("inf")
    point = (1 + CONFIDENCE) / 2
    wider = float(t.ppf(point, clusters - 1) / norm.ppf(point))
    return wider * float(np.sqrt(clusters / (clusters - 1)))


def simultaneous(values: Array, *, seed: int = 0, draws: int = DRAWS) -> Intervals:
    """The mean of each setting with intervals that hold for all at once (max-t).

    Of a single picture each nothing is known: the intervals have no ends.
    """
    mean = values.mean(axis=(1, 2))
    drawn = resampled(values, draws, seed)
    error = drawn.std(axis=0)
    wider = small_sample(*values.shape[1:])
    if not np.isfinite(wider):
        return Intervals(mean, np.full_like(mean, -np.inf), np.full_like(mean, np.inf))
    width = np.where(error > 0, _most(np.abs(drawn - mean), error) * error * wider, 0.0)
    return Intervals(mean, mean - width, mean + width)


def contest(values: Array, *, seed: int = 0, draws: int = DRAWS) -> Contest:
    """Compare all settings with the best of them; higher is better.

    Which one is best is read off the same numbers, so the width is one that holds for all pairs
    (Tukey's, here of the resampled means), and a setting is tied whose interval reaches 0 (Hsu's
    multiple comparisons with the best, 1984). The spread of the resampled means is widened
    alike before chances are counted.
    """
    mean = values.mean(axis=(1, 2))
    best = int(mean.argmax())
    wider = small_sample(*values.shape[1:])
    drawn = resampled(values, draws, seed)
    behind, lag = mean[best] - mean, drawn[:, [best]] - drawn
    error = lag.std(axis=0)
    width = np.full_like(error, np.inf)
    if np.isfinite(wider):
        width = np.where(error > 0, _of_all_pairs(drawn, mean) * error * wider, 0.0)
    drawn = mean + (drawn - mean) * min(wider, _WIDEST)
    low, high = behind - width, behind + width
    winners = drawn.argmax(axis=1)
    chance = np.bincount(winners, minlength=len(mean)) / len(drawn)
    others = width[np.arange(len(mean)) != best]
    smallest = float(np.median(others)) if len(others) else 0.0
    return Contest(best, Intervals(behind, low, high), _tied(mean, low <= 0), chance, smallest)


def _tied(mean: Array, reaches: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Those whose interval reaches 0, but for any below one that is surely behind.

    A weak setting's difference varies more from prompt to prompt than a middling one's, so that
    its interval alone can reach 0 where that of a better one does not.
    """
    surely = mean[~reaches].max(initial=-np.inf)
    return np.asarray(reaches & (mean > surely))


def _of_all_pairs(drawn: Array, mean: Array) -> float:
    """The quantile of the largest studentised difference of any two settings."""
    largest = np.zeros(len(drawn))
    for index in range(len(mean) - 1):
        apart = drawn[:, [index]] - drawn[:, index + 1 :]
        off = np.abs(apart - (mean[index] - mean[index + 1 :]))
        error = apart.std(axis=0)
        varied = error > 0
        if varied.any():
            largest = np.maximum(largest, (off[:, varied] / error[varied]).max(axis=1))
    return max(float(np.quantile(largest, CONFIDENCE)), 1.96)


def _most(deviations: Array, error: Array) -> float:
    """The quantile of the largest studentised deviation; never below the normal's own."""
    varied = error > 0
    if not varied.any():
        return 0.0
    largest = (deviations[:, varied] / error[varied]).max(axis=1)
    return max(float(np.quantile(largest, CONFIDENCE)), 1.96)
