"""Memorised: nearer to a training picture than to others of its kind; and copies, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from analysis.metrics.base import (
    Axis,
    Better,
    Company,
    Counts,
    MetricConfig,
    Need,
    Picture,
    Value,
    metrics,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

COPY = 0.9
"""So much do small grey versions of a copy and its original correlate, at the least."""

_SMALL = 32
"""Side of the small versions, px."""

_SHIFTS = (-1, 0, 1)


@dataclass(frozen=True, slots=True)
class Copy:
    """A picture that is a copy of a training picture.

    Attributes:
        training: Index of the training picture.
        similarity: Correlation of small grey versions, 0 to 1.
    """

    training: int
    similarity: float


@metrics.add
class Memorised(MetricConfig):
    """Likeness to the nearest training picture, beyond that to the nearest other one."""

    title: ClassVar[str] = "Memorised"
    axis: ClassVar[Axis] = "aside"
    better: ClassVar[Better] = "lower"
    limits: ClassVar[tuple[float | None, float | None]] = (-2, 2)
    needs: ClassVar[frozenset[Need]] = frozenset({"training", "eye"})
    counts: ClassVar[Counts] = "trigger"
    meaning: ClassVar[str] = (
        "How much nearer the picture is to its nearest training picture than to its nearest "
        "held-out one (without those: than training pictures are to one another). Well above 0 it "
        "repeats what it was shown."
    )
    distrust: ClassVar[str] = (
        "With few pictures held out, the nearest of many training pictures is nearer by chance."
    )

    kind: Literal["memorised"] = "memorised"

    def score(self, pictures: Sequence[Picture], company: Company) -> list[Value]:
        assert company.eye is not None
        seen, training = company.eye(pictures), company.eye(company.training)
        nearest = (seen @ training.T).max(axis=1)
        if company.held_out:
            usual = (seen @ company.eye(company.held_out).T).max(axis=1)
        else:
            usual = np.full(len(nearest), _among(training))
        return [float(value) for value in nearest - usual]


def copies(pictures: Sequence[Picture], training: Sequence[Picture]) -> list[Copy | None]:
    """Which pictures are copies of a training picture, plain or mirrored.

    A copy's small grey version correlates with the original's by at least 0.9, and more than any
    two training pictures do with one another; moved by a pixel or two it is still a copy.
    """
    if not training or not pictures:
        return [None] * len(pictures)
    originals = np.stack([_small(picture) for picture in training])
    bar = max(COPY, _closest(originals))
    found: list[Copy | None] = []
    for picture in pictures:
        likeness = _likeness(_small(picture), originals)
        best = int(likeness.argmax())
        copied = likeness[best] >= bar
        found.append(Copy(best, round(float(likeness[best]), 4)) if copied else None)
    return found


def _among(training: NDArray[np.float64]) -> float:
    """The median likeness of training pictures to their nearest other one."""
    if len(training) < 2:
        return 0.0
    likeness = training @ training.T
    np.fill_diagonal(likeness, -np.inf)
    return float(np.median(likeness.max(axis=1)))


def _closest(originals: NDArray[np.float64]) -> float:
    """How alike the two most alike training pictures are."""
    most = 0.0
    for index, one in enumerate(originals):
        others = np.delete(originals, index, axis=0)
        if len(others):
            most = max(most, float(_likeness(one, others).max()))
    return min(most, 0.995)


def _likeness(one: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """The best correlation with each of `(N, n, n)`, over mirroring and small shifts."""
    best = np.full(len(others), -1.0)
    for version in (one, one[:, ::-1]):
        for down in _SHIFTS:
            for right in _SHIFTS:
                moved = np.roll(version, (down, right), (0, 1))
                best = np.maximum(best, (others * moved).mean(axis=(1, 2)))
    return best


def _small(picture: Picture) -> NDArray[np.float64]:
    """A small grey version with mean 0 and deviation 1: `(32, 32)`."""
    from PIL import Image

    image = Image.fromarray(picture).convert("L").resize((_SMALL, _SMALL), Image.Resampling.BOX)
    grey = np.asarray(image, dtype=np.float64)
    grey = grey - grey.mean()
    return np.asarray(grey / max(float(grey.std()), 1e-6))
