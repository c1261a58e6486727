"""Counting what a forward pass takes, on networks without weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast
from unittest import mock

from trainer.core.errors import ConfigError
from trainer.families.outline import Outline
from trainer.families.reading import delicate

if TYPE_CHECKING:
    from torch import Tensor, nn


def measure(
    parts: Mapping[str, nn.Module],
    *,
    denoiser: nn.Module,
    call: Callable[[], Tensor],
    pattern: str,
    sides: tuple[int, int],
    cached: tuple[float, int],
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
        cached: Its `latent` and `caption`.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    kept = _Kept(_storage(p) for part in parts.values() for p in part.parameters())

    def starts_gradient(module: Any, inputs: Any, output: Tensor) -> Tensor:
        """As if an adapter were there: it keeps its input, and gradients flow from here on."""
        kept.keep(inputs[0])
        return output + torch.zeros((), device="meta", dtype=output.dtype, requires_grad=True)

    targets = adapted(denoiser, pattern)
    handles = [
        denoiser.get_submodule(path).register_forward_hook(starts_gradient) for path in targets
    ]
    cast("Any", denoiser).enable_gradient_checkpointing(kept.block)
    counter, attention = FlopCounterMode(display=False), _Attention()
    with (
        counter,
        torch.autograd.graph.saved_tensors_hooks(kept.keep, lambda tensor: tensor),
        mock.patch.object(torch.nn.functional, "scaled_dot_product_attention", attention),
    ):
        answer = call()
    del answer
    for handle in handles:
        handle.remove()
    holdable = {name: _holdable(part) for name, part in parts.items()}
    return Outline(
        weights={name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()},
        adapted=targets,
        flops=counter.get_total_flops() + attention.flops,
        kept=sum(kept.all.values()),
        native_side=sides[0],
        size_step=sides[1],
        latent=cached[0],
        caption=cached[1],
        holdable={name: sum(found.values()) for name, found in holdable.items()},
        delicate={
            name: sum(count for path, count in found.items() if delicate(parts[name], path))
            for name, found in holdable.items()
        },
        largest=max(_holdable(denoiser).values(), default=0),
        recomputed=sum(kept.outside.values()),
        block=max(kept.blocks, default=0),
    )


def _holdable(network: nn.Module) -> dict[str, int]:
    """Weights of each layer that can be held in fewer bits, by its path."""
    from trainer.networks.held import suits

    return {path: m.weight.numel() for path, m in network.named_modules() if suits(path, m)}


class _Kept:
    """Bytes that autograd keeps, by storage: all of them, and without those inside the blocks.

    Args:
        own: Storages of the networks' weights, which do not count.
    """

    def __init__(self, own: Iterable[int]) -> None:
        self._own = set(own)
        self._alive: list[Any] = []
        """So that no tensor that comes later takes the address of one that was counted."""
        self.all: dict[int, int] = {}
        self.outside: dict[int, int] = {}
        self.blocks: list[int] = []
        self._inside: dict[int, int] | None = None

    def keep(self, tensor: Tensor) -> Tensor:
        """Count a tensor that is kept."""
        storage = _storage(tensor)
        if storage not in self._own:
            self._alive.append(tensor.untyped_storage())
            for seen in (self.all, self.outside if self._inside is None else self._inside):
                seen[storage] = tensor.untyped_storage().nbytes()
        return tensor

    def block(self, module: Callable[..., Any], *inputs: Any) -> Any:
        """Run a block whose inputs would be kept if it were recomputed."""
        import torch

        for value in inputs:
            if isinstance(value, torch.Tensor):
                self.keep(value)
        self._inside = {}
        try:
            return module(*inputs)
        finally:
            self.blocks.append(sum(self._inside.values()))
            self._inside = None


def cached(vae: Any, words: int) -> tuple[float, int]:
    """An outline's `latent` and `caption`: fp32 mean and deviation, and so many numbers.

    Args:
        vae: Its configuration.
        words: Numbers of an encoded caption's words.
    """
    factor = 2 ** (len(vae.block_out_channels) - 1)
    return 8 * vae.latent_channels / factor**2, 4 * words


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


def adapted(network: nn.Module, pattern: str) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of each linear or convolution layer whose whole path matches."""
    from torch import nn

    try:
        targets = re.compile(pattern)
    except re.error as error:
        raise ConfigError(
            f"{pattern!r} is not a regular expression ({error})",
            where="adapter.targets",
            hint="a named choice such as 'attention', or a pattern such as .*to_[qkv]",
        ) from None
    found: dict[str, tuple[int, int]] = {}
    for path, module in network.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and targets.fullmatch(path):
            weight = module.weight
            found[path] = (weight[0].numel(), weight.shape[0])
    return found
