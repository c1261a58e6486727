"""Frozen convolutions computed in the way that is fastest on a CPU.

oneDNN re-orders a plain weight on every call, forward and backward; at small pictures that
takes longer than the convolution. Three ways around it, all in channels-last layout:

- 1x1 kernels are a matrix product (`PointwiseConv2d`), whose weight needs no order.
- Kernels on few positions are a matrix product too, of unrolled inputs (`UnrolledConv2d`).
  The weight stays plain, so this costs no memory.
- `PackedConv2d` holds the weight re-ordered once for each direction, instead of the plain one;
  where that is faster it takes fewer products for wide 3x3 kernels (`packed_winograd`). It is
  for those whose order is the same at all sizes of picture; others are unrolled.

Each is an `nn.Conv2d` whose class was exchanged, so paths, settings and biases stay. Only
inputs get gradients. Knows nothing of adapters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.nn.functional import linear, pad

from trainer.engine.packed_linear import pack_linear
from trainer.engine.packed_winograd import convolve, convolve_turned, pays, spread_weight

if TYPE_CHECKING:
    from torch import Tensor

FEW_POSITIONS = 128
"""Up to so many output positions (batch x height x width) unrolling beats a plain convolution."""

MANY_CHANNELS = 960
"""From so many channels on, all sizes of picture have the same order."""


def pack_conv(layer: nn.Conv2d) -> bool:
    """Exchange a frozen convolution for the fastest kind; False if it is none we know."""
    if not unroll_conv(layer):
        return False
    if isinstance(layer, PointwiseConv2d):
        return pack_linear(layer) or True
    if not _order_varies(layer):
        _repack(layer)
    return True


def unroll_conv(layer: nn.Conv2d) -> bool:
    """Exchange a frozen convolution for the fastest kind of one plain weight; False if none."""
    if type(layer) is not nn.Conv2d or not _is_plain(layer):
        return False
    layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
    points = layer.kernel_size == (1, 1) and layer.stride == (1, 1)
    layer.__class__ = PointwiseConv2d if points else UnrolledConv2d
    return True


def restore_conv(layer: nn.Conv2d) -> None:
    """Make the layer the plain `nn.Conv2d` it was, its weight the same bit for bit."""
    if isinstance(layer, PackedConv2d):
        layer.weight.data = layer.packed.to_dense()
        layer.packed = layer.turned = layer.spread = None
    layer.__class__ = nn.Conv2d


class PointwiseConv2d(nn.Conv2d):
    """A frozen 1x1 convolution as the matrix product it is."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.flatten(1)
        return _channels_first(linear(_channels_last(x), weight, self.bias))


class UnrolledConv2d(nn.Conv2d):
    """A frozen convolution that, on few positions, is a product with the unrolled input."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        rows = x.shape[0] * x.shape[2] * x.shape[3]
        if rows > FEW_POSITIONS or self.stride != (1, 1):
            return cast("Tensor", super().forward(x))
        return cast("Tensor", _Unrolled.apply(x, self))

    @property
    def matrix(self) -> Tensor:
        """The weight as `(out, kh * kw * in)`, not copied."""
        return self.weight.permute(0, 2, 3, 1).flatten(1)


class PackedConv2d(nn.Conv2d):
    """A frozen convolution that holds its weight re-ordered; `weight` itself is empty.

    Attributes:
        packed: The weight as the forward pass reads it.
        turned: The weight as the gradient of the input reads it; made when first needed.
        spread: The weight as Winograd's way reads it, in both directions; made when first needed.
    """

    packed: Tensor
    turned: Tensor | None
    spread: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", _Packed.apply(x, self))


class _Unrolled(torch.autograd.Function):
    """`y = unroll(x) W^T`; the gradient of x rolls `g W` up again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: UnrolledConv2d) -> Tensor:
        ctx.layer, ctx.size = layer, x.shape
        return _channels_first(linear(_unroll(_channels_last(x), layer), layer.matrix, layer.bias))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        layer: UnrolledConv2d = ctx.layer
        products = _channels_last(gradients[0]) @ layer.matrix
        return _channels_first(_roll_up(products, layer, ctx.size)), None


