"""Rectified flow: straight lines from latents (time 0) to noise (time 1).

Shapes: B pictures, C latent channels, h x w latent size.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch

if TYPE_CHECKING:
    from torch import Generator, Tensor

Sampling = Literal["logit_normal", "uniform"]
Weighting = Literal["none", "sigma_sqrt", "cosmap", "picture"]


def draw_time(
    generator: Generator, sampling: Sampling, *, mean: float, spread: float, shift: float
) -> Tensor:
    """One time in (0, 1), a scalar in fp32; logit-normal times by arXiv:2403.03206, eq. 19."""
    if sampling == "uniform":
        return shifted(torch.rand((), generator=generator), shift)
    normal = torch.randn((), generator=generator)
    return shifted(torch.sigmoid(mean + spread * normal), shift)


def shifted(times: Tensor, shift: float) -> Tensor:
    """Times pushed towards noise when `shift` > 1, in the same shape (arXiv:2403.03206, eq. 23)."""
    return shift * times / (1 + (shift - 1) * times)


def density(
    times: Tensor, sampling: Sampling, *, mean: float, spread: float, shift: float
) -> Tensor:
    """How densely `draw_time` draws at these times in (0, 1); it integrates to 1.

    The shift adds log(shift) to a time's logit, so a shifted logit-normal is one again.
    """
    if sampling == "uniform":
        return shift / (shift + (1 - shift) * times).square()
    logit = torch.logit(times) - math.log(shift)
    bell = torch.exp(-0.5 * ((logit - mean) / spread).square())
    return bell / (spread * math.sqrt(2 * math.pi) * times * (1 - times))


def shift_of(tokens: int, *, low: tuple[int, float], high: tuple[int, float]) -> float:
    """The shift for pictures of so many tokens: exp of a line through two points.

    Args:
        tokens: Places of the picture that the transformer sees.
        low: Tokens and logarithm of the shift of small pictures; 256 and 0.5 for FLUX.1.
        high: The same of large ones; 4096 and 1.15 for FLUX.1.

    Black Forest Labs' reference code, `get_schedule` (github.com/black-forest-labs/flux).
    """
    slope = (high[1] - low[1]) / (high[0] - low[0])
    return math.exp(low[1] + slope * (tokens - low[0]))


def interpolate(latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
    """Where the lines stand at `times` `(B,)`: `(B, C, h, w)`."""
    share = times.view(-1, 1, 1, 1)
    return (1 - share) * latents + share * noise


def velocity(latents: Tensor, noise: Tensor) -> Tensor:
    """What the denoiser should answer anywhere on the line: `(B, C, h, w)`."""
    return noise - latents


def weights(times: Tensor, weighting: Weighting) -> Tensor:
    """What the loss counts at `times`: `(B,)`, as Diffusers weighs SD3 (arXiv:2403.03206, 3.1).

    `sigma_sqrt` is 1 / t^2, which rules the gradient near time 0; `cosmap` is at most 4 / pi.
    `picture` is t^2: what stands t along a line, less t times the answer, is the picture meant.
    """
    if weighting == "sigma_sqrt":
        return times.pow(-2)
    if weighting == "cosmap":
        return 2 / (math.pi * (1 - 2 * times + 2 * times.square()))
    if weighting == "picture":
        return times.square()
    return torch.ones_like(times)
