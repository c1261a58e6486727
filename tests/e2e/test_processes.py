"""Two processes share the work and end where one does."""

from __future__ import annotations

import pytest
from safetensors.torch import load_file

from app import runner
from tests.trainer.training import tiny_job
from trainer.core.events import Stepped
from trainer.engine import checkpoint
from trainer.job.run import Run


def trained(tiny_sd, pictures, tmp_path, processes):
    changes = {
        "adapter": {"dropout": 0.0},
        "dataset": {"class_word": "fox"},
        "prior": {"enabled": True, "count": 3, "steps": 2, "weight": 0.5},
        "schedule": {"epochs": 3, "batch_size": 4, "accumulate": 2, "clip": 0.5},
        "compute": {"processes": processes},
        "track": {"to": ["tensorboard"]},
    }
    job = tiny_job(tiny_sd, pictures, tmp_path / f"runs{processes}", **changes)
    run = Run.create(job)
    process = runner.start(run, processes)
    events = [told.event for told in runner.follow(run, process)]
    assert process.wait() == 0, (run.path / "worker.log").read_text()[-3000:]
    losses = [event.loss for event in events if isinstance(event, Stepped)]
    assert told_to_tensorboard(run) == pytest.approx(losses)
    state = checkpoint.newest(run.checkpoints)
    return losses, load_file(state / "adapter.safetensors")


def told_to_tensorboard(run):
    """The losses in TensorBoard's one file: the main process alone writes."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (file,) = (run.path / "tensorboard").iterdir()
    return [event.value for event in EventAccumulator(str(file)).Reload().Scalars("train/loss")]


def test_two_processes_give_the_losses_and_weights_of_one(tiny_sd, pictures, tmp_path, capsys):
    folder = pictures(count=13)
    one, weights = trained(tiny_sd, folder, tmp_path, 1)
    two, others = trained(tiny_sd, folder, tmp_path, 2)
    assert len(one) == len(two) == 6
    loss = max(abs(a - b) for a, b in zip(one, two, strict=True))
    weight = max(float((weights[name] - others[name]).abs().max()) for name in weights)
    with capsys.disabled():
        print(f"\ntwo processes against one: loss {loss:.1e}, weights {weight:.1e}")  # noqa: T201
    assert loss < 1e-5
    assert weight < 1e-5
    assert max(float(value.abs().max()) for value in weights.values()) > 1e-3
    assert one[0] != pytest.approx(one[-1])
