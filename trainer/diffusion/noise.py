"""DDPM: how pictures are noised, what the denoiser should answer, how answers are weighed.

Shapes: B pictures, C latent channels, h x w latent size, T training timesteps.
`signals` is the scheduler's cumulative product of alphas, `(T,)` in [0, 1], fp32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

if TYPE_CHECKING:
    from torch import Generator, Tensor

Prediction = Literal["epsilon", "v_prediction"]


def draw_noise(shape: tuple[int, int, int], generator: Generator, *, offset: float = 0) -> Tensor:
    """Standard normal noise for one picture, `(C, h, w)` fp32.

    With `offset` each channel as a whole is shifted by a normal draw of that size, so that
    very dark and very bright pictures can be learned
    (https://www.crosslabs.org/blog/diffusion-with-offset-noise).
    """
    noise = torch.randn(shape, generator=generator)
    if offset:
        noise += offset * torch.randn(shape[0], 1, 1, generator=generator)
    return noise


def add_noise(latents: Tensor, noise: Tensor, signals: Tensor, times: Tensor) -> Tensor:
    """Latents at timestep `times` `(B,)`: `(B, C, h, w)` (arXiv:2006.11239, eq. 4)."""
    signal = signals[times].view(-1, 1, 1, 1)
    return signal.sqrt() * latents + (1 - signal).sqrt() * noise


def target(
    latents: Tensor, noise: Tensor, signals: Tensor, times: Tensor, prediction: Prediction
) -> Tensor:
    """What the denoiser should answer: the noise, or the velocity (arXiv:2202.00512, app. D)."""
    if prediction == "epsilon":
        return noise
    signal = signals[times].view(-1, 1, 1, 1)
    return signal.sqrt() * noise - (1 - signal).sqrt() * latents


def min_snr_weights(signals: Tensor, times: Tensor, gamma: float, prediction: Prediction) -> Tensor:
    """Loss weights `(B,)` in [0, 1] that stop easy timesteps from ruling the gradient.

    min(SNR, gamma) / SNR for noise prediction, min(SNR, gamma) / (SNR + 1) for velocity
    (arXiv:2303.09556, sec. 3.4). At zero signal the first is 1, the second 0.
    """
    signal = signals[times]
    snr = signal / (1 - signal).clamp_min(torch.finfo(signal.dtype).tiny)
    capped = snr.clamp_max(gamma)
    if prediction == "v_prediction":
        return capped / (snr + 1)
    return torch.where(snr > 0, capped / snr.clamp_min(torch.finfo(snr.dtype).tiny), 1.0)
