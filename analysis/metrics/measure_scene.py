"""Natural scene statistics: the 36 features that BRISQUE judges a picture by.

Mittal, Moorthy and Bovik, "No-Reference Image Quality Assessment in the Spatial Domain", IEEE
Transactions on Image Processing 21(12), 2012. The details are those of LIVE's program as piq
has them: zero padding, circular shifts, parameters from a table in steps of 0.001, the half
scale by an antialiased bicubic filter. It knows no scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.metrics.measure_filter import bands, folded, gaussian, smoothed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analysis.metrics.base import Picture

    Plane = NDArray[np.float64]
else:
    Plane = Picture = Any

_TAPS = gaussian(7, 7 / 6)
_LEVEL = 1e-7
"""Pixels no further than this from the mean around them lie in an even area: their sign is
rounding noise, which the features would count."""
_SHIFTS = ((0, 1), (1, 0), (1, 1), (-1, 1))
_MIRRORED = [0, 1, *range(2, 10), *range(14, 18), *range(10, 14)]
"""Where a mirror image's features of one scale come from: the two diagonals change places."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What was found in a picture.

    Attributes:
        features: `(36,)`: 18 of the picture, 18 of it at half size.
        mirrored: The features of its mirror image.
        even: The share of pixels in areas without any texture.
    """

    features: Plane
    mirrored: Plane
    even: float


def scene(picture: Picture) -> Scene | None:
    """The features of a picture; None when it has too little texture to have any.

    Args:
        picture: `(H, W, 3)`, both sides even.
    """
    grey = brightness(picture)
    whole, even = _normalised(grey)
    half, _ = _normalised(halved(grey))
    large, small = _features(whole), _features(half)
    if large is None or small is None:
        return None
    mirrored = np.concatenate([large[_MIRRORED], small[_MIRRORED]])
    return Scene(np.concatenate([large, small]), mirrored, even)


def brightness(picture: Picture) -> Plane:
    """The Y of YIQ in whole numbers, as MATLAB's `rgb2gray` keeps it: `(H, W)`, 0 to 255."""
    height, width = picture.shape[:2]
    grey = np.empty((height, width))
    for top, bottom in bands(height, width):
        red, green, blue = (picture[top:bottom, :, channel] for channel in range(3))
        part = np.multiply(red, 0.299, out=grey[top:bottom])
        part += green * 0.587  # in this order and precision, ties fall as they do in piq
        part += blue * 0.114
        np.rint(part, out=part)
    return grey


def halved(plane: Plane) -> Plane:
    """A plane of even sides at half size, as MATLAB's `imresize(plane, 0.5)` has it.

    Bicubic, stretched to twice its width against aliasing; edges are mirrored.
    """
    height, width = plane.shape
    padded = np.pad(plane, 3, mode="symmetric")
    half = np.empty((height // 2, width // 2))
    for top, bottom in bands(height // 2, width):
        block = padded[2 * top : 2 * bottom + 6]
        half[top:bottom] = _halved_down(_halved_down(block).T).T
    return half


def _halved_down(block: Plane) -> Plane:
    """`(2 h + 6, w)` -> `(h, w)`."""
    shifted = [block[start : len(block) - 7 + start : 2] for start in range(8)]
    return folded(shifted, _half_taps())


@cache
def _half_taps() -> tuple[float, ...]:
    """Keys' cubic (a = -0.5) at a quarter, three quarters, ... of a pixel of the half size."""
    near = [1.5 * x**3 - 2.5 * x**2 + 1 for x in (0.25, 0.75)]
    far = [-0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 for x in (1.25, 1.75)]
    return tuple(tap / (2 * sum(near + far)) for tap in (*far[::-1], *near[::-1]))


def _normalised(grey: Plane) -> tuple[Plane, float]:
    """Each pixel's distance from the mean around it, in local deviations; the even share."""
    reach = len(_TAPS) // 2
    padded = np.pad(grey, reach)
    normal = np.empty_like(grey)
    for top, bottom in bands(*grey.shape):
        block = padded[top : bottom + 2 * reach]
        mean = smoothed(block, _TAPS)
        spread = smoothed(block * block, _TAPS)
        spread -= mean * mean
        np.sqrt(np.abs(spread, out=spread), out=spread)
        spread += 1
        off = np.subtract(grey[top:bottom], mean, out=mean)
        off *= np.abs(off) >= _LEVEL
        np.divide(off, spread, out=normal[top:bottom])
    return normal, 1 - float(np.count_nonzero(normal)) / normal.size


def _features(normal: Plane) -> Plane | None:
    """18 features of one scale; None where a product of neighbours has but one sign."""
    around = np.pad(normal, ((1, 1), (1, 0)), mode="wrap")
    height, width = normal.shape
    sums = np.zeros((1 + len(_SHIFTS), 5))
    for top, bottom in bands(height, width):
        here = normal[top:bottom]
        sums[0] += _sums(here)
        for row, (down, right) in enumerate(_SHIFTS, start=1):
            there = around[1 + top - down : 1 + bottom - down, 1 - right : 1 - right + width]
            sums[row] += _sums(here * there)
    if (sums[1:, :4] <= 0).any():
        return None
    fits = [_symmetric(sums[0], normal.size)]
    fits += [_asymmetric(row, normal.size) for row in sums[1:]]
    return np.concatenate(fits)


def _sums(values: Plane) -> Plane:
    """Squares and number of the negative; the same of the positive; sum of sizes: `(5,)`."""
    line = values.ravel()
    positive = np.maximum(line, 0)
    # Not `@`, which may spread over threads and then adds in another order.
    squares, above = np.einsum("i,i->", positive, positive), np.count_nonzero(line > 0)
    left, below = np.einsum("i,i->", line, line) - squares, np.count_nonzero(line < 0)
    return np.array([left, below, squares, above, 2 * positive.sum() - line.sum()])


def _symmetric(sums: Plane, count: int) -> Plane:
    """A generalised Gaussian: shape, variance. Eq. 4 of the paper."""
    variance = (sums[0] + sums[2]) / count
    shapes, ratios, _ = _tables()
    shape = shapes[np.abs(variance / (sums[4] / count) ** 2 - ratios).argmin()]
    return np.array([shape, variance])


def _asymmetric(sums: Plane, count: int) -> Plane:
    """An asymmetric generalised Gaussian: shape, mean, left and right variance. Eq. 10."""
    left, right = np.sqrt(sums[0] / sums[1]), np.sqrt(sums[2] / sums[3])
    skew = left / right
    peak = (sums[4] / count) ** 2 / ((sums[0] + sums[2]) / count)
    peak *= (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    shapes, _, ratios = _tables()
    shape = float(shapes[np.abs(peak - ratios).argmin()])
    width = math.lgamma(2 / shape) - (math.lgamma(1 / shape) + math.lgamma(3 / shape)) / 2
    return np.array([shape, (right - left) * math.exp(width), left**2, right**2])


@cache
def _tables() -> tuple[Plane, Plane, Plane]:
    """Shapes 0.2 to 10, and what a symmetric and an asymmetric distribution of each has."""
    shapes: Plane = 0.2 + 0.001 * np.arange(9801, dtype=np.float64)
    one, two, three = (
        np.array([math.lgamma(moment / shape) for shape in shapes], np.float64)
        for moment in (1, 2, 3)
    )
    return shapes, np.exp(one + three - 2 * two), np.exp(2 * two - one - three)
