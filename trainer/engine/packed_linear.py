"""Frozen linear layers and 1x1 convolutions whose weights are held in oneDNN's own order.

A plain weight is re-ordered in every product, which shows where few rows meet a large matrix.
Here it is held re-ordered once for each direction, instead of the plain one. Only inputs get
gradients. Knows nothing of adapters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.nn.functional import linear

if TYPE_CHECKING:
    from torch import Tensor


class Matrix:
    """A frozen weight `(out, in)` for products on the CPU."""

    def __init__(self, weight: Tensor) -> None:
        self._packed = _reordered(weight)
        self._turned: Tensor | None = None

    def plain(self) -> Tensor:
        """The weight as it was, bit for bit."""
        return self._packed.to_dense()

    def multiply(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """`x W^T + b`: `(..., in)` -> `(..., out)`. No gradients."""
        return _product(x, self._packed, bias)

    def turned(self, gradient: Tensor) -> Tensor:
        """`g W`: `(..., out)` -> `(..., in)`. No gradients."""
        if self._turned is None:
            self._turned = _reordered(self.plain().t())
        return _product(gradient, self._turned, None)


class PackedLinear(nn.Linear):
    """A frozen linear layer that holds its weight re-ordered; `weight` itself is empty."""

    matrix: Matrix | None

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", _Product.apply(x, self.matrix, self.bias))


class PackedPointwiseConv2d(nn.Conv2d):
    """The same of a 1x1 convolution at stride 1."""

    matrix: Matrix | None

    def forward(self, x: Tensor) -> Tensor:
        rows = x.permute(0, 2, 3, 1)
        return cast("Tensor", _Product.apply(rows, self.matrix, self.bias)).permute(0, 3, 1, 2)


def pack_linear(layer: nn.Linear | nn.Conv2d) -> bool:
    """Exchange a frozen linear layer or 1x1 convolution in bf16; False in other formats."""
    if layer.weight.dtype != torch.bfloat16 or layer.weight.device.type != "cpu":
        return False
    layer.matrix = Matrix(layer.weight.data.flatten(1))
    layer.weight.data = layer.weight.data.new_empty(0)
    layer.__class__ = PackedLinear if isinstance(layer, nn.Linear) else PackedPointwiseConv2d
    return True


def restore_linear(layer: PackedLinear | PackedPointwiseConv2d) -> None:
    """Make the layer the plain one it was, its weight the same bit for bit."""
    if layer.matrix is not None:
        kernel = (1, 1) if isinstance(layer, PackedPointwiseConv2d) else ()
        weight = layer.matrix.plain()
        layer.weight.data = weight.reshape(*weight.shape, *kernel)
        layer.matrix = None
    layer.__class__ = nn.Linear if isinstance(layer, PackedLinear) else nn.Conv2d


def multiply(layer: nn.Linear, x: Tensor) -> Tensor:
    """What a frozen layer, packed or plain, makes of x, without gradients."""
    if isinstance(layer, PackedLinear) and layer.matrix is not None:
        return layer.matrix.multiply(x, layer.bias)
    return linear(x, layer.weight, layer.bias)


def turned(layer: nn.Linear, gradient: Tensor) -> Tensor:
    """The gradient of that product's input."""
    if isinstance(layer, PackedLinear) and layer.matrix is not None:
        return layer.matrix.turned(gradient)
    return gradient @ layer.weight


class _Product(torch.autograd.Function):
    """`x W^T + b`, the gradient of x by a weight of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Matrix, bias: Tensor | None) -> Tensor:
        ctx.matrix = matrix
        return matrix.multiply(x, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return ctx.matrix.turned(gradients[0]), None, None


def _reordered(weight: Tensor) -> Tensor:
    answer: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())
    return answer


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    answer: Tensor = torch.ops.mkldnn._linear_pointwise(
        x.contiguous(), weight, bias, "none", [], ""
    )
    return answer
