"""The ancestor scripts' tables and choices, made again to the digit (`score --compat`).

Their rules: the lowest BRISQUE wins; within 0.01 the earliest epoch or the lowest strength. SSIM
says how far a picture moved. What our own rule does otherwise, and why: docs/ancestors.md.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from PIL import Image

from analysis.ancestor_brisque import NoFitError
from analysis.ancestor_brisque import score as brisque

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analysis.pictures import Folder, Found

Place = TypeVar("Place", float, tuple[float, ...])

TOLERANCE = 0.01
_WINDOW = 7
_FAULTS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    Image.DecompressionBombError,
)
"""What Pillow's readers raise on damaged files, and on far too large ones."""
_UNREADABLE = "is no picture, cut short, or far too large"


@dataclass(frozen=True, slots=True)
class Line:
    """A picture in the ancestors' table.

    Attributes:
        place: Its epoch, its strength, or both.
        status: "ok", or a word for what is wrong.
        reason: One sentence; empty when there is nothing to say.
    """

    image: str
    place: tuple[float, ...]
    brisque: float | None
    ssim: float | None
    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class Lines:
    """The whole table, and what the scripts would say.

    Attributes:
        axes: What is swept: "epoch", "strength", or both, in this order.
        choice: The suggested place; None when nothing could be scored.
    """

    axes: tuple[str, ...]
    lines: tuple[Line, ...]
    choice: tuple[float, ...] | None

    def as_dict(self) -> dict[str, Any]:
        """The table for JSON."""
        rows = [
            {
                "image": line.image,
                **self._named(line.place),
                "brisque": line.brisque,
                "ssim": line.ssim,
                "status": line.status,
                "reason": line.reason,
            }
            for line in self.lines
        ]
        return {"rows": rows, "choice": None if self.choice is None else self._named(self.choice)}

    def _named(self, place: tuple[float, ...]) -> dict[str, float]:
        kinds = {"epoch": int, "strength": float}
        return {axis: kinds[axis](value) for axis, value in zip(self.axes, place, strict=True)}


def lines(folder: Folder) -> Lines:
    """Score every picture of a folder the ancestors' way."""
    axes = ("epoch", "strength") if folder.axis == "both" else (folder.axis,)
    found = tuple(_line(picture, axes) for picture in folder.pictures)
    return Lines(axes, found, choose([(line.place, line.brisque) for line in found]))


def choose(scores: Sequence[tuple[Place, float | None]]) -> Place | None:
    """The place of the lowest BRISQUE; of those nearer than 0.01, the first; None without any.

    Where a place has several pictures their mean counts, and only when all have a score: means
    over different prompts do not compare.
    """
    places: defaultdict[Place, list[float | None]] = defaultdict(list)
    for place, value in scores:
        places[place].append(value)
    means = {
        place: sum(known) / len(known)
        for place, values in places.items()
        if len(known := [value for value in values if value is not None]) == len(values)
    }
    if not means:
        return None
    lowest = min(means.values())
    return min(place for place, mean in means.items() if mean - lowest < TOLERANCE)


def ssim(picture: NDArray[np.uint8], control: NDArray[np.uint8]) -> float:
    """SSIM of two grey pictures `(H, W)`, 0 to 255, as the scripts call scikit-image for it.

    A uniform window of 7, sample covariance, and for data range that of the LoRA's picture.
    Sides are at least 7.
    """
    from scipy.ndimage import uniform_filter

    spread = float(picture.max() - picture.min())
    x, y = picture.astype(np.float64), control.astype(np.float64)
    unbiased = _WINDOW**2 / (_WINDOW**2 - 1)
    mean_x, mean_y = uniform_filter(x, _WINDOW), uniform_filter(y, _WINDOW)
    var_x = unbiased * (uniform_filter(x * x, _WINDOW) - mean_x * mean_x)
    var_y = unbiased * (uniform_filter(y * y, _WINDOW) - mean_y * mean_y)
    both = unbiased * (uniform_filter(x * y, _WINDOW) - mean_x * mean_y)
    c1, c2 = (0.01 * spread) ** 2, (0.03 * spread) ** 2
    top = (2 * mean_x * mean_y + c1) * (2 * both + c2)
    values = top / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    edge = _WINDOW // 2
    return float(values[edge:-edge, edge:-edge].mean())


@dataclass(frozen=True, slots=True)
class _Told:
    """What is said of a picture: both scores, or why there are none; half a row there is not."""

    status: str
    reason: str
    brisque: float | None = None
    ssim: float | None = None


def _line(found: Found, axes: tuple[str, ...]) -> Line:
    told = _told(found)
    place = tuple(float(getattr(found, axis)) for axis in axes)
    return Line(found.path.name, place, told.brisque, told.ssim, told.status, told.reason)


def _told(found: Found) -> _Told:
    if found.problem:
        return _Told("missing", found.problem)
    if found.control is None:
        return _Told("no_control", "there is no control picture for it")
    picture, control = _opened(found.path), _opened(found.control)
    if picture is None:
        return _Told("damaged", f"it {_UNREADABLE}")
    if control is None:
        return _Told("no_control", f"its control {found.control.name!r} {_UNREADABLE}")
    return _compared(picture, control)


def _opened(path: Path) -> Image.Image | None:
    """The picture as the scripts see it: transparency dropped, not turned; None when damaged."""
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except _FAULTS:
        return None


def _compared(picture: Image.Image, control: Image.Image) -> _Told:
    """The control is resized to the picture before both are made grey for SSIM."""
    if min(picture.size) < _WINDOW:
        return _Told("too_small", f"it is smaller than {_WINDOW} x {_WINDOW} px")
    reason = ""
    if control.size != picture.size:
        reason = "its control has another size and was resized"
        control = control.resize(picture.size, Image.Resampling.BICUBIC)
    grey = np.asarray(picture.convert("L"))
    if grey.min() == grey.max():
        return _Told("flat", "it is one single colour, for which neither score is defined")
    try:
        value = brisque(np.asarray(picture))
    except NoFitError:
        return _Told("no_fit", "its texture fits no distribution, so BRISQUE is not defined")
    return _Told("ok", reason, value, ssim(grey, np.asarray(control.convert("L"))))
