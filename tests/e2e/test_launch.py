"""`accelerate launch` with its own config: DDP and FSDP2 train what one process trains."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from app import runner
from tests.trainer.training import tiny_job, train_here
from trainer.core.errors import STOPPED, ConfigError
from trainer.core.events import Ended, Proven, Sampled, Started, Stepped, Validated
from trainer.engine import checkpoint
from trainer.job.run import Run

CONFIGS = Path(__file__).resolve().parents[2] / "docs/cluster"


def job_in(tiny_flux, pictures, runs, **changes):
    asked = {
        "model": {"kind": "flux"},
        "adapter": {"dropout": 0.0},
        "schedule": {"epochs": 3, "batch_size": 3, "accumulate": 2, "clip": 0.5, "ema": 0.9},
        "samples": {"every": 3, "steps": 2, "prompts": ["a fox"]},
        "validation": {"share": 0.1},
    }
    return tiny_job(tiny_flux, pictures, runs, **(asked | changes))


def launched(run: Run, config: Path, act=lambda event: None) -> int:
    """The exit code of `accelerate launch`; `act` is called at each event."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config)]
    known = run.events_path.stat().st_size if run.events_path.exists() else 0
    with (run.path / "worker.log").open("ab") as log:
        process = subprocess.Popen(
            [*command, "-m", "trainer.worker", str(run.path)], stdout=log, stderr=log
        )
        for told in runner.follow(run, process, skip=known):
            act(told.event)
    return process.wait()


def told(run, kind):
    return [one.event for one in run.events() if isinstance(one.event, kind)]


def state(run):
    path = checkpoint.newest(run.checkpoints)
    return load_file(path / "adapter.safetensors") | {
        f"mean.{name}": value for name, value in load_file(path / "mean.safetensors").items()
    }


def apart(one, other):
    """Largest differences of losses, and of weights and their means."""
    losses = zip(told(one, Stepped), told(other, Stepped), strict=True)
    ours, theirs = state(one), state(other)
    return (
        max(abs(a.loss - b.loss) for a, b in losses),
        max(float((ours[name] - theirs[name]).abs().max()) for name in ours),
    )


@pytest.fixture(scope="module")
def trained(tiny_flux, tmp_path_factory):
    """By one process; and the folder of pictures."""
    from tests.conftest import write_pictures

    place = tmp_path_factory.mktemp("launched")
    write_pictures(place / "pictures", 14, (64, 64))
    run = Run.create(job_in(tiny_flux, place / "pictures", place / "runs"))
    from trainer.core.events import write_to
    from trainer.train import train

    assert train(run, write_to(run.events_path), lambda: False).status == "completed"
    assert len(told(run, Stepped)) == 9
    return run, place


def test_ddp_by_accelerates_config_gives_the_losses_and_weights_of_one_process(
    trained, tiny_flux, capsys
):
    alone, place = trained
    run = Run.create(job_in(tiny_flux, place / "pictures", place / "runs"))
    assert launched(run, CONFIGS / "ddp.yaml") == 0, (run.path / "worker.log").read_text()[-3000:]
    loss, weight = apart(alone, run)
    with capsys.disabled():
        print(f"\naccelerate launch, DDP, against one: loss {loss:.1e}, weights {weight:.1e}")  # noqa: T201
    assert loss < 1e-5
    assert weight < 1e-5


def test_fsdp_stopped_and_resumed_gives_the_losses_and_weights_of_one_process(
    trained, tiny_flux, capsys
):
    alone, place = trained
    run = Run.create(job_in(tiny_flux, place / "pictures", place / "runs"))

    def stop(event):
        if isinstance(event, Stepped) and event.step == 4:
            run.ask_to_stop()

    launched(run, CONFIGS / "fsdp.yaml", stop)
    assert told(run, Ended)[-1].exit_code == STOPPED, (run.path / "worker.log").read_text()[-3000:]
    run.forget_stop()
    assert launched(run, CONFIGS / "fsdp.yaml") == 0, (run.path / "worker.log").read_text()[-3000:]
    assert told(run, Started)[-1].resumed_from in (4, 5)
    loss, weight = apart(alone, run)
    with capsys.disabled():
        print(f"\naccelerate launch, FSDP2, against one: loss {loss:.1e}, weights {weight:.1e}")  # noqa: T201
    assert loss < 1e-5
    assert weight < 1e-5
    assert max(float(value.abs().max()) for value in state(run).values()) > 1e-3
    for ours, theirs in zip(told(run, Validated), told(alone, Validated), strict=True):
        assert ours.loss == pytest.approx(theirs.loss, abs=1e-5)
    assert len(told(run, Sampled)) == len(told(alone, Sampled)) == 2
    assert len(told(run, Proven)) == 1


def test_in_sixteen_bits_the_spread_base_gives_the_losses_of_one_process(
    trained, tiny_flux, tmp_path
):
    _, place = trained
    asked = {"compute": {"precision": "bf16"}, "schedule": {"epochs": 1, "batch_size": 4}}
    job = job_in(tiny_flux, place / "pictures", tmp_path / "runs", **asked)
    run = Run.create(job)
    assert launched(run, CONFIGS / "fsdp.yaml") == 0, (run.path / "worker.log").read_text()[-3000:]
    losses = [event.loss for event in told(run, Stepped)]
    wanted = [event.loss for event in train_here(job)[1] if isinstance(event, Stepped)]
    assert losses == pytest.approx(wanted, rel=5e-3)


def test_what_cannot_be_spread_ends_the_run_with_one_sentence(trained, tiny_flux, tmp_path):
    _, place = trained
    held = {"memory": {"base": "int8"}}
    run = Run.create(job_in(tiny_flux, place / "pictures", tmp_path / "runs", **held))
    assert launched(run, CONFIGS / "fsdp.yaml") != 0
    (ended,) = told(run, Ended)
    assert ended.exit_code == ConfigError.exit_code
    assert ended.problem == "weights held in int8 cannot be spread (FSDP)"
    assert "memory.base = 'plain'" in ended.hint
