"""Counting what a forward pass takes, on networks without weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from unittest import mock

from trainer.core.errors import ConfigError
from trainer.families.base import Outline

if TYPE_CHECKING:
    from torch import Tensor, nn


def measure(
    parts: Mapping[str, nn.Module],
    *,
    denoiser: nn.Module,
    call: Callable[[], Tensor],
    pattern: str,
    sides: tuple[int, int],
) -> Outline:
    """Run `call` on torch's meta device, where tensors have shapes and no values.

    The bytes that autograd would keep are counted with gradients flowing from the adapted
    modules on, as they do in training.

    Args:
        parts: All networks of the model, by name.
        denoiser: The one that `call` runs.
        call: One forward pass of one picture.
        pattern: Which modules carry an adapter (a regular expression of whole paths).
        sides: The outline's `native_side` and `size_step`.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    own = {_storage(p) for part in parts.values() for p in part.parameters()}
    seen: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in own:
            seen[_storage(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    targets = adapted(denoiser, pattern)
    handles = [
        denoiser.get_submodule(path).register_forward_hook(_starts_gradient) for path in targets
    ]
    counter, attention = FlopCounterMode(display=False), _Attention()
    with (
        counter,
        torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept),
        mock.patch.object(torch.nn.functional, "scaled_dot_product_attention", attention),
    ):
        answer = call()
    del answer
    for handle in handles:
        handle.remove()
    weights = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    flops = counter.get_total_flops() + attention.flops
    return Outline(weights, targets, flops, sum(seen.values()), *sides)


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


class _Attention:
    """Attention as the fused kernels do it, which never hold the whole score matrix.

    They keep queries, keys, values and the answer (arXiv:2205.14135); torch's meta device
    would count the textbook's way.
    """

    def __init__(self) -> None:
        self.flops = 0

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, **_: Any) -> Tensor:
        import torch

        class Fused(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
                answer = torch.empty_like(query)
                ctx.save_for_backward(query, key, value, answer)
                return answer

        self.flops += 4 * query.numel() * key.shape[-2]
        answer: Tensor = Fused.apply(query, key, value)
        return answer


def _starts_gradient(module: Any, inputs: Any, output: Tensor) -> Tensor:
    """As if an adapter's output were added: from here on gradients flow."""
    import torch

    return output + torch.zeros((), device="meta", dtype=output.dtype, requires_grad=True)


def adapted(network: nn.Module, pattern: str) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of each linear or convolution layer whose whole path matches."""
    from torch import nn

    try:
        targets = re.compile(pattern)
    except re.error as error:
        raise ConfigError(
            f"{pattern!r} is not a regular expression ({error})",
            where="adapter.targets",
            hint="attention, attention+ff, linear, linear+conv, or a pattern such as .*to_[qkv]",
        ) from None
    found: dict[str, tuple[int, int]] = {}
    for path, module in network.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and targets.fullmatch(path):
            weight = module.weight
            found[path] = (weight[0].numel(), weight.shape[0])
    return found
