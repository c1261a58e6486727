from __future__ import annotations

import copy

import peft
import pytest
import torch
from torch import Tensor, nn

from trainer.engine.packed import PackReport, pack, unpack
from trainer.engine.packed_linear import PackedLinear, PackedPointwiseConv2d
from trainer.engine.packed_lora import is_lone, project, thin_lora


def drawn(*size: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(sum(size)))


def difference(ours: Tensor, theirs: Tensor) -> float:
    return float((ours.double() - theirs.double()).norm() / theirs.double().norm())


def told(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """The answer and the gradient of the input."""
    leaf = x.clone().requires_grad_()
    answer = layer(leaf)
    (gradient,) = torch.autograd.grad(answer, leaf, drawn(*answer.shape).to(answer.dtype))
    return answer.detach(), gradient


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [(1,), (77,), (2, 33), (3, 4, 5)], ids=str)
@pytest.mark.parametrize("features", [(40, 24), (7, 5), (1, 64)], ids=str)
def test_a_packed_layer_multiplies_like_the_plain_one(features, rows, bias):
    torch.manual_seed(0)
    plain = nn.Linear(*features, bias=bias).requires_grad_(False).bfloat16()
    fast = copy.deepcopy(plain)
    pack(nn.Sequential(fast))
    assert isinstance(fast, PackedLinear)
    assert fast.weight.numel() == 0
    x = drawn(*rows, features[0]).bfloat16()
    for ours, theirs in zip(told(fast, x), told(plain, x), strict=True):
        assert ours.shape == theirs.shape
        assert difference(ours, theirs) < 0.005
    unpack(nn.Sequential(fast))
    assert type(fast) is nn.Linear
    assert torch.equal(fast.weight, plain.weight)


def test_a_packed_1x1_convolution_is_the_plain_one():
    torch.manual_seed(0)
    plain = nn.Conv2d(24, 40, 1).requires_grad_(False).bfloat16()
    fast = copy.deepcopy(plain)
    pack(nn.Sequential(fast))
    assert isinstance(fast, PackedPointwiseConv2d)
    x = drawn(2, 24, 5, 3).bfloat16()
    for ours, theirs in zip(told(fast, x), told(plain, x), strict=True):
        assert difference(ours, theirs) < 0.005
    unpack(nn.Sequential(fast))
    assert type(fast) is nn.Conv2d
    assert torch.equal(fast.weight, plain.weight)


def test_layers_that_train_and_other_formats_stay_plain():
    network = nn.Sequential(nn.Linear(4, 4).bfloat16(), nn.Linear(4, 4).requires_grad_(False))
    assert pack(network) == PackReport(
        adapted=0, attention=0, convolutions=0, left=0, linear=0, packed_gib=0.0
    )
    assert [type(layer) for layer in network] == [nn.Linear, nn.Linear]


def adapted(*names: str, **settings: object) -> nn.ModuleDict:
    torch.manual_seed(0)
    layers = nn.ModuleDict({name: nn.Linear(48, 32) for name in names}).requires_grad_(False)
    peft.inject_adapter_in_model(
        peft.LoraConfig(r=4, lora_alpha=6, target_modules=list(names), **settings), layers
    )
    for name, parameter in layers.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn_like(parameter) * 0.1
    return layers


def learned(layers: nn.ModuleDict, x: Tensor, together: bool) -> list[Tensor]:
    """Answers, and the gradients of the input and of everything that trains."""
    leaf = x.clone().requires_grad_()
    answers = (
        project(list(layers.values()), leaf)
        if together
        else [layer(leaf) for layer in layers.values()]
    )
    total = sum((a.double() * drawn(*a.shape).double()).sum() for a in answers)
    trains = [p for p in layers.parameters() if p.requires_grad]
    return [a.detach() for a in answers] + list(torch.autograd.grad(total, [leaf, *trains]))


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_projected_together_is_as_peft_makes_them_one_by_one(dtype, packed):
    layers, x = adapted("q", "k", "v"), drawn(2, 9, 48)
    theirs = learned(layers, x, together=False)
    for layer in layers.values():
        layer.get_base_layer().to(dtype)
    pack(layers) if packed else thin_lora(layers)
    assert all(is_lone(layer) for layer in layers.values())
    for ours, other in zip(learned(layers, x.to(dtype), together=True), theirs, strict=True):
        assert difference(ours, other) < (1e-5 if dtype == torch.float32 else 0.01)


def test_an_input_that_needs_no_gradient_gets_none():
    layers = adapted("k", "v")
    thin_lora(layers)
    first, second = project(list(layers.values()), drawn(9, 48))
    (first.sum() + second.sum()).backward()
    assert all(p.grad is not None for p in layers.parameters() if p.requires_grad)


@pytest.mark.parametrize("why", ["dropout", "off", "two adapters", "trains"])
def test_what_is_not_alone_goes_the_long_way(why):
    layers = adapted("q", lora_dropout=0.5 if why == "dropout" else 0.0)
    layer = layers["q"]
    if why == "two adapters":
        layer.update_layer("other", 4, 4, peft.LoraConfig(r=4))
        layer.set_adapter(["default", "other"])
    if why == "trains":
        layer.get_base_layer().requires_grad_(True)
    if why == "off":
        layer.enable_adapters(False)
    x = drawn(9, 48)
    layers.eval()
    theirs = layer(x).detach()
    thin_lora(layers)
    assert not is_lone(layer)
    assert difference(layer(x).detach(), theirs) < 1e-6
