"""AdamW with its state in 8 bits: bitsandbytes where it works, a notice where it does not."""

from __future__ import annotations

import sys

import pytest
import torch
from safetensors.torch import load_file

from tests.trainer.training import lora_bytes, tiny_job, train_here
from trainer.core import events
from trainer.engine import checkpoint
from trainer.optimizers.adamw import eight_bit_problem


@pytest.fixture
def make_job(tiny_sd, pictures, tmp_path):
    folder = pictures(count=4)

    def make(*, eight_bit: bool):
        # At rank 64 the thin matrices are large enough for bitsandbytes to quantise.
        optimizer = {"eight_bit": eight_bit, "learning_rate": 1e-3}
        adapter = {"rank": 64, "alpha": 64}
        return tiny_job(tiny_sd, folder, tmp_path / "runs", optimizer=optimizer, adapter=adapter)

    return make


def test_without_bitsandbytes_plain_adamw_trains_and_the_run_says_so(make_job, monkeypatch):
    plain, _ = train_here(make_job(eight_bit=False))
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    run, told = train_here(make_job(eight_bit=True))
    warned = [event.message for event in told if isinstance(event, events.Warned)]
    assert any("plain AdamW is used instead" in message for message in warned)
    assert lora_bytes(run) == lora_bytes(plain)


def test_a_stopped_8_bit_run_goes_on_to_the_same_weights(make_job):
    pytest.importorskip("bitsandbytes")
    assert eight_bit_problem("cpu") is None
    whole, told = train_here(make_job(eight_bit=True))
    assert not [event for event in told if isinstance(event, events.Warned)]
    run, _ = train_here(make_job(eight_bit=True), stop_after=1)
    kept = load_file(checkpoint.newest(run.checkpoints) / "optimizer.safetensors")
    assert torch.uint8 in {tensor.dtype for tensor in kept.values()}
    train_here(make_job(eight_bit=True), run=run)
    assert lora_bytes(run) == lora_bytes(whole)
    plain, _ = train_here(make_job(eight_bit=False))
    assert lora_bytes(whole) != lora_bytes(plain)
