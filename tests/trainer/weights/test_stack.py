"""Several LoRAs as one."""

from __future__ import annotations

import torch

from trainer.engine.bank import Bank, Row
from trainer.weights.layouts import Weights
from trainer.weights.stack import stacked


def weights(*, rank: int, seed: int, names: tuple[str, ...]) -> Weights:
    draw = torch.Generator().manual_seed(seed)
    tensors = {}
    for name in names:
        conv = "conv" in name
        shape = (rank, 3, 3, 3) if conv else (rank, 6)
        out = (4, rank, 1, 1) if conv else (5, rank)
        tensors[f"{name}.lora_A"] = torch.randn(shape, generator=draw)
        tensors[f"{name}.lora_B"] = torch.randn(out, generator=draw)
    return Weights(tensors, {name: float(rank) / 2 for name in names})


class Tiny:
    """What a bank asks of a model."""

    def __init__(self) -> None:
        self.denoiser = torch.nn.ModuleDict(
            {"conv": torch.nn.Conv2d(3, 4, 3, padding=1), "linear": torch.nn.Linear(6, 5)}
        )
        self.text_encoders = {}
        self.plan = type("Plan", (), {"device": "cpu", "dtype": torch.float32})


def test_together_they_add_what_each_adds():
    both, conv = ("denoiser.conv", "denoiser.linear"), ("denoiser.conv",)
    one, other = weights(rank=2, seed=1, names=both), weights(rank=3, seed=2, names=conv)
    model = Tiny()
    inputs = {"conv": torch.randn(1, 3, 8, 8), "linear": torch.randn(1, 6)}
    for name, x in inputs.items():
        layer = model.denoiser[name]

        def added(held, strength, layer=layer, x=x):
            plain = layer(x)
            bank = Bank(model, {"held": held})
            with bank.rows([Row("held", strength)]):
                changed = layer(x) - plain
            bank.remove()
            return changed

        wanted = added(one, 0.7)
        if name == "conv":
            wanted = wanted + added(other, -0.4)
        assert torch.allclose(added(stacked([(one, 0.7), (other, -0.4)]), 1.0), wanted, atol=1e-5)
