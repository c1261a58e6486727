"""BRISQUE as the package image-quality 1.2.7 computes it, which the ancestor scripts used.

It differs from the definition in its model (retrained), its grey (BT.709, not rounded), its half
scale (a spline without antialiasing) and its shape fits (by root finding). For making old
tables again; new choices are made with `analysis.metrics.brisque`.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[np.float64]

WEIGHTS = Path(__file__).parents[1] / "assets/metrics/ancestor/brisque-image-quality.safetensors"

_GREY = np.array([0.2125, 0.7154, 0.0721])


class NoFitError(Exception):
    """No distribution fits the picture's texture, as when there is none."""


def score(picture: NDArray[np.uint8]) -> float:
    """The score of a picture `(H, W, 3)`.

    Raises:
        NoFitError: It has no texture; the package dies of an assertion there.
    """
    grey = picture.astype(np.float64) / 255 @ _GREY
    features = np.array([*_features(grey), *_features(_halved(grey))])
    weights = _weights()
    low, high = weights["low"], weights["high"]
    scaled = -1 + 2 / (high - low) * (features - low)
    distances = ((weights["vectors"] - scaled) ** 2).sum(axis=1)
    kernel = np.exp(-weights["gamma"].item() * distances)
    return float(kernel @ weights["coefficients"] - weights["rho"].item())


def _features(grey: Plane) -> list[float]:
    """The 18 features of one scale, in the package's order."""
    from scipy.signal import convolve2d

    kernel = _kernel()
    mean = convolve2d(grey, kernel, "same")
    spread = np.sqrt(np.abs(np.square(mean) - convolve2d(np.square(grey), kernel, "same")))
    normal = (grey - mean) / (spread + 1 / 255)
    shape, _, left, right = _fitted(normal)
    found = [shape, (left + right) / 2]
    neighbours = (
        normal[:, :-1] * normal[:, 1:],
        normal[:-1] * normal[1:],
        normal[:-1, :-1] * normal[1:, 1:],
        normal[1:, :-1] * normal[:-1, 1:],
    )
    for products in neighbours:
        found.extend(_fitted(products))
    return found


def _fitted(values: Plane) -> tuple[float, float, float, float]:
    """An asymmetric generalised Gaussian: shape, mean, both variances. Zero counts as right."""
    from scipy import optimize, special

    left, right = values[values < 0], values[values >= 0]
    if not len(left) or not len(right) or not left.any() or not right.any():
        raise NoFitError
    low, high = np.sqrt(np.square(left).mean()), np.sqrt(np.square(right).mean())
    skew = low / high
    ratio = np.abs(values).mean() ** 2 / np.square(values).mean()
    ratio = ratio * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2

    def miss(shape: Any) -> Any:
        first = special.gamma(2 / shape) ** 2
        return first / (special.gamma(1 / shape) * special.gamma(3 / shape)) - ratio

    solved = optimize.root(miss, np.array([0.2]))
    if not solved.success:
        raise NoFitError
    shape = solved.x.item()
    scale = np.sqrt(special.gamma(1 / shape) / special.gamma(3 / shape))
    middle = (high - low) * scale * (special.gamma(2 / shape) / special.gamma(1 / shape))
    return float(shape), float(middle), float(low**2), float(high**2)


def _halved(grey: Plane) -> Plane:
    """Half the size as scikit-image 0.18's `rescale(order=2)` without antialiasing makes it."""
    from scipy.ndimage import map_coordinates

    size = np.round(np.array(grey.shape) * 0.5).astype(int)
    steps = np.array(grey.shape) / size
    rows, columns = (steps[axis] * (np.arange(size[axis]) + 0.5) - 0.5 for axis in (0, 1))
    places = np.meshgrid(rows, columns, indexing="ij")
    half = map_coordinates(grey, places, order=2, mode="constant", cval=0.0)
    low, high = grey.min(), grey.max()
    outside = np.zeros_like(half, dtype=bool) if low <= 0 <= high else half == 0.0
    half = np.clip(half, low, high)
    half[outside] = 0.0
    return np.asarray(half)


@functools.cache
def _kernel(size: int = 7, sigma: float = 7 / 6) -> Plane:
    down, right = np.indices((size, size)) - size // 2
    kernel = 1 / (2 * np.pi * sigma**2) * np.exp(-(right**2 + down**2) / (2 * sigma**2))
    return np.asarray(kernel / kernel.sum())


@functools.cache
def _weights() -> dict[str, Plane]:
    from safetensors.numpy import load_file

    found: dict[str, Plane] = load_file(WEIGHTS)
    return found
