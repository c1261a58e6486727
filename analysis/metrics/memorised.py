"""Memorised: nearer to a training picture than to others of its kind; and copies, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

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

    Plane = NDArray[np.float32]
else:
    Plane = Any

COPY = 0.85
"""So much do a copy and its original correlate, at the least, in what sets the original apart."""

FEW_COPY = 0.97
"""The same with one or two training pictures, which do not tell what their kind has in common."""

_SMALL = 64
"""Side of the small versions, px."""

_REACH = 4
"""Copies are looked for within so many half px of the small versions, in each direction."""


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
        if not pictures:
            return []
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
    by at least 0.85, and by more than any other training picture does; moved by up to 3% of the
    side it is still a copy, zoomed by as much it may be missed.

    What is worked out of the training pictures is kept for the next call with the same arrays.
    """
    if not training or not pictures:
        return [None] * len(pictures)
    originals = _originals(training)
    found: list[Copy | None] = []
    for picture in pictures:
        likeness = originals.likeness(picture)
        best = int((likeness - originals.bars).argmax())
        copied = likeness[best] >= originals.bars[best]
        found.append(Copy(best, round(float(likeness[best]), 4)) if copied else None)
    return found


def nearest(picture: Picture, training: Sequence[Picture]) -> Copy:
    """The training picture that a picture is likest to, be it a copy or not.

    Args:
        picture: `(H, W, 3)`.
        training: At least one, of the same size.
    """
    likeness = _originals(training).likeness(picture)
    best = int(likeness.argmax())
    return Copy(best, round(float(likeness[best]), 4))


def _among(training: NDArray[np.float64]) -> float:
    """The median likeness of training pictures to their nearest other one."""
    if len(training) < 2:
        return 0.0
    likeness = training @ training.T
    np.fill_diagonal(likeness, -np.inf)
    return float(np.median(likeness.max(axis=1)))


@dataclass(frozen=True, slots=True)
class _Originals:
    """Training pictures, ready to be compared with.

    Attributes:
        pictures: The arrays they were made of.
        middle: What they have in common: `(64, 64, 3)`, or their mean colour when they are few.
        apart: What sets each apart, of length 1: `(N, 64 * 64 * 3)`.
        bars: How like each of them a copy is, at the least: `(N,)`.
    """

    pictures: tuple[Picture, ...]
    middle: Plane
    apart: Plane
    bars: Plane

    def likeness(self, picture: Picture) -> Plane:
        """The best correlation with each original, over mirroring and small shifts: `(N,)`."""
        versions = _units(_versions(picture) - self.middle)
        return np.asarray((versions @ self.apart.T).max(axis=0), dtype=np.float32)


_kept: list[_Originals] = []


def _originals(training: Sequence[Picture]) -> _Originals:
    """The last ones, when they are of the same arrays; else new ones."""
    for last in _kept:
        same = len(last.pictures) == len(training)
        if same and all(a is b for a, b in zip(last.pictures, training, strict=True)):
            return last
    small = np.stack([_halved(_doubled(picture)) for picture in training])
    few = len(small) <= 2
    middle = small.mean(axis=(0, 1, 2)) if few else small.mean(axis=0)
    least = np.full(len(small), FEW_COPY if few else COPY)
    found = _Originals(tuple(training), middle, _units(small - middle), least)
    alike = np.stack([found.likeness(picture) for picture in training])
    np.fill_diagonal(alike, -1.0)
    bars = np.maximum(least, np.minimum(0.97, alike.max(axis=1) + 0.02))
    _kept[:] = [replace(found, bars=bars)]
    return _kept[0]


def _versions(picture: Picture) -> Plane:
    """The small picture, plain and mirrored, moved by half pixels: `(162, 64, 64, 3)`."""
    found = []
    plain = _doubled(picture)
    for image in (plain, plain[:, ::-1]):
        phases = {(d, r): _halved(np.roll(image, (d, r), (0, 1))) for d in (0, 1) for r in (0, 1)}
        for down in range(-_REACH, _REACH + 1):
            for right in range(-_REACH, _REACH + 1):
                start = phases[down % 2, right % 2]
                found.append(np.roll(start, (down // 2, right // 2), (0, 1)))
    return np.stack(found)


def _doubled(picture: Picture) -> Plane:
    """At twice the small size: `(128, 128, 3)`, 0 to 255."""
    from PIL import Image

    size = (2 * _SMALL, 2 * _SMALL)
    image = Image.fromarray(picture).resize(size, Image.Resampling.BOX)
    return np.asarray(image, dtype=np.float32)


def _halved(image: Plane) -> Plane:
    """`(2 h, 2 w, 3)` -> `(h, w, 3)`, the mean of each four pixels."""
    quarters = [image[down::2, right::2] for down in (0, 1) for right in (0, 1)]
    return np.asarray(sum(quarters) / 4, dtype=np.float32)


def _units(images: Plane) -> Plane:
    """`(N, h, w, 3)` -> `(N, h * w * 3)`: mean 0 in each channel, length 1."""
    rows = (images - images.mean(axis=(1, 2), keepdims=True)).reshape(len(images), -1)
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    return np.asarray(rows / np.maximum(lengths, 1e-4)[:, None], dtype=np.float32)
