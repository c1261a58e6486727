"""LoRA layers without autocast: thin matrices stay fp32, their product is done in 16 bits.

PEFT multiplies in the format of the thin matrices, so that fp32 ones pull every activation
up to fp32 and back. Here the matrices are cast down instead, and their gradients up. Strengths,
active adapters, dropout and switching off are read from PEFT's layer at each call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from peft.tuners import lora
from torch import nn
from torch.nn.functional import linear

from trainer.engine.packed_linear import PackedLinear, multiply, turned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def thin_lora(network: nn.Module) -> int:
    """Let plain LoRA layers compute in the format of their input; the number of them."""
    return _swap(network, {lora.Linear: ThinLinear, lora.Conv2d: ThinConv2d})


def restore_lora(network: nn.Module) -> int:
    """Give those layers PEFT's own forward back; the number of them."""
    return _swap(network, {ThinLinear: lora.Linear, ThinConv2d: lora.Conv2d})


def is_plain_lora(layer: nn.Module) -> bool:
    """Whether the layer's update is `B A` and nothing else (no DoRA, no bias of its own)."""
    return (
        isinstance(layer, lora.Linear | lora.Conv2d)
        and not layer.lora_variant
        and not any(layer.lora_bias.values())
        and not getattr(layer, "fan_in_fan_out", False)
    )


class ThinLinear(lora.Linear):
    """PEFT's LoRA on a linear layer, computed in the format of its input."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if args or kwargs or self.disable_adapters or self.merged:
            return cast("Tensor", super().forward(x, *args, **kwargs))
        if is_lone(self):
            return project([self], x)[0]
        result = self.base_layer(x)
        rows = result.flatten(0, -2)
        for down, up, dropout, strength in _active(self):
            low = linear(dropout(x), down.weight.to(x.dtype)).flatten(0, -2)
            rows = torch.addmm(rows, low, up.weight.to(x.dtype).t(), alpha=strength)
        return cast("Tensor", rows.view_as(result))


def is_lone(layer: nn.Module) -> bool:
    """Whether `project` knows the layer: frozen, with one adapter, switched on, no dropout."""
    if not isinstance(layer, ThinLinear) or layer.disable_adapters or layer.merged:
        return False
    active = _active(layer)
    return (
        len(active) == 1
        and isinstance(active[0][2], nn.Identity)
        and type(layer.base_layer) in (nn.Linear, PackedLinear)
        and not any(parameter.requires_grad for parameter in layer.base_layer.parameters())
    )


def project(layers: Sequence[nn.Module], x: Tensor) -> tuple[Tensor, ...]:
    """What several lone layers make of one input, in fewer products than one after the other."""
    active = [_active(layer)[0] for layer in layers]
    thin = [half.weight for down, up, *_ in active for half in (down, up)]
    frozen = [cast("nn.Linear", layer.get_base_layer()) for layer in layers]
    return cast("tuple[Tensor, ...]", _Projections.apply(x, frozen, [s for *_, s in active], *thin))


class _Projections(torch.autograd.Function):
    """`x W^T + b + s x A^T B^T` of several layers, with the gradients of x, A and B written out.

    Autograd would take a product and a sum of whole activations more for each layer.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, frozen: list[nn.Linear], strengths: list[float], *thin: Tensor
    ) -> tuple[Tensor, ...]:
        rows = x.flatten(0, -2)
        downs = torch.cat([down.to(x.dtype) for down in thin[::2]])
        ups = [(up * s).to(x.dtype) for up, s in zip(thin[1::2], strengths, strict=True)]
        low = linear(rows, downs)
        ctx.frozen, ctx.strengths, ctx.ranks = frozen, strengths, [up.shape[1] for up in ups]
        ctx.save_for_backward(x, low, downs, *ups)
        return tuple(
            multiply(layer, rows).addmm_(part, up.t()).unflatten(0, x.shape[:-1])
            for layer, up, part in zip(frozen, ups, low.split(ctx.ranks, 1), strict=True)
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, low, downs, *ups = ctx.saved_tensors
        rows, flat = x.flatten(0, -2), [gradient.flatten(0, -2) for gradient in gradients]
        of_low = torch.cat([g @ up for g, up in zip(flat, ups, strict=True)], dim=1)
        of_downs = (of_low.t() @ rows).float().split(ctx.ranks)
        of_ups = [
            (part.t() @ g).t().float().mul_(s)
            for g, part, s in zip(flat, low.split(ctx.ranks, 1), ctx.strengths, strict=True)
        ]
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = turned(ctx.frozen[0], flat[0])
            for layer, g in zip(ctx.frozen[1:], flat[1:], strict=True):
                of_x += turned(layer, g)
            of_x = of_x.addmm_(of_low, downs).view_as(x)
        of_thin = (half for pair in zip(of_downs, of_ups, strict=True) for half in pair)
        return of_x, None, None, *of_thin


class ThinConv2d(lora.Conv2d):
    """PEFT's LoRA on a convolution, computed in the format of its input."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if args or kwargs or self.disable_adapters or self.merged:
            return cast("Tensor", super().forward(x, *args, **kwargs))
        result = self.base_layer(x)
        for down, up, dropout, strength in _active(self):
            low = down._conv_forward(dropout(x), down.weight.to(x.dtype), None)
            result = result + up._conv_forward(low, up.weight.to(x.dtype), None) * strength
        return cast("Tensor", result)


def _active(layer: Any) -> list[tuple[Any, Any, nn.Module, float]]:
    """Of each active adapter: its two thin layers, dropout and strength."""
    return [
        (layer.lora_A[name], layer.lora_B[name], layer.lora_dropout[name], layer.scaling[name])
        for name in layer.active_adapters
        if name in layer.lora_A
    ]


def _swap(network: nn.Module, classes: dict[type, type]) -> int:
    swapped = 0
    for layer in network.modules():
        wanted = classes.get(type(layer))
        if wanted is not None and is_plain_lora(layer):
            layer.__class__ = wanted
            swapped += 1
    return swapped
