"""What launchers ask for: taken, or refused in one sentence."""

from __future__ import annotations

import pytest

from trainer.core.device import Plan, Thrift
from trainer.core.errors import ConfigError
from trainer.engine.sharing import (
    Sharding,
    _blocks,
    require_precision,
    require_sharded,
    sharding_asked,
)

FSDP = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
}


def test_without_a_launcher_nothing_is_spread():
    assert sharding_asked({}) is None
    assert sharding_asked({"ACCELERATE_MIXED_PRECISION": "no", "RANK": "0"}) is None


def test_fsdp2_is_taken_as_asked():
    assert sharding_asked(FSDP) == Sharding((), reshard=True, offload=False)
    told = {
        "FSDP_TRANSFORMER_CLS_TO_WRAP": "FluxTransformerBlock, FluxSingleTransformerBlock",
        "FSDP_RESHARD_AFTER_FORWARD": "false",
        "FSDP_OFFLOAD_PARAMS": "true",
    }
    blocks = ("FluxTransformerBlock", "FluxSingleTransformerBlock")
    assert sharding_asked(FSDP | told) == Sharding(blocks, reshard=False, offload=True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (FSDP | {"FSDP_VERSION": "1"}, "fsdp_version is 1"),
        (FSDP | {"FSDP_AUTO_WRAP_POLICY": "SIZE_BASED_WRAP"}, "fsdp_auto_wrap_policy is SIZE"),
        (FSDP | {"FSDP_ACTIVATION_CHECKPOINTING": "true"}, "compute.gradient_checkpointing"),
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, "not trained through DeepSpeed"),
        ({"ACCELERATE_USE_MEGATRON_LM": "true"}, "not trained through Megatron-LM"),
        ({"ACCELERATE_USE_PARALLELISM_CONFIG": "true"}, "a parallelism_config"),
        ({"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4"}, "schedule.accumulate = 4"),
        ({"ACCELERATE_DYNAMO_BACKEND": "INDUCTOR"}, "compute.compile"),
    ],
)
def test_what_is_not_done_is_refused_with_its_cure(changes, words):
    with pytest.raises(ConfigError, match=words):
        sharding_asked(changes)


def test_another_precision_than_the_runs_is_refused():
    require_precision(Plan("cuda", "bf16"), {"ACCELERATE_MIXED_PRECISION": "bf16"})
    require_precision(Plan("cuda", "fp16"), {"ACCELERATE_MIXED_PRECISION": "no"})
    with pytest.raises(ConfigError, match="mixed_precision is fp16, and the run computes in bf16"):
        require_precision(Plan("cuda", "bf16"), {"ACCELERATE_MIXED_PRECISION": "fp16"})


@pytest.mark.parametrize(
    ("plan", "classes", "compiled", "words"),
    [
        (Plan("cuda", "bf16", thrift=Thrift(base="nf4")), False, False, "held in nf4"),
        (Plan("cuda", "bf16", thrift=Thrift(offload=0.5)), False, False, "wait in main memory"),
        (Plan("cpu", "bf16", packed=True), False, False, "packed weights"),
        (Plan("cuda", "bf16"), True, False, "class pictures"),
        (Plan("cuda", "bf16"), False, True, "compiled blocks"),
    ],
)
def test_what_cannot_be_spread_is_refused(plan, classes, compiled, words):
    with pytest.raises(ConfigError, match=words):
        require_sharded(plan, renders_classes=classes, compiled=compiled)
    require_sharded(Plan("cuda", "bf16"), renders_classes=False, compiled=False)


def on_meta(config):
    import torch

    with torch.device("meta"):
        return config()


def test_blocks_are_the_models_own_or_those_named():
    from diffusers import FluxTransformer2DModel

    network = on_meta(lambda: FluxTransformer2DModel(num_layers=2, num_single_layers=3))
    assert len(_blocks(network, ())) == 5
    assert len(_blocks(network, ("FluxSingleTransformerBlock",))) == 3
    with pytest.raises(ConfigError, match="has no blocks called 'JointTransformerBlock'"):
        _blocks(network, ("JointTransformerBlock",))


def test_a_unet_is_not_spread():
    from tests.conftest import tiny_sdxl_unet

    with pytest.raises(ConfigError, match="a UNet2DConditionModel cannot be spread"):
        _blocks(on_meta(tiny_sdxl_unet), ())


def test_processes_that_take_part_get_the_mean_gradient(monkeypatch):
    import torch
    from torch import distributed, nn

    from trainer.engine.sharing import exchange

    some, bare = nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(1))
    other = nn.Parameter(torch.zeros(2))
    some.grad, other.grad = torch.full((2, 3), 2.0), torch.tensor([4.0, 6.0])
    monkeypatch.setattr(distributed, "all_reduce", lambda tensor: tensor.mul_(3))
    exchange([some, bare, other], 2)
    assert some.grad.tolist() == [[3.0] * 3] * 2
    assert other.grad.tolist() == [6.0, 9.0]
    assert bare.grad is None
