"""Frozen linear layers whose weights are held in fewer bits, or in main memory.

A layer gives back, product for product, what its rounded weight gives, and passes gradients on to
its input. Knows nothing of adapters and of files.

`int8` and `fp8`: one scale a row (out) in fp32. `nf4`: bitsandbytes' 4-bit numbers, a scale each 64
(Dettmers et al. 2023, QLoRA, arXiv:2305.14314), of which `double` rounds the scales to 8 bits too.
Ours hold 8 bits because torchao's weight-only layers keep the 16-bit weight for the backward pass.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.nn.functional import linear

from trainer.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from trainer.core.device import Bits

SMALLEST = 4096
"""Weights of a layer that is worth holding in fewer bits."""
_INT8, _FP8 = 127.0, 448.0
"""The largest numbers of int8 and of float8_e4m3fn."""
_PIECE = 2**20
"""Weights that are rounded at a time: rounding takes up to 20 bytes of each, and leaves holes."""


class HeldLinear(nn.Linear):
    """A frozen linear layer that makes its weight anew for each product.

    Attributes:
        weight: `(out, in)`, int8; the bits of fp8 as uint8; or plain, for a layer that is held in
            main memory only.
        scale: `(out, 1)` fp32; one number where there is no scale.
        fetch: Brings the weight to a device; another one may have started it beforehand.
        waits: The weight stays in main memory wherever the layer is moved.
        wide: Computes and answers in fp32, whatever its input is.
    """

    scale: Tensor
    fetch: Callable[[Tensor, torch.device], Tensor]

    waits: bool = False
    wide: bool = False

    def forward(self, x: Tensor) -> Tensor:
        x = x.float() if self.wide else x
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return cast("Tensor", _Product.apply(x, self, bias))

    def wait(self, *, pinned: bool) -> None:
        """Keep the weight in main memory from now on; `pinned` makes a card fetch it faster."""
        weight = self.weight.data.to("cpu")
        self.weight.data = weight.pin_memory() if pinned else weight
        self.waits = True

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Moves everything but a weight that waits."""
        if not self.waits:
            return super()._apply(fn, recurse)
        if self.bias is not None:
            moved = nn.Parameter(fn(self.bias.data), requires_grad=False)
            self.register_parameter("bias", moved)
        self.scale = fn(self.scale)
        return self

    def made(self, like: Tensor) -> Tensor:
        """The weight `(out, in)` as `like` is: its format, its device."""
        held = self.fetch(self.weight, like.device)
        if held.dtype == torch.uint8:
            held = held.view(torch.float8_e4m3fn)
        weight = held.to(like.dtype)
        scale = self.scale
        return weight if scale.numel() == 1 else weight * scale.to(like.device, like.dtype)


class _Product(torch.autograd.Function):
    """`x W^T + b`, which keeps neither W nor x for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: HeldLinear, bias: Tensor | None) -> Tensor:
        ctx.layer = layer
        return linear(x, layer.made(x), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        gradient = gradients[0]
        return gradient @ ctx.layer.made(gradient), None, None


def suits(path: str, layer: nn.Module) -> bool:
    """Whether a layer may be held in fewer bits: a large linear one inside the numbered blocks.

    What stands around the blocks (words in, picture out, times) is small and counts most.
    """
    return (
        isinstance(layer, nn.Linear)
        and layer.weight.numel() >= SMALLEST
        and re.search(r"\.\d+\.", path) is not None
    )


def hold(layer: nn.Linear, weight: Tensor, bits: Bits, *, double: bool, device: str) -> nn.Linear:
    """A layer of the same size (its bias still to come) with this weight, on the device.

    Args:
        layer: Tells the size; may be on torch's meta device.
        weight: `(out, in)`, in the format that a plain layer would have.
        bits: How to hold it; not "plain".
        double: Round nf4's scales too.
        device: Where to.
    """
    if bits == "nf4":
        return _four_bits(layer, weight, double=double, device=device)
    held = _empty(HeldLinear, layer)
    rounded, scale = _eight_bits(weight, bits)
    held.weight = nn.Parameter(rounded.to(device), requires_grad=False)
    held.register_buffer("scale", scale.to(device), persistent=False)
    held.fetch = _fetch
    return held


def hold_plain(layer: nn.Linear) -> HeldLinear:
    """The same layer as one whose weight may lie elsewhere than its inputs."""
    held: HeldLinear = _empty(HeldLinear, layer)
    held.weight, held.bias = layer.weight, layer.bias
    held.register_buffer("scale", torch.ones(1), persistent=False)
    held.fetch = _fetch
    return held


def require_bits(bits: Bits, device: str, where: str) -> None:
    """Refuse a way of holding weights that does not work here.

    Raises:
        ConfigError: bitsandbytes is missing, or cannot do this on the device.
    """
    problem = four_bits_problem(device) if bits == "nf4" else None
    if bits == "fp8" and device.startswith("mps"):
        problem = "Apple's GPU knows no 8-bit floating-point numbers"
    if problem is None:
        return
    name = "4 bits" if bits == "nf4" else "fp8"
    more = ", which takes twice the memory and works on every device" if bits == "nf4" else ""
    raise ConfigError(
        f"weights in {name} do not work here ({problem})", where=where, hint=f"'int8'{more}"
    )


def four_bits_problem(device: str) -> str | None:
    """Why bitsandbytes' 4 bits cannot be used on the device; None when one product worked."""
    layer = nn.Linear(64, 64, bias=False)
    try:
        held = _four_bits(layer, layer.weight.data, double=False, device=device)
        x = torch.ones(2, 64, device=device, requires_grad=True)
        held(x).sum().backward()
    except (ImportError, RuntimeError, OSError, AttributeError, NotImplementedError) as error:
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    return None if x.grad is not None else "no gradient passes through"


