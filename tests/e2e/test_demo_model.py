"""The embedded base models mean something: their pictures follow their prompts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

DEMO = Path(__file__).resolve().parents[2] / "assets" / "demo"


@pytest.fixture(scope="module", params=["sd", "flux"])
def model(request):
    from trainer.core import device
    from trainer.families.base import families

    config = families[request.param].model_validate({"base": "demo", "resolution": 128})
    return config.load(device.plan("cpu", "fp32"))


def painted(model, prompts, *, seed=0, steps=12):
    from trainer.engine.sampling import Recipe, encode, render_arrays

    words = encode(model, prompts, "")
    return render_arrays(model, words, [seed] * len(prompts), Recipe((128, 128), steps, 5.0))


def colour(picture):
    """Mean colour of what is not white."""
    front = picture.min(axis=2) < 0.85
    return picture[front].mean(axis=0)


@pytest.mark.parametrize("family", ["sd", "flux"])
def test_it_is_small_enough_to_ship(family):
    size = sum(f.stat().st_size for f in (DEMO / family).rglob("*") if f.is_file())
    assert size < 40e6


def test_prompts_decide_the_colour_of_what_is_drawn(model):
    prompts = ["a strawberry emoji", "a frog emoji", "a banana emoji"]
    red, green, yellow = (colour(picture) for picture in painted(model, prompts))
    assert red[0] > red[1] + 0.15
    assert red[0] > red[2] + 0.15
    assert green[1] > green[0]
    assert green[1] > green[2]
    assert min(yellow[0], yellow[1]) > yellow[2] + 0.15


def test_a_named_background_is_painted(model):
    white, blue = painted(model, ["a dog face", "a dog face on a blue background"])
    assert white[:4].mean() > 0.9
    corner = blue[:4].mean(axis=(0, 1))
    assert corner[2] > corner[0] + 0.1


def test_the_same_seed_gives_the_same_picture_and_another_seed_another(model):
    first, again = painted(model, ["a rocket"]), painted(model, ["a rocket"])
    other = painted(model, ["a rocket"], seed=1)
    assert np.array_equal(first, again)
    assert abs(first - other).mean() > 0.01


def test_the_autoencoder_keeps_pictures_it_has_never_seen(model):
    import torch
    from PIL import Image

    files = sorted((DEMO / "style").glob("*.png"))
    decibels = []
    for file in files:
        picture = Image.open(file).convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        white.alpha_composite(picture)
        small = np.asarray(white.convert("RGB").resize((128, 128)), dtype=np.float32) / 255
        pixels = torch.from_numpy(small).permute(2, 0, 1)[None] * 2 - 1
        with torch.no_grad():
            latents = model.vae.encode(pixels).latent_dist.mean
            back = model.vae.decode(latents).sample.clamp(-1, 1)[0].permute(1, 2, 0) / 2 + 0.5
        decibels.append(-10 * np.log10(((back.numpy() - small) ** 2).mean()))
    assert np.mean(decibels) > 24
