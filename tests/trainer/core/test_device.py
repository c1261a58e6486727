import pytest
import torch

from trainer.core.device import plan
from trainer.core.errors import ConfigError


def test_auto_is_settled_for_this_machine():
    settled = plan("cpu", "auto")
    assert settled.device == "cpu"
    assert settled.precision in ("bf16", "fp32")
    assert settled.dtype in (torch.bfloat16, torch.float32)


@pytest.mark.parametrize(
    ("device", "precision", "packed", "said"),
    [
        ("cpu", "fp16", False, "the CPU trains in 'bf16' or 'fp32', not in 'fp16'"),
        ("toaster", "fp32", False, "there is no device 'toaster'"),
        ("cuda", "fp32", False, "no working 'cuda' device"),
        ("cuda:1", "fp32", False, "no working 'cuda' device"),
    ],
)
def test_what_the_machine_cannot_do_is_refused(device, precision, packed, said, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=said):
        plan(device, precision, packed=packed)


def test_packed_weights_are_for_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(ConfigError, match="packed weights are for the CPU"):
        plan("cuda", "fp32", packed=True)
