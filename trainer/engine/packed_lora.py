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

if TYPE_CHECKING:
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
        result = self.base_layer(x)
        rows = result.flatten(0, -2)
        for down, up, dropout, strength in _active(self):
            low = nn.functional.linear(dropout(x), down.weight.to(x.dtype)).flatten(0, -2)
            rows = torch.addmm(rows, low, up.weight.to(x.dtype).t(), alpha=strength)
        return cast("Tensor", rows.view_as(result))


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
