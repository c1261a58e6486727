"""An imported file really trains."""

import json

import pytest

from tests.trainer.job.importers import foreign
from tests.trainer.training import train_here
from trainer.job.file import merge, parse_job
from trainer.job.importers.base import import_config


@pytest.mark.parametrize(("name", "model"), [("kohya_ss", "tiny_sd"), ("ai-toolkit", "tiny_flux")])
def test_two_steps_of_it_are_trained_and_proven(name, model, request, tmp_path, pictures):
    folder = pictures(count=2)
    (tmp_path / "foreign").mkdir()
    found = import_config(foreign.write_all(tmp_path / "foreign")[name])
    tiny = {
        "runs": str(tmp_path / "runs"),
        "model": {"base": str(request.getfixturevalue(model)), "resolution": 64},
        "dataset": {"folder": str(folder), "bucket_step": 16},
        "schedule": {"steps": 2},
        "optimizer": {"eight_bit": False},
        "memory": {"base": "plain", "text": "plain"},
        "compute": {"device": "cpu", "precision": "fp32"},
        "samples": {"every": 0},
    }
    run, _ = train_here(parse_job(merge(found.job_values, tiny)))
    file = max(run.lora.glob("*.safetensors"))
    again = import_config(file)
    assert again.job_values["adapter"] == json.loads(json.dumps(found.values["adapter"])) | {
        "dropout": 0.0
    }
