"""The ancestor scripts' tables and choices, made again to the digit (`score --compat`).

Their rules: the lowest BRISQUE wins; within 0.01 the earliest epoch or the lowest strength. SSIM
says how far a picture moved. What our own rule does otherwise, and why: docs/ancestors.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from analysis.ancestor_brisque import NoFitError
from analysis.ancestor_brisque import score as brisque

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analysis.pictures import Folder, Found

TOLERANCE = 0.01


@dataclass(frozen=True, slots=True)
class Line:
    """A picture in the ancestors' table.

    Attributes:
        place: Its epoch, or its strength.
        status: "ok", or a word for what is wrong.
        reason: One sentence; empty when all is well.
    """

    image: str
    place: float
    brisque: float | None
    ssim: float | None
    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class Lines:
    """The whole table, and what the scripts would say.

    Attributes:
        axis: "epoch" or "strength".
        choice: The suggested epoch or strength; None when nothing could be scored.
    """

    axis: str
    lines: tuple[Line, ...]
    choice: float | None

    def as_dict(self) -> dict[str, Any]:
        """The table for JSON."""
        number = int if self.axis == "epoch" else float
        rows = [
            {
                "image": line.image,
                self.axis: number(line.place),
                "brisque": line.brisque,
                "ssim": line.ssim,
                "status": line.status,
                "reason": line.reason,
            }
            for line in self.lines
        ]
        choice = None if self.choice is None else {self.axis: number(self.choice)}
        return {"rows": rows, "choice": choice}


def lines(folder: Folder) -> Lines:
    """Score every picture of a folder the ancestors' way."""
    axis = "strength" if folder.axis == "strength" else "epoch"
    found = tuple(_line(picture, axis) for picture in folder.pictures)
    return Lines(axis, found, choose([(line.place, line.brisque) for line in found]))


def choose(scores: Sequence[tuple[float, float | None]]) -> float | None:
    """The place of the lowest BRISQUE; of those within 0.01, the first; None without any."""
    known = [(place, score) for place, score in scores if score is not None]
    if not known:
        return None
    lowest = min(score for _, score in known)
    return min(place for place, score in known if abs(score - lowest) <= TOLERANCE)


def ssim(picture: NDArray[np.uint8], control: NDArray[np.uint8]) -> float:
    """SSIM of two grey pictures as the scripts call scikit-image for it.

    A uniform window of 7, sample covariance, and for data range that of the LoRA's picture.
    """
    from scipy.ndimage import uniform_filter

    spread = float(picture.max() - picture.min())
    x, y = picture.astype(np.float64), control.astype(np.float64)
    unbiased = 49 / 48
    mean_x, mean_y = uniform_filter(x, 7), uniform_filter(y, 7)
    var_x = unbiased * (uniform_filter(x * x, 7) - mean_x * mean_x)
    var_y = unbiased * (uniform_filter(y * y, 7) - mean_y * mean_y)
    both = unbiased * (uniform_filter(x * y, 7) - mean_x * mean_y)
    c1, c2 = (0.01 * spread) ** 2, (0.03 * spread) ** 2
    top = (2 * mean_x * mean_y + c1) * (2 * both + c2)
    values = top / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return float(values[3:-3, 3:-3].mean())


def _line(found: Found, axis: str) -> Line:
    place = float(found.epoch) if axis == "epoch" else found.strength
    name = found.path.name
    if found.problem:
        return Line(name, place, None, None, "missing", found.problem)
    if found.control is None:
        reason = "there is no control picture for it"
        return Line(name, place, None, None, "no_control", reason)
    try:
        with Image.open(found.path) as picture, Image.open(found.control) as control:
            return _scored(name, place, picture, control)
    except (UnidentifiedImageError, OSError, SyntaxError):
        reason = "it is no picture, or cut short"
        return Line(name, place, None, None, "damaged", reason)


def _scored(name: str, place: float, picture: Image.Image, control: Image.Image) -> Line:
    """The control is resized to the picture (bicubic) before both are made grey for SSIM."""
    base = control.convert("RGB")
    if base.size != picture.size:
        base = base.resize(picture.size)
    one = np.asarray(picture.convert("RGB").convert("L"))
    if one.min() == one.max():
        reason = "it is one single colour, for which neither score is defined"
        return Line(name, place, None, None, "flat", reason)
    try:
        value = brisque(np.asarray(picture.convert("RGB")))
    except NoFitError:
        reason = "its texture fits no distribution, so BRISQUE is not defined"
        return Line(name, place, None, None, "flat", reason)
    return Line(name, place, value, ssim(one, np.asarray(base.convert("L"))), "ok", "")
