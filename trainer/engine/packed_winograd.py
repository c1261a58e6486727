"""Convolutions of 3x3 in fewer products, by Winograd's minimal filtering F(2x2, 3x3).

A tile of 2x2 results takes 16 products for each pair of channels instead of 36: the 4x4 inputs
around the tile and the kernel are spread to 16 numbers each, whose products are gathered to the
4 results (Lavin and Gray 2016, arXiv 1509.09308, section 4.1). Over all tiles and channels that
is 16 matrix products. The spread numbers are sums, and are rounded once more: in bf16 the error of
one convolution is about four times that of the plain one.

All pictures here are `(B, H, W, channels)`, contiguous. Knows nothing of layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import pad

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

FEWEST_TILES = 32
"""Below so many tiles (2x2 results, over the batch) reading the spread weights takes longer."""

MOST_TILES = 1024
"""Pictures are taken together up to so many tiles: more do not stay in the processor's cache."""

FEWEST_CHANNELS = 256
"""Below so many channels spreading and gathering take longer than the products saved."""

_SPREAD_KERNEL = torch.tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
"""The paper's G."""

_PLAIN = (0, 1, 2, 3)

_TURNED = (3, 1, 2, 0)
"""Where a kernel that is turned about finds its numbers: the first and the last change places."""


def pays(size: Sequence[int], channels: tuple[int, int]) -> bool:
    """Whether an input `(B, in, H, W)` is faster this way, for (in, out) channels."""
    batch, _, height, width = size
    tiles = batch * -(-height // 2) * -(-width // 2)
    return tiles >= FEWEST_TILES and min(channels) >= FEWEST_CHANNELS


def spread_weight(weight: Tensor) -> Tensor:
    """A kernel `(out, in, 3, 3)` as the products read it: `(4, 4, out, in)`, in its own format."""
    g = _SPREAD_KERNEL.to(weight.device)
    return torch.einsum("ai,bj,ocij->aboc", g, g, weight.float()).to(weight.dtype).contiguous()


def convolve(x: Tensor, spread: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution of `(B, H, W, in)`, padded by one zero: `(B, H, W, out)`."""
    return _in_parts(x, spread.mT, bias, _PLAIN)


def convolve_turned(gradient: Tensor, spread: Tensor) -> Tensor:
    """The gradient of that convolution's input: `(B, H, W, out)` -> `(B, H, W, in)`."""
    return _in_parts(gradient, spread, None, _TURNED)


def _in_parts(x: Tensor, weights: Tensor, bias: Tensor | None, places: Sequence[int]) -> Tensor:
    together = max(1, MOST_TILES // (-(-x.shape[1] // 2) * -(-x.shape[2] // 2)))
    parts = [_convolve(part, weights, bias, places) for part in x.split(together)]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _convolve(x: Tensor, weights: Tensor, bias: Tensor | None, places: Sequence[int]) -> Tensor:
    """With spread weights `(4, 4, in, out)`: `(B, H, W, in)` -> `(B, H, W, out)`."""
    inputs = _spread_input(x, places)
    products = torch.bmm(inputs.flatten(2, 4).flatten(0, 1), weights.flatten(0, 1))
    products = products.view(*inputs.shape[:5], -1)
    if bias is not None:
        products[1, 1] += bias
    return _gather(products, x.shape[1:3], places)


def _spread_input(x: Tensor, places: Sequence[int]) -> Tensor:
    """The 4x4 inputs around every tile, spread: `(4, 4, B, h, w, channels)` for h x w tiles."""
    batch, height, width, channels = x.shape
    h, w = -(-height // 2), -(-width // 2)
    x = pad(x, (0, 0, 1, 1 + width % 2, 1, 1 + height % 2))
    rows = x.new_empty(4, batch, h, x.shape[2], channels)
    _spread([x[:, i : i + 2 * h - 1 : 2] for i in range(4)], [rows[i] for i in places])
    both = x.new_empty(4, 4, batch, h, w, channels)
    _spread([rows[:, :, :, i : i + 2 * w - 1 : 2] for i in range(4)], [both[:, i] for i in places])
    return both


def _spread(inputs: Sequence[Tensor], out: Sequence[Tensor]) -> None:
    """The paper's B^T along one axis."""
    torch.sub(inputs[0], inputs[2], out=out[0])
    torch.add(inputs[1], inputs[2], out=out[1])
    torch.sub(inputs[2], inputs[1], out=out[2])
    torch.sub(inputs[1], inputs[3], out=out[3])


def _gather(products: Tensor, size: Sequence[int], places: Sequence[int]) -> Tensor:
    """The results of every tile from its 4x4 products: `(B, H, W, out)`."""
    batch, h, w, channels = products.shape[2:]
    rows = products.new_empty(2, 4, batch, h, w, channels)
    _gather_axis([products[i] for i in places], rows)
    answer = products.new_empty(batch, h, 2, w, 2, channels)
    _gather_axis([rows[:, i] for i in places], answer.permute(4, 2, 0, 1, 3, 5))
    answer = answer.view(batch, 2 * h, 2 * w, channels)
    return answer[:, : size[0], : size[1]].contiguous()


def _gather_axis(inputs: Sequence[Tensor], out: Tensor) -> None:
    """The paper's A^T along one axis, whose two results lie first in `out`."""
    both = inputs[1] + inputs[2]
    torch.add(both, inputs[0], out=out[0])
    torch.sub(inputs[1], inputs[2], out=both)
    torch.sub(both, inputs[3], out=out[1])
