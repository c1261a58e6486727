"""The objective against closed forms."""

import pytest
import torch

from trainer.core.draws import generator
from trainer.diffusion import noise

SIGNALS = torch.tensor([0.99, 0.5, 0.1, 0.0])
TIMES = torch.arange(4)


def pair():
    latents = torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(1))
    return latents, torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(2))


def test_noised_latents_keep_unit_variance_mixture():
    latents, drawn = pair()
    noisy = noise.add_noise(latents, drawn, SIGNALS, TIMES)
    assert torch.allclose(noisy[1], 0.5**0.5 * latents[1] + 0.5**0.5 * drawn[1])
    assert torch.equal(noisy[3], drawn[3])


def test_velocity_and_noisy_latents_give_back_both_ends():
    latents, drawn = pair()
    noisy = noise.add_noise(latents, drawn, SIGNALS, TIMES)
    velocity = noise.target(latents, drawn, SIGNALS, TIMES, "v_prediction")
    signal = SIGNALS.view(-1, 1, 1, 1)
    assert torch.allclose(
        signal.sqrt() * noisy - (1 - signal).sqrt() * velocity, latents, atol=1e-6
    )
    assert torch.allclose((1 - signal).sqrt() * noisy + signal.sqrt() * velocity, drawn, atol=1e-6)


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        ("epsilon", [5 / 99, 1.0, 1.0, 1.0]),
        ("v_prediction", [5 / 100, 0.5, (1 / 9) / (10 / 9), 0.0]),
    ],
)
def test_min_snr_weights_are_the_papers(prediction, expected):
    weights = noise.min_snr_weights(SIGNALS, TIMES, 5.0, prediction)
    assert weights.tolist() == pytest.approx(expected, rel=1e-4)


def test_offset_shifts_whole_channels():
    plain = noise.draw_noise((3, 8, 8), generator(0, "x"))
    shifted = noise.draw_noise((3, 8, 8), generator(0, "x"), offset=0.5)
    moved = shifted - plain
    assert torch.allclose(moved, moved.mean(dim=(1, 2), keepdim=True).expand_as(moved), atol=1e-6)
    assert moved.abs().max() > 0.01
