"""Counting what a forward pass takes, on networks without weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from trainer.families.base import Outline

if TYPE_CHECKING:
    from torch import Tensor, nn


def measure(
    parts: Mapping[str, nn.Module],
    *,
    denoiser: nn.Module,
    call: Callable[[], Tensor],
    pattern: str,
) -> Outline:
    """Run `call` on torch's meta device, where tensors have shapes and no values.

    The bytes that autograd would keep are counted with gradients flowing from the adapted
    modules on, as they do in training.

    Args:
        parts: All networks of the model, by name.
        denoiser: The one that `call` runs.
        call: One forward pass of one picture.
        pattern: Which modules carry an adapter (a regular expression of whole paths).
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    kept = 0
    seen: set[int] = set()

    def keep(tensor: Tensor) -> Any:
        nonlocal kept
        if id(tensor) not in seen and not isinstance(tensor, torch.nn.Parameter):
            seen.add(id(tensor))
            kept += tensor.nbytes
        return tensor

    adapted = _adapted(denoiser, pattern)
    handles = [
        denoiser.get_submodule(path).register_forward_hook(_starts_gradient) for path in adapted
    ]
    counter = FlopCounterMode(display=False)
    with counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept):
        call()
    for handle in handles:
        handle.remove()
    weights = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    return Outline(weights, adapted, counter.get_total_flops(), kept)


def _starts_gradient(module: Any, inputs: Any, output: Tensor) -> Tensor:
    """As if an adapter's output were added: from here on gradients flow."""
    import torch

    return output + torch.zeros((), device="meta", dtype=output.dtype, requires_grad=True)


def _adapted(denoiser: nn.Module, pattern: str) -> dict[str, tuple[int, int]]:
    from torch import nn

    found: dict[str, tuple[int, int]] = {}
    for path, module in denoiser.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and re.fullmatch(pattern, path):
            weight = module.weight
            found[path] = (weight[0].numel(), weight.shape[0])
    return found
