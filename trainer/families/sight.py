"""What a denoiser sees in a picture: its features, to compare pictures by without another network.

The features of a denoiser carry what a picture shows and how it is drawn (Tang et al. 2023, DIFT,
arXiv:2306.03881). Means and spreads over the picture forget where things are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

LOOK_AT = 0.25
"""How far towards noise a picture is looked at; the DIFT paper's 261 of 1000 for semantics."""


def see_through(blocks: Sequence[nn.Module], call: Callable[[], Any]) -> Tensor:
    """Features that `blocks` make of pictures while `call` runs: `(B, D)`, fp32, on the CPU.

    Each block's with length 1: of an early and a late one, what is shown, and how.

    Args:
        blocks: They give `(B, C, h, w)`, or the text's and the picture's `(B, N, C)`.
        call: One forward pass of the denoiser over the pictures.
    """
    seen: list[Tensor] = []
    hooks = [
        block.register_forward_hook(lambda _, __, output: seen.append(_by_channel(output)))
        for block in blocks
    ]
    try:
        call()
    finally:
        for hook in hooks:
            hook.remove()
    return _pooled(seen)


def _by_channel(output: Any) -> Tensor:
    """`(B, C, places)`."""
    if isinstance(output, tuple):
        patches: Tensor = output[1]
        return patches.mT
    features: Tensor = output.flatten(2)
    return features


def _pooled(seen: list[Tensor]) -> Tensor:
    import torch

    parts = []
    for features in seen:
        flat = features.float()
        both = torch.cat((flat.mean(dim=2), flat.std(dim=2)), dim=1)
        parts.append(both / both.norm(dim=1, keepdim=True).clamp_min(1e-12))
    return torch.cat(parts, dim=1).cpu()
