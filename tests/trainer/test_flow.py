"""The maths of flow matching: times, lines, weights, patches."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import FluxPipeline
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from diffusers.training_utils import compute_loss_weighting_for_sd3

from trainer.core.draws import generator
from trainer.diffusion import flow, patches

SHAPES = [
    ("logit_normal", 0.0, 1.0, 1.0),
    ("logit_normal", 0.0, 1.0, 3.1582),
    ("logit_normal", -0.7, 0.5, 1.65),
    ("uniform", 0.0, 1.0, 1.0),
    ("uniform", 0.0, 1.0, 3.0),
]


@pytest.mark.parametrize(("sampling", "mean", "spread", "shift"), SHAPES)
def test_times_are_drawn_as_densely_as_the_formula_says(sampling, mean, spread, shift):
    """20,000 draws in 20 bins: chi-squared with 19 degrees of freedom, 1 in 10,000 above 50.8."""
    made = {"mean": mean, "spread": spread, "shift": shift}
    count, bins = 20_000, 20
    drawn = torch.stack(
        [flow.draw_time(generator(5, "time", i), sampling, **made) for i in range(count)]
    )
    assert drawn.min() > 0
    assert drawn.max() < 1
    fine = (torch.arange(bins * 500, dtype=torch.float64) + 0.5) / (bins * 500)
    shares = flow.density(fine, sampling, **made).reshape(bins, 500).mean(dim=1) / bins
    assert float(shares.sum()) == pytest.approx(1, abs=1e-4)
    expected = shares * count
    seen = torch.histc(drawn.double(), bins=bins, min=0, max=1)
    often = expected > 5
    assert float(((seen - expected).square() / expected)[often].sum()) < 50.8
    assert float((seen - expected).abs()[~often].sum()) < 30


def test_a_logit_normal_s_density_is_the_papers():
    """arXiv:2403.03206, eq. 19, at t = 1/4: exp(-(log(1/3))^2 / 2) / (sqrt(2 pi) t (1 - t))."""
    wanted = math.exp(-(math.log(1 / 3) ** 2) / 2) / (math.sqrt(2 * math.pi) * 0.25 * 0.75)
    found = flow.density(torch.tensor(0.25), "logit_normal", mean=0, spread=1, shift=1)
    assert float(found) == pytest.approx(wanted, rel=1e-6)


def test_a_time_depends_on_its_key_alone():
    made = {"mean": 0.0, "spread": 1.0, "shift": 3.0}
    one = flow.draw_time(generator(1, "noise", 2, 3), "logit_normal", **made)
    assert one == flow.draw_time(generator(1, "noise", 2, 3), "logit_normal", **made)
    assert one != flow.draw_time(generator(1, "noise", 2, 4), "logit_normal", **made)


@pytest.mark.parametrize(("side", "shift"), [(256, 1.6487), (1024, 3.1582)])
def test_the_shift_of_a_resolution_is_that_of_rendering(side, shift):
    tokens = (side // 16) ** 2
    ours = flow.shift_of(tokens, low=(256, 0.5), high=(4096, 1.15))
    assert ours == pytest.approx(math.exp(calculate_shift(tokens)), rel=1e-9)
    assert ours == pytest.approx(shift, rel=1e-4)


def test_times_are_shifted_as_the_scheduler_shifts_them():
    from diffusers import FlowMatchEulerDiscreteScheduler

    times = torch.linspace(0.05, 0.95, 7)
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    theirs = scheduler.time_shift(0.9, 1.0, times)
    assert torch.allclose(flow.shifted(times, math.exp(0.9)), theirs, atol=1e-6)


@pytest.mark.parametrize("weighting", ["none", "sigma_sqrt", "cosmap"])
def test_weights_are_those_of_diffusers(weighting):
    times = torch.linspace(0.05, 0.95, 7)
    theirs = compute_loss_weighting_for_sd3(weighting, sigmas=times)
    assert torch.allclose(flow.weights(times, weighting), theirs, rtol=1e-6)


def test_the_line_begins_at_the_picture_and_ends_in_noise():
    latents, noise = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    ends = flow.interpolate(latents, noise, torch.tensor([0.0, 1.0]))
    assert torch.equal(ends[0], latents[0])
    assert torch.equal(ends[1], noise[1])
    step = flow.interpolate(latents, noise, torch.full((2,), 0.6)) - flow.interpolate(
        latents, noise, torch.full((2,), 0.5)
    )
    assert torch.allclose(step * 10, flow.velocity(latents, noise), atol=1e-5)


def test_patches_and_their_places_are_the_pipeline_s():
    latents = torch.randn(2, 16, 6, 4)
    packed = patches.pack(latents)
    assert torch.equal(packed, FluxPipeline._pack_latents(latents, 2, 16, 6, 4))
    assert torch.equal(patches.unpack(packed, 6, 4), latents)
    theirs = FluxPipeline._prepare_latent_image_ids(2, 3, 2, "cpu", torch.float32)
    assert torch.equal(patches.places(6, 4), theirs)
