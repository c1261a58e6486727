"""Prior preservation beside the formulas of the Diffusers example scripts, on the same tensors."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from tests.conftest import write_tiny_flux, write_tiny_sdxl
from tests.trainer.data.test_loader import framed
from trainer.core.batch import Batch
from trainer.core.device import Plan as Machine
from trainer.data.loader import Plan, Shape
from trainer.families.flux import FluxConfig
from trainer.families.sdxl import SdxlConfig

CAPTIONS = ("a photo of sks fox", "sks fox", "a fox", "a red fox")
WEIGHT = 0.7
"""prior_loss_weight."""


def load(kind, folder):
    if kind == "flux":
        base = str(write_tiny_flux(folder))
        config = FluxConfig(base=base, max_tokens=16, flow={"weighting": "none"})
    else:
        base = str(write_tiny_sdxl(folder, prediction_type=kind))
        config = SdxlConfig(base=base)
    return config.load(Machine("cpu", "fp32"))


def batch_of(model, kind):
    """Two pictures of the instance, then two of the class."""
    draws = torch.Generator().manual_seed(5)
    latents = torch.randn(4, 16 if kind == "flux" else 4, 24, 32, generator=draws)
    times = [0.2, 0.5, 0.7, 0.9] if kind == "flux" else [3, 480, 700, 999]
    with torch.no_grad():
        words = model.encode_captions(CAPTIONS)
    return Batch(
        names=("0", "1", "2", "3"),
        captions=CAPTIONS,
        latents=latents,
        noise=torch.randn(latents.shape, generator=draws),
        times=torch.tensor(times),
        weights=torch.zeros(4),
        frames=torch.tensor([[67.0, 150, 0, 4, 48, 64]]).repeat(4, 1),
        conditioning=words,
    )


def ours(model, batch):
    """The sum that the loop makes of what a plan shows in one step."""
    items = [framed(number, 64) for number in range(4)]
    (group,) = Plan(items, Shape(2, 1, WEIGHT), seed=1, classes_from=2).epoch(1)
    weights = torch.zeros(4)
    for slot in (slot for micro in group for slot in micro):
        weights[slot.item] += slot.weight
    told = replace(batch, weights=weights)
    return (model.losses(told) * told.weights).sum()


def script_loss(kind, model, batch, answer):
    """The lines of train_dreambooth_lora_sdxl.py and _flux.py between prediction and loss."""
    from diffusers import FluxPipeline
    from diffusers.training_utils import compute_loss_weighting_for_sd3

    noise, model_input = batch.noise, batch.latents
    if kind == "flux":
        answer = FluxPipeline._unpack_latents(answer, 48, 64, 2)
        target = noise - model_input
    elif kind == "epsilon":
        target = noise
    else:
        target = model.scheduler.get_velocity(model_input, noise, batch.times)
    model_pred, model_pred_prior = torch.chunk(answer, 2, dim=0)
    target, target_prior = torch.chunk(target, 2, dim=0)
    if kind == "flux":
        weighting = compute_loss_weighting_for_sd3("none", sigmas=batch.times[:2, None, None, None])
        prior = weighting * (model_pred_prior.float() - target_prior.float()) ** 2
        prior_loss = torch.mean(prior.reshape(target_prior.shape[0], -1), 1).mean()
        own = weighting * (model_pred.float() - target.float()) ** 2
        loss = torch.mean(own.reshape(target.shape[0], -1), 1).mean()
    else:
        prior_loss = functional.mse_loss(model_pred_prior.float(), target_prior.float())
        loss = functional.mse_loss(model_pred.float(), target.float())
    return loss + WEIGHT * prior_loss


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "flux"])
def test_a_step_with_class_pictures_weighs_them_as_diffusers_script_does(kind, tmp_path):
    model = load(kind, tmp_path / "model")
    batch, answers = batch_of(model, kind), []
    model.denoiser.register_forward_hook(lambda module, given, told: answers.append(told[0]))
    with torch.no_grad():
        seen = ours(model, batch)
        theirs = script_loss(kind, model, batch, answers[0])
        plain = model.losses(batch)[:2].mean()
    assert abs(theirs - plain) > 0.1
    assert abs(seen - theirs) < 1e-6 * max(1.0, float(theirs))
