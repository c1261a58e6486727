from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from trainer.engine import packed_winograd
from trainer.engine.packed import pack, unpack
from trainer.engine.packed_conv import PackedConv2d
from trainer.engine.packed_winograd import convolve, convolve_turned, pays, spread_weight

SIZES = [(1, 6, 8), (2, 7, 5), (3, 1, 1), (5, 4, 9)]


def drawn(*size: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(sum(size)))


def difference(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


def last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).contiguous()


@pytest.mark.parametrize("together", [1, 2**20], ids=["by picture", "at once"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_it_is_the_convolution_and_its_gradient(size, together, monkeypatch):
    monkeypatch.setattr(packed_winograd, "MOST_TILES", together)
    batch, height, width = size
    x = drawn(batch, 3, height, width).requires_grad_()
    weight, bias = drawn(5, 3, 3, 3), drawn(5)
    answer = conv2d(x, weight, bias, padding=1)
    aim = drawn(*answer.shape)
    (gradient,) = torch.autograd.grad(answer, x, aim)
    spread = spread_weight(weight)
    assert difference(convolve(last(x.detach()), spread, bias), last(answer.detach())) < 1e-6
    assert difference(convolve_turned(last(aim), spread), last(gradient)) < 1e-6


def test_in_bf16_the_error_is_about_four_times_that_of_a_plain_convolution():
    x, weight = drawn(1, 320, 32, 32).bfloat16(), drawn(320, 320, 3, 3).bfloat16()
    exact = last(conv2d(x.float(), weight.float(), padding=1))
    plain = difference(last(conv2d(x, weight, padding=1)).float(), exact)
    ours = difference(convolve(last(x), spread_weight(weight), None).float(), exact)
    assert plain < ours < 5 * plain


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_packing_takes_it_for_wide_convolutions_on_many_tiles(dtype):
    torch.manual_seed(0)
    plain = nn.Conv2d(256, 256, 3, padding=1).requires_grad_(False).to(dtype)
    fast = copy.deepcopy(plain)
    pack(nn.Sequential(fast))
    x = drawn(1, 256, 16, 16).to(dtype)
    answers = []
    for layer in (plain, fast):
        leaf = x.clone().requires_grad_()
        answer = layer(leaf)
        (answer.float() * drawn(*answer.shape)).sum().backward()
        answers.append((answer.detach().float(), leaf.grad.float()))
    assert isinstance(fast, PackedConv2d)
    assert fast.spread is not None
    for theirs, ours in zip(*answers, strict=True):
        assert difference(ours, theirs) < (1e-5 if dtype == torch.float32 else 0.01)
    unpack(nn.Sequential(fast))
    assert torch.equal(fast.weight, plain.weight)


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (nn.Conv2d(256, 256, 3, padding=1), (1, 256, 8, 8)),
        (nn.Conv2d(256, 64, 3, padding=1), (1, 256, 16, 16)),
        (nn.Conv2d(256, 256, 3, padding=1, stride=2), (1, 256, 32, 32)),
        (nn.Conv2d(256, 256, 3), (1, 256, 32, 32)),
        (nn.Conv2d(256, 256, 5, padding=2), (1, 256, 16, 16)),
    ],
    ids=["few tiles", "few channels", "stride", "no padding", "wide kernel"],
)
def test_other_convolutions_are_not_spread(layer, size):
    layer.requires_grad_(False)
    x = drawn(*size).requires_grad_()
    theirs = layer(x)
    pack(nn.Sequential(layer))
    ours = layer(x)
    ours.sum().backward()
    assert layer.spread is None
    assert difference(ours.detach(), theirs.detach()) < 1e-5


def test_a_batch_counts_all_its_tiles():
    assert pays((2, 1280, 8, 8), (1280, 1280))
    assert not pays((1, 1280, 8, 8), (1280, 1280))
    assert not pays((1, 1280, 9, 5), (1280, 1280))