def _unroll(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """Each position's neighbourhood: `(B, H, W, in)` -> `(B, h, w, kh * kw * in)`."""
    (kh, kw), (top, left) = layer.kernel_size, layer.padding
    x = pad(x, (0, 0, left, left, top, top))
    batch, height, width, channels = x.shape
    b, y, x_, c = x.stride()
    size = (batch, height - kh + 1, width - kw + 1, kh, kw, channels)
    return x.as_strided(size, (b, y, x_, y, x_, c)).flatten(3)


def _roll_up(products: Tensor, layer: nn.Conv2d, size: torch.Size) -> Tensor:
    """The adjoint of `_unroll`: `(B, h, w, kh * kw * in)` -> `(B, H, W, in)`."""
    (kh, kw), (top, left) = layer.kernel_size, layer.padding
    batch, channels, height, width = size
    h, w = products.shape[1:3]
    products = products.unflatten(3, (kh, kw, channels))
    total = products.new_zeros(batch, height + 2 * top, width + 2 * left, channels)
    for i in range(kh):
        for j in range(kw):
            total[:, i : i + h, j : j + w] += products[:, :, :, i, j]
    return total[:, top : top + height, left : left + width]


class _Packed(torch.autograd.Function):
    """A convolution by one packed weight, its gradient by another."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: PackedConv2d) -> Tensor:
        ctx.layer, ctx.size = layer, x.shape
        x = x.contiguous(memory_format=torch.channels_last)
        if _by_winograd(layer, x.shape):
            return _channels_first(convolve(_channels_last(x), _spread(layer), layer.bias))
        return _convolve(x, layer.packed, layer.bias, layer.padding, layer.stride)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        if _by_winograd(ctx.layer, ctx.size):
            turned = convolve_turned(_channels_last(gradient), _spread(ctx.layer))
            return _channels_first(turned), None
        if ctx.layer.stride == (1, 1):
            return _convolve_turned(gradient, ctx.layer), None
        return _convolve_transposed(gradient, ctx.layer, ctx.size), None


def _by_winograd(layer: PackedConv2d, size: torch.Size) -> bool:
    """By the input's size alone, so that what ran before never changes the rounding."""
    known = layer.kernel_size == (3, 3) and layer.stride == layer.padding == (1, 1)
    return known and pays(size, (layer.in_channels, layer.out_channels))


def _spread(layer: PackedConv2d) -> Tensor:
    if layer.spread is None:
        layer.spread = spread_weight(layer.packed.to_dense())
    return layer.spread


def _convolve_turned(gradient: Tensor, layer: PackedConv2d) -> Tensor:
    """The gradient of the input at stride 1: a convolution with the kernel turned about."""
    (kh, kw), (top, left) = layer.kernel_size, layer.padding
    padding = (kh - 1 - top, kw - 1 - left)
    if layer.turned is None:
        weight = layer.packed.to_dense().flip(2, 3).transpose(0, 1).contiguous()
        layer.turned = _reordered(weight, padding, (1, 1))
    return _convolve(gradient, layer.turned, None, padding, (1, 1))


def _convolve_transposed(gradient: Tensor, layer: PackedConv2d, size: torch.Size) -> Tensor:
    """The gradient of the input, of the given size, at a longer stride."""
    rest = [
        (length + 2 * padding - kernel) % stride
        for length, padding, kernel, stride in zip(
            size[2:], layer.padding, layer.kernel_size, layer.stride, strict=True
        )
    ]
    place = (layer.padding, rest, layer.stride, [1, 1], 1)
    if layer.turned is None:
        layer.turned = torch.ops.mkldnn._reorder_convolution_transpose_weight(
            layer.packed.to_dense(), *place
        )
    answer: Tensor = torch.ops.mkldnn._convolution_transpose_pointwise(
        gradient, layer.turned, None, *place, "none", [], ""
    )
    return answer


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


def _reordered(weight: Tensor, padding: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """For no special size of picture, so that what ran before never changes the rounding."""
    answer: Tensor = torch.ops.mkldnn._reorder_convolution_weight(
        weight, padding, stride, [1, 1], 1
    )
    return answer


def _order_varies(layer: nn.Conv2d) -> bool:
    """Whether oneDNN orders the weight by the picture's size: 48 channels at a time, or 64.

    A product whose size asks for the other order takes a hundred times as long.
    """
    counts = (layer.in_channels, layer.out_channels)
    return any(count % 48 == 0 and count < MANY_CHANNELS for count in counts)


def _repack(layer: nn.Conv2d) -> None:
    layer.packed = _reordered(layer.weight.data, layer.padding, layer.stride)
    layer.turned = layer.spread = None
    layer.weight.data = layer.weight.data.new_empty(0)
    layer.__class__ = PackedConv2d


def _is_plain(layer: nn.Conv2d) -> bool:
    frozen = not any(parameter.requires_grad for parameter in layer.parameters())
    simple = layer.groups == 1 and layer.dilation == (1, 1) and layer.padding_mode == "zeros"
    padded = isinstance(layer.padding, tuple) and all(
        padding < kernel for padding, kernel in zip(layer.padding, layer.kernel_size, strict=True)
    )
    return frozen and simple and padded and layer.weight.device.type == "cpu"


def _channels_last(x: Tensor) -> Tensor:
    """`(B, C, H, W)` -> `(B, H, W, C)`."""
    return x.permute(0, 2, 3, 1)


def _channels_first(x: Tensor) -> Tensor:
    """`(B, H, W, C)` -> `(B, C, H, W)`."""
    return x.permute(0, 3, 1, 2)
