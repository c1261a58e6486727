"""Frozen convolutions kept in the layout that this CPU multiplies fastest.

oneDNN re-orders a plain weight on every call, forward and backward; at small pictures that
takes longer than the convolution. Here each frozen weight is re-ordered once, for the forward
pass and, where a gradient passes through, for the gradient of the input. The plain weight is
freed and can be had back bit for bit. Knows nothing of adapters, jobs or families.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from trainer.engine.packed_lora import is_plain_lora

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PackReport:
    """What `pack` did.

    Attributes:
        packed: Layers now packed.
        left: Convolutions left as they are: they train, are grouped, dilated, or carry an
            adapter that reads the plain weight.
        gib: Size of the packed weights; it doubles where gradients pass through.
    """

    packed: int
    left: int
    gib: float


def pack(denoiser: nn.Module) -> PackReport:
    """Pack the frozen convolutions of a network in place, one layer at a time.

    Call it after adapters are attached. Output, gradients and speed of the rest stay; what
    reads a packed layer's `weight` finds it empty, so merge and save only after `unpack`.
    """
    packed = left = size = 0
    kept = _read_by_adapters(denoiser)
    for layer in denoiser.modules():
        if type(layer) is not nn.Conv2d:
            continue
        if layer in kept or not _packable(layer):
            left += 1
            continue
        size += layer.weight.nbytes
        _pack_layer(layer)
        packed += 1
    report = PackReport(packed, left, size / 2**30)
    logger.info("packed %d layers of %.2f GiB, left %d", report.packed, report.gib, report.left)
    return report


def unpack(denoiser: nn.Module) -> None:
    """Give every packed layer its plain weight back, bit for bit."""
    for layer in denoiser.modules():
        if isinstance(layer, PackedConv2d):
            layer.weight.data = layer.packed.to_dense()
            layer.packed = layer.turned = None
            layer.__class__ = nn.Conv2d


class PackedConv2d(nn.Conv2d):  # type: ignore[misc]
    """A frozen convolution that holds its weight re-ordered; `weight` itself is empty.

    Attributes:
        packed: The weight as the forward pass reads it.
        turned: The weight as the gradient of the input reads it; made when first needed.
    """

    packed: Tensor
    turned: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", _Convolution.apply(x, self))

    def convolve(self, x: Tensor) -> Tensor:
        """`(B, in_channels, H, W)` -> `(B, out_channels, h, w)`, without a graph."""
        x = x.contiguous(memory_format=torch.channels_last)
        return _convolve(x, self.packed, self.bias, self.padding, self.stride)

    def convolve_back(self, gradient: Tensor, size: torch.Size) -> Tensor:
        """The gradient of the output -> the gradient of the input, of the given size."""
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        if self.stride == (1, 1):
            if self.turned is None:
                self.turned = _turned(self.packed.to_dense(), self._padding_back())
            return _convolve(gradient, self.turned, None, self._padding_back(), (1, 1))
        rest = [
            (length + 2 * padding - kernel) % stride
            for length, padding, kernel, stride in zip(
                size[2:], self.padding, self.kernel_size, self.stride, strict=True
            )
        ]
        if self.turned is None:
            self.turned = torch.ops.mkldnn._reorder_convolution_transpose_weight(
                self.packed.to_dense(), self.padding, rest, self.stride, [1, 1], 1
            )
        answer: Tensor = torch.ops.mkldnn._convolution_transpose_pointwise(
            gradient,
            self.turned,
            None,
            self.padding,
            rest,
            self.stride,
            [1, 1],
            1,
            "none",
            [],
            "",
        )
        return answer

    def _padding_back(self) -> tuple[int, int]:
        (height, width), (top, left) = self.kernel_size, self.padding
        return height - 1 - top, width - 1 - left


class _Convolution(torch.autograd.Function):  # type: ignore[misc]
    """Ties the two convolutions together; the weight gets no gradient, so no input is kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: PackedConv2d) -> Tensor:
        ctx.layer, ctx.size = layer, x.shape
        return layer.convolve(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.layer.convolve_back(gradients[0], ctx.size), None


def _convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: tuple[int, ...],
    stride: tuple[int, ...],
) -> Tensor:
    answer: Tensor = torch.ops.mkldnn._convolution_pointwise(
        x, weight, bias, padding, stride, [1, 1], 1, "none", [], ""
    )
    return answer


def _turned(weight: Tensor, padding: tuple[int, int]) -> Tensor:
    """The kernel turned by 180 degrees with its channels exchanged, re-ordered."""
    turned = weight.flip(2, 3).transpose(0, 1).contiguous()
    return _reordered(turned, padding, (1, 1))


def _reordered(weight: Tensor, padding: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    answer: Tensor = torch.ops.mkldnn._reorder_convolution_weight(
        weight, padding, stride, [1, 1], 1
    )
    return answer


def _pack_layer(layer: nn.Conv2d) -> None:
    packed = _reordered(layer.weight.data, layer.padding, layer.stride)
    layer.weight.data = layer.weight.data.new_empty(0)
    layer.__class__ = PackedConv2d
    layer.packed, layer.turned = packed, None


def _packable(layer: nn.Conv2d) -> bool:
    frozen = not any(parameter.requires_grad for parameter in layer.parameters())
    plain = layer.groups == 1 and layer.dilation == (1, 1) and layer.padding_mode == "zeros"
    sized = isinstance(layer.padding, tuple) and all(
        padding < kernel for padding, kernel in zip(layer.padding, layer.kernel_size, strict=True)
    )
    return frozen and plain and sized and layer.weight.device.type == "cpu"


def _read_by_adapters(denoiser: nn.Module) -> set[nn.Module]:
    """Layers under adapters other than plain LoRA, whose maths reads the base weight."""
    return {
        layer.get_base_layer()
        for layer in denoiser.modules()
        if isinstance(layer, BaseTunerLayer) and not is_plain_lora(layer)
    }
