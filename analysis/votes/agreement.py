"""Whether a metric says what people say."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import NormalDist, fmean
from typing import Any

from analysis.metrics.base import Better
from analysis.table import Setting
from analysis.votes.ballot import Vote
from analysis.votes.strengths import Scores


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric's numbers of pictures.

    Attributes:
        values: By cell; None where there is none.
    """

    name: str
    better: Better
    values: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Agreement:
    """A metric against the votes.

    Attributes:
        agreed: Votes that the picture won which the metric calls better; of a metric that calls
            neither better, the picture with the higher number.
        counted: Votes that have a winner, and two numbers that differ.
        left_out: The other votes.
        share: `agreed` of `counted`; None when none counts. One half is no better than chance.
        low: Lower end of the 95% interval of `share` (Wilson 1927).
        tau: Kendall's tau-b between the settings' strengths and their means of the metric, 1 when
            both order them alike, -1 when the other way round; None for fewer than two.
        settings: How many settings that is over: those of the largest island.
    """

    metric: str
    better: Better
    agreed: int
    counted: int
    left_out: int
    share: float | None
    low: float
    high: float
    tau: float | None
    settings: int


def measured_in(report: Mapping[str, Any]) -> list[Measured]:
    """The metrics of a report.json."""
    rows = [row for row in (*report["cells"], *report["controls"]) if row["picture"] is not None]
    return [
        Measured(
            metric["name"],
            metric["better"],
            {row["picture"]: row["scores"].get(metric["name"]) for row in rows},
        )
        for metric in report["metrics"]
    ]


def agreement(
    metric: Measured, votes: Iterable[Vote], scores: Scores, settings: Mapping[str, Setting]
) -> Agreement:
    """Compare a metric with votes, and with the strengths that follow from them.

    Args:
        metric: Its numbers.
        votes: As cast.
        scores: Of the same votes.
        settings: The setting of each cell.
    """
    sign = -1.0 if metric.better == "lower" else 1.0
    found = [_agrees(metric, sign, vote) for vote in votes]
    counted = [agrees for agrees in found if agrees is not None]
    low, high = wilson(sum(counted), len(counted))
    tau, number = _tau(metric, sign, scores, settings)
    return Agreement(
        metric=metric.name,
        better=metric.better,
        agreed=sum(counted),
        counted=len(counted),
        left_out=len(found) - len(counted),
        share=sum(counted) / len(counted) if counted else None,
        low=low,
        high=high,
        tau=tau,
        settings=number,
    )


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """An interval of a share, never outside 0 and 1 (Wilson 1927); all of it without a trial."""
    if not trials:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, shrink = successes / trials, 1 + z * z / trials
    middle = (share + z * z / (2 * trials)) / shrink
    width = z / shrink * math.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2)
    return max(0.0, middle - width), min(1.0, middle + width)


def _agrees(metric: Measured, sign: float, vote: Vote) -> bool | None:
    left, right = metric.values.get(vote.pair.left), metric.values.get(vote.pair.right)
    if left is None or right is None or left == right or vote.winner == "tie":
        return None
    return (sign * left > sign * right) == (vote.winner == "left")


def _tau(
    metric: Measured, sign: float, scores: Scores, settings: Mapping[str, Setting]
) -> tuple[float | None, int]:
    from scipy.stats import kendalltau

    numbers: dict[Setting, list[float]] = defaultdict(list)
    for cell, setting in settings.items():
        value = metric.values.get(cell)
        if value is not None:
            numbers[setting].append(sign * value)
    rows = [
        (standing.strength, fmean(numbers[standing.setting]))
        for standing in scores.standings
        if standing.island == 0 and standing.setting in numbers
    ]
    if len({means for _, means in rows}) < 2:
        return None, len(rows)
    tau = float(kendalltau(*zip(*rows, strict=True)).statistic)
    return (tau if math.isfinite(tau) else None), len(rows)