def _eight_bits(weight: Tensor, bits: Bits) -> tuple[Tensor, Tensor]:
    """int8, or the bits of fp8 as uint8, `(out, in)`, and the scale of each row `(out, 1)`."""
    rounded = torch.empty(weight.shape, dtype=torch.int8 if bits == "int8" else torch.uint8)
    scale = torch.empty(len(weight), 1)
    at_once = max(1, _PIECE // weight.shape[1])
    for first in range(0, len(weight), at_once):
        rows = slice(first, first + at_once)
        piece = weight[rows].float()
        scale[rows] = piece.abs().amax(dim=1, keepdim=True).clamp_min(1e-12)
        scale[rows] /= _INT8 if bits == "int8" else _FP8
        piece = piece / scale[rows]  # not in place: fp32 weights are read from here, not copied
        if bits == "int8":
            rounded[rows] = piece.round_()
        else:
            rounded[rows] = piece.to(torch.float8_e4m3fn).view(torch.uint8)
    return rounded, scale


def _four_bits(layer: nn.Linear, weight: Tensor, *, double: bool, device: str) -> nn.Linear:
    from bitsandbytes.nn import Linear4bit, Params4bit

    held = _empty(Linear4bit, layer, quant_type="nf4", compress_statistics=double)
    weight, state = weight.contiguous(), None
    if device == "cpu":
        weight, state = _four_bits_by_pieces(weight, double=double)
    held.weight = Params4bit(
        weight,
        requires_grad=False,
        quant_state=state,
        bnb_quantized=state is not None,
        quant_type="nf4",
        compress_statistics=double,
        module=held,
    ).to(device)
    held.quant_state = held.weight.quant_state
    # In eval mode it would turn its weight into a layout from which nothing can be trained.
    held.support_avx512bf16_for_cpu = False
    return cast("nn.Linear", held)


def _four_bits_by_pieces(weight: Tensor, *, double: bool) -> tuple[Tensor, Any]:
    """What bitsandbytes makes of the whole weight on a CPU, made a little at a time."""
    from bitsandbytes.functional import QuantState, quantize_4bit, quantize_blockwise

    pieces = [quantize_4bit(p, quant_type="nf4") for p in weight.view(-1).split(_PIECE)]
    scales = torch.cat([state.absmax for _, state in pieces])
    more: dict[str, Any] = {}
    if double:
        more["offset"] = scales.mean()
        scales, more["state2"] = quantize_blockwise(scales - more["offset"], blocksize=256)
    like = pieces[0][1]
    state = QuantState(
        scales,
        shape=weight.shape,
        code=like.code,
        blocksize=like.blocksize,
        quant_type=like.quant_type,
        dtype=weight.dtype,
        **more,
    )
    return torch.cat([packed for packed, _ in pieces]), state


def _empty(cls: Any, layer: nn.Linear, **more: Any) -> Any:
    with torch.device("meta"):
        return cls(layer.in_features, layer.out_features, bias=layer.bias is not None, **more)


def _fetch(weight: Tensor, device: torch.device) -> Tensor:
    return weight.to(device, non_blocking=True)
