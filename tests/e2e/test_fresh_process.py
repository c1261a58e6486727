"""The LoRA file in a process that has only Diffusers, against the adapter that was trained."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from safetensors.torch import load_file

from tests.trainer.training import tiny_job, train_here
from trainer.core import device
from trainer.engine import checkpoint
from trainer.engine.sampling import Recipe, encode, render_arrays
from trainer.weights.attach import attach

DIFFUSERS_ONLY = """
import sys, numpy, torch
from diffusers import StableDiffusionPipeline
model, lora, out = sys.argv[1:]
pipeline = StableDiffusionPipeline.from_pretrained(model, torch_dtype=torch.float32)
if lora != "none":
    pipeline.load_lora_weights(lora)
picture = pipeline("a photo of sks fox", num_inference_steps=4, guidance_scale=3.0, width=64,
    height=64, generator=torch.Generator().manual_seed(1), output_type="np").images[0]
assert not any(name.startswith(("trainer", "app")) for name in sys.modules)
numpy.save(out, picture)
"""


def picture_of(tmp_path, *words):
    subprocess.run(
        [sys.executable, "-c", DIFFUSERS_ONLY, *map(str, words), str(tmp_path / "picture.npy")],
        check=True,
        cwd=tmp_path,
        capture_output=True,
    )
    return np.load(tmp_path / "picture.npy")


@pytest.mark.parametrize("text_encoder", [False, True])
def test_the_file_acts_as_the_trained_adapter(tiny_sd, pictures, tmp_path, text_encoder, capsys):
    changes = {
        "text_encoder": {"train": text_encoder, "learning_rate": 5e-2},
        "optimizer": {"learning_rate": 5e-2},
        "adapter": {"rank": 4, "alpha": 2.0, "targets": "linear+conv"},
        "save": {"precision": "fp16", "diffusers": True},
    }
    job = tiny_job(tiny_sd, pictures(count=6), tmp_path / "runs", **changes)
    run, _ = train_here(job)
    state = checkpoint.newest(run.checkpoints) / "adapter.safetensors"

    model = job.model.load(device.plan("cpu", "fp32"))
    attach(
        model, job.adapter, text_encoders=("text_encoder",) if text_encoder else (), seed=0
    ).load_state(load_file(state))
    words = encode(model, ["a photo of sks fox"], "")
    ours = render_arrays(model, words, [1], Recipe((64, 64), 4, 3.0))[0]

    base = picture_of(tmp_path, tiny_sd, "none")
    for name in ("tiny-e0002", "tiny-e0002-diffusers"):
        theirs = picture_of(tmp_path, tiny_sd, run.lora / f"{name}.safetensors")
        off, moved = float(abs(theirs - ours).max()), float(abs(theirs - base).max())
        with capsys.disabled():
            print(f"\n{name}: off by {255 * off:.3f}, moved {255 * moved:.1f} of 255")  # noqa: T201
        assert off < 2 / 255
        assert moved > 10 * off
