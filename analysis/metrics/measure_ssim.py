"""Structural similarity of two grey planes, in bands that fit a core's cache.

It knows no controls and no reasons; metrics do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.metrics.measure_filter import bands, gaussian, smoothed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WINDOW = 11
"""Side of the window; planes need at least so many px."""
_SIGMA = 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ssim(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """The mean structural similarity of two planes of one size, in [-1, 1].

    Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to
    structural similarity", IEEE Transactions on Image Processing 13(4), 2004, eq. 13: a
    Gaussian window of 11x11 and sigma 1.5 where it lies wholly inside, population covariance,
    a data range of 255. It is what scikit-image's `structural_similarity` gives with
    `gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255`, to 1e-9,
    with four filtered planes for its five.

    Args:
        a: `(H, W)`, 0 to 255, H and W at least 11.
        b: The same.
    """
    taps = gaussian(WINDOW, _SIGMA)
    height, width = a.shape[0] - WINDOW + 1, a.shape[1] - WINDOW + 1
    total = 0.0
    for top, bottom in bands(height, width):
        x = a[top : bottom + WINDOW - 1].astype(float)
        y = b[top : bottom + WINDOW - 1].astype(float)
        mean_x, mean_y = smoothed(x, taps), smoothed(y, taps)
        product = mean_x * mean_y
        power = mean_x * mean_x + mean_y * mean_y
        covariance = smoothed(x * y, taps) - product
        variance = smoothed(x * x + y * y, taps) - power
        alike = (2 * product + _C1) * (2 * covariance + _C2)
        alike /= (power + _C1) * (variance + _C2)
        total += float(alike.sum())
    return float(total / (height * width))
