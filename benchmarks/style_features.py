"""Simple features of a picture by which a linear classifier can tell 3D emoji from flat ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def features(pictures: NDArray[Any]) -> NDArray[Any]:
    """Colour, shading, edges and texture of each picture's foreground: `(N, 92)`."""
    return np.stack([_features(picture) for picture in pictures])


def _features(picture: NDArray[Any]) -> NDArray[Any]:
    border = np.concatenate([picture[:3].reshape(-1, 3), picture[-3:].reshape(-1, 3)])
    front = np.abs(picture - np.median(border, axis=0)).max(axis=2) > 0.08
    front = front if front.sum() > 100 else np.ones_like(front)
    core = ndimage.binary_erosion(front, iterations=3)
    core = core if core.sum() > 60 else front
    grey = picture.mean(axis=2)
    parts = [
        _colours(picture, grey, front),
        _shading(picture, front),
        _textures(picture, core),
        _palette(picture[core]),
        _spread(grey, core),
        _tones(picture, grey, front, core),
    ]
    return np.concatenate([np.asarray(part, dtype=float).ravel() for part in parts])


def _colours(picture: NDArray[Any], grey: NDArray[Any], front: NDArray[Any]) -> NDArray[Any]:
    """Means, spreads and histograms of brightness, slope and saturation."""
    inside = np.hypot(*np.gradient(grey))[front]
    saturation = (picture.max(axis=2) - picture.min(axis=2))[front]
    parts = [
        [front.mean(), picture[front].mean(), grey[front].std(), saturation.mean()],
        [saturation.std(), *picture[front].std(axis=0)],
        np.quantile(inside, [0.1, 0.25, 0.5, 0.75, 0.9, 0.97]),
        np.histogram(inside, bins=[0, 0.004, 0.01, 0.02, 0.04, 0.08, 1])[0] / inside.size,
        np.histogram(grey[front], bins=8, range=(0, 1))[0] / inside.size,
        np.histogram(saturation, bins=6, range=(0, 1))[0] / inside.size,
    ]
    return np.concatenate([np.asarray(part, dtype=float) for part in parts])


def _textures(picture: NDArray[Any], core: NDArray[Any]) -> NDArray[Any]:
    """Slopes and curvatures at four scales, the steepest channel, as logarithms."""
    parts = []
    for sigma in (0, 1, 2, 4):
        soft = ndimage.gaussian_filter(picture, (sigma, sigma, 0)) if sigma else picture
        down, right = np.gradient(soft, axis=(0, 1))
        slope = np.hypot(down, right).max(axis=2)[core]
        bend = np.abs(ndimage.laplace(soft)).max(axis=2)[core]
        parts += [np.quantile(slope, [0.1, 0.25, 0.5, 0.75, 0.9])]
        parts += [np.quantile(bend, [0.25, 0.5, 0.75, 0.9])]
    return np.log(np.concatenate(parts) + 1e-4)


def _palette(colours: NDArray[Any]) -> list[float]:
    """How much of `(N, 3)` colours the 1, 2, 4 and 8 commonest of 4,096 cover; the entropy."""
    red, green, blue = (colours * 15).round().astype(int).T
    share = np.sort(np.bincount(red * 256 + green * 16 + blue, minlength=4096))[::-1] / len(red)
    known = share[share > 0]
    entropy = float(-(known * np.log(known)).sum())
    return [*(float(share[:count].sum()) for count in (1, 2, 4, 8)), entropy]


def _spread(grey: NDArray[Any], core: NDArray[Any]) -> NDArray[Any]:
    """Quantiles of the standard deviation within 7 px, as logarithms."""
    mean = ndimage.uniform_filter(grey, 7)
    variance = ndimage.uniform_filter(grey**2, 7) - mean**2
    return np.log(np.quantile(np.sqrt(variance.clip(0))[core], [0.1, 0.3, 0.5, 0.7, 0.9]) + 1e-4)


def _tones(
    picture: NDArray[Any], grey: NDArray[Any], front: NDArray[Any], core: NDArray[Any]
) -> list[float]:
    """Shares of near-white and near-black, saturation, and whether a darker line runs round."""
    most, least = picture.max(axis=2)[core], picture.min(axis=2)[core]
    rim = grey[front & ~ndimage.binary_erosion(front, iterations=3)]
    values = [(least > 0.9).mean(), (most < 0.25).mean(), (most - least).mean()]
    values += [(most - least).std(), grey[core].mean(), grey[core].std()]
    return [*map(float, values), float(rim.mean() - grey[core].mean()), float(rim.std())]


def _shading(picture: NDArray[Any], front: NDArray[Any]) -> list[float]:
    """How brightness runs from top to bottom and left to right, and how curved it is."""
    rows, columns = np.nonzero(front)
    grey = picture.mean(axis=2)[front]
    y, x = (rows - rows.mean()) / 64, (columns - columns.mean()) / 64
    basis = np.stack([np.ones_like(x), x, y, x * x + y * y], axis=1)
    fit, rest, *_ = np.linalg.lstsq(basis, grey, rcond=None)
    left = float(rest[0] / len(grey)) if len(rest) else 0.0
    return [*map(float, fit[1:]), left]
