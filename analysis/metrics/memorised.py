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

COPY = 0.85
"""So much do a copy and its original correlate, at the least, in what sets the original apart."""

_SMALL = 64
"""Side of the small versions, px."""

_SHIFTS = (-1, 0, 1)


@dataclass(frozen=True, slots=True)
class Copy:
    """A picture that is a copy of a training picture.

    Attributes:
        training: Index of the training picture.
        similarity: Correlation of small versions, 0 to 1.
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

    Small versions are compared in what sets each training picture apart from their mean, so that
    pictures of one subject are not all copies of one another. A copy correlates with its original
    by at least 0.85, and by more than any other training picture does; moved by a pixel or two it
    is still a copy.
    """
    if not training or not pictures:
        return [None] * len(pictures)
    small = np.stack([_small(picture) for picture in training])
    middle = small.mean(axis=0) if len(small) > 2 else small.mean(axis=(0, 1, 2))
    originals = np.stack([_unit(one - middle) for one in small])
    bars = _bars(small, middle, originals)
    found: list[Copy | None] = []
    for picture in pictures:
        likeness = _likeness(_small(picture), middle, originals)
        best = int((likeness - bars).argmax())
        copied = likeness[best] >= bars[best]
        found.append(Copy(best, round(float(likeness[best]), 4)) if copied else None)
    return found


def _among(training: NDArray[np.float64]) -> float:
    """The median likeness of training pictures to their nearest other one."""
    if len(training) < 2:
        return 0.0
    likeness = training @ training.T
    np.fill_diagonal(likeness, -np.inf)
    return float(np.median(likeness.max(axis=1)))


def _bars(
    small: NDArray[np.float64], middle: NDArray[np.float64], originals: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How alike a copy of each training picture must be, given how alike others are to it."""
    bars = np.full(len(small), COPY)
    for index, one in enumerate(small):
        likeness = _likeness(one, middle, originals)
        likeness[index] = -1.0
        bars[index] = max(COPY, min(0.97, float(likeness.max()) + 0.02))
    return bars


def _likeness(
    one: NDArray[np.float64], middle: NDArray[np.float64], originals: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The best correlation with each original, over mirroring and small shifts: `(N,)`."""
    best = np.full(len(originals), -1.0)
    for version in (one, one[:, ::-1]):
        for down in _SHIFTS:
            for right in _SHIFTS:
                moved = _unit(np.roll(version, (down, right), (0, 1)) - middle)
                best = np.maximum(best, (originals * moved).mean(axis=(1, 2, 3)))
    return best


def _small(picture: Picture) -> NDArray[np.float64]:
    """A small version: `(64, 64, 3)`, 0 to 255."""
    from PIL import Image

    image = Image.fromarray(picture).resize((_SMALL, _SMALL), Image.Resampling.BOX)
    return np.asarray(image, dtype=np.float64)


def _unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same with mean 0 and deviation 1."""
    values = values - values.mean(axis=(0, 1), keepdims=True)
    return np.asarray(values / max(float(np.sqrt((values**2).mean())), 1e-6))
