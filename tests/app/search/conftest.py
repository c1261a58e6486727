"""A tiny job to search with, and a home of its own."""

from __future__ import annotations

import pytest

from app.search.folder import BELOW
from trainer.core.trees import merge
from trainer.job.layers import Layer, settle


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SWEETSPOT_HOME", str(tmp_path / "home"))


@pytest.fixture
def make_job(tiny_sd, pictures, tmp_path):
    """Six steps on a tiny model, judged on held-out pictures, with one cell an epoch."""

    def make(**changes):
        values = {
            "name": "fox",
            "runs": str(tmp_path / "runs"),
            "model": {"base": str(tiny_sd), "resolution": 64},
            "dataset": {"folder": str(pictures(6)), "bucket_step": 16},
            "adapter": {"rank": 2, "alpha": 2.0},
            "schedule": {"epochs": 3, "batch_size": 2, "seed": 3},
            "compute": {"precision": "fp32", "device": "cpu"},
            "validation": {"share": 0.34},
            "analysis": {
                "prompts": ["a fox"],
                "strengths": [1.0],
                "seeds": 1,
                "steps": 1,
                "draws": 1,
                "metrics": ["ssim", "fidelity"],
            },
        }
        return settle([Layer("below", BELOW), Layer("job", merge(values, changes))])

    return make
