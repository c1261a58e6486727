from pathlib import Path

import pytest
import torch

from trainer.core.device import PRECISION
from trainer.core.errors import RunError
from trainer.engine import checkpoint
from trainer.engine.checkpoint import State


def state(step: int, **changes) -> State:
    values = {
        "step": step,
        "adapter": {"a": torch.full((2, 2), float(step))},
        "mean": {},
        "optimizer": {
            "state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(2, 2)}},
            "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.99), "params": [0]}],
        },
        "scaler": {},
        "identity": {"job": "x", "pictures": "y"},
    }
    return State(**{**values, **changes})


def test_what_is_saved_is_what_is_loaded(tmp_path):
    path = checkpoint.save(tmp_path, state(7))
    loaded = checkpoint.load(path, {"job": "x", "pictures": "y"})
    assert loaded.step == 7
    assert torch.equal(loaded.adapter["a"], torch.full((2, 2), 7.0))
    assert loaded.optimizer["param_groups"][0]["betas"] == (0.9, 0.99)
    assert torch.equal(loaded.optimizer["state"][0]["exp_avg"], torch.ones(2, 2))


def test_an_optimizer_that_nests_its_state_comes_back_nested(tmp_path):
    nested = {"state": {0: {"__quant__": {"state1": torch.ones(4), "bits": 8}}, 1: {"step": 2}}}
    optimizer = {**nested, "param_groups": [{"lr": 1.0, "params": [0, 1]}]}
    loaded = checkpoint.load(checkpoint.save(tmp_path, state(1, optimizer=optimizer)), {})
    assert loaded.optimizer["state"][0]["__quant__"]["bits"] == 8
    assert torch.equal(loaded.optimizer["state"][0]["__quant__"]["state1"], torch.ones(4))
    assert loaded.optimizer["state"][1] == {"step": 2}


def test_the_newest_that_is_whole_counts_and_the_one_before_is_kept(tmp_path):
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, state(step))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000002", "step-000003"]
    damaged = tmp_path / "step-000003" / "adapter.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert checkpoint.newest(tmp_path) == tmp_path / "step-000002"


def test_a_checkpoint_of_another_job_says_what_changed(tmp_path):
    path = checkpoint.save(tmp_path, state(1))
    with pytest.raises(RunError, match="the pictures changed since this run began"):
        checkpoint.load(path, {"job": "x", "pictures": "z"})


def test_a_checkpoint_of_another_number_format_says_how_to_go_on(tmp_path):
    path = checkpoint.save(tmp_path, state(1, identity={"job": "x", PRECISION: "fp16"}))
    with pytest.raises(RunError, match="computes in fp16, and here bf16 was chosen") as caught:
        checkpoint.load(path, {"job": "x", PRECISION: "bf16"})
    assert "--set compute.precision=fp16" in caught.value.hint


def test_an_old_checkpoint_that_another_has_open_stays_and_is_told(tmp_path, monkeypatch, caplog):
    for step in (1, 2):
        checkpoint.save(tmp_path, state(step))

    def held(path, target):
        raise PermissionError("in use")

    monkeypatch.setattr(Path, "rename", held)
    checkpoint.save(tmp_path, state(3))
    assert checkpoint.newest(tmp_path) == tmp_path / "step-000003"
    assert (tmp_path / "step-000001").exists()
    assert "an old checkpoint stays for now" in caplog.text


def test_half_a_checkpoint_is_swept_and_never_taken(tmp_path):
    checkpoint.save(tmp_path, state(1))
    (tmp_path / "step-000009.tmp-1234").mkdir()
    (tmp_path / "step-000008").mkdir()
    assert checkpoint.newest(tmp_path) == tmp_path / "step-000001"
    assert not (tmp_path / "step-000009.tmp-1234").exists()


@pytest.mark.parametrize(("written", "said"), [(1, "an older"), (99, "a newer")])
def test_a_checkpoint_of_another_format_is_named_as_such(tmp_path, monkeypatch, written, said):
    monkeypatch.setattr(checkpoint, "FORMAT", written)
    path = checkpoint.save(tmp_path, state(1))
    monkeypatch.undo()
    with pytest.raises(RunError, match=f"written by {said} Sweetspot"):
        checkpoint.load(path, {})
