"""Making a frozen network with an adapter train fast: `lean` anywhere, `pack` on the CPU.

Both work in place, after the adapter is attached, and are undone by `unpack`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from trainer.engine.packed_attention import keep_probabilities, restore_attention
from trainer.engine.packed_conv import (
    PackedConv2d,
    PointwiseConv2d,
    UnrolledConv2d,
    pack_conv,
    restore_conv,
    unroll_conv,
)
from trainer.engine.packed_linear import (
    PackedLinear,
    PackedPointwiseConv2d,
    pack_linear,
    restore_linear,
)
from trainer.engine.packed_lora import is_plain_lora, restore_lora, thin_lora

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PackReport:
    """What `lean` or `pack` did.

    Attributes:
        adapted: LoRA layers that now compute in the format of their input.
        attention: Attention layers that keep their probabilities for the backward pass.
        convolutions: Frozen convolutions that were exchanged for a faster kind.
        left: Frozen convolutions left as they are: grouped or dilated, on another device, or
            under an adapter that reads the plain weight.
        linear: Frozen linear layers that were exchanged.
        packed_gib: Size of the weights packed; as much again where gradients pass through.
    """

    adapted: int
    attention: int
    convolutions: int
    left: int
    linear: int
    packed_gib: float


def lean(network: nn.Module) -> PackReport:
    """Let a network in 16 bits train a LoRA in fp32 without autocast, at no cost in memory.

    On the CPU its frozen convolutions and its attention are exchanged too, for faster ones
    with plain weights.
    """
    return _exchange(network, unroll_conv)


def pack(network: nn.Module) -> PackReport:
    """What `lean` does, and hold frozen weights in the layout this CPU multiplies fastest.

    The plain ones are freed: what reads a packed layer's `weight` finds it empty, so merge
    only after `unpack`. Wide 3x3 convolutions take fewer products, rounded more coarsely.
    """
    return _exchange(network, pack_conv, pack_linear)


def unpack(network: nn.Module) -> None:
    """Undo `lean` and `pack`: PEFT's forward, and every plain weight, the same bit for bit."""
    for layer in network.modules():
        if isinstance(layer, PointwiseConv2d | UnrolledConv2d | PackedConv2d):
            restore_conv(layer)
        elif isinstance(layer, PackedLinear | PackedPointwiseConv2d):
            restore_linear(layer)
    restore_attention(network)
    restore_lora(network)


def _exchange(
    network: nn.Module,
    convolution: Callable[[nn.Conv2d], bool],
    linear: Callable[[nn.Linear], bool] = lambda _: False,
) -> PackReport:
    read = _read_by_adapters(network)
    frozen = [m for m in network.modules() if not any(p.requires_grad for p in m.parameters())]
    convolutions = [m for m in frozen if type(m) is nn.Conv2d]
    linears = [m for m in frozen if type(m) is nn.Linear]
    sizes = {m: m.weight.numel() * m.weight.itemsize for m in (*convolutions, *linears)}
    done = [m for m in convolutions if m not in read and convolution(m)]
    lines = [m for m in linears if m not in read and linear(m)]
    packed = sum(sizes[m] for m in (*done, *lines) if not m.weight.numel())
    report = PackReport(
        adapted=thin_lora(network),
        attention=keep_probabilities(network),
        convolutions=len(done),
        left=len(convolutions) - len(done),
        linear=len(lines),
        packed_gib=packed / 2**30,
    )
    logger.info("%s", report)
    return report


def _read_by_adapters(network: nn.Module) -> set[nn.Module]:
    """Layers under adapters other than plain LoRA, whose maths reads the base weight."""
    return {
        layer.get_base_layer()
        for layer in network.modules()
        if isinstance(layer, BaseTunerLayer) and not is_plain_lora(layer)
    }
