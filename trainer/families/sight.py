"""What a UNet sees in a picture: its own features, for comparing pictures without another network.

The features of a denoiser carry what a picture shows and how it is drawn (Tang et al. 2023, DIFT,
arXiv:2306.03881). Means and spreads over the picture forget where things are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

LOOK_AT = 0.25
"""How far towards noise a picture is looked at; the DIFT paper's 261 of 1000 for semantics."""


def see_through(unet: nn.Module, noisy: Tensor, times: Tensor, **conditioning: Tensor) -> Tensor:
    """Features of noisy latents `(B, C, h, w)`: `(B, D)`, fp32, on the CPU.

    The first and the last block of the way up, each with length 1: what is shown, and how.
    """
    blocks: Any = unet.get_submodule("up_blocks")
    seen: list[Tensor] = []
    hooks = [
        block.register_forward_hook(lambda _, __, output: seen.append(output))
        for block in (blocks[0], blocks[-1])
    ]
    try:
        unet(noisy, times, return_dict=False, **conditioning)
    finally:
        for hook in hooks:
            hook.remove()
    return _pooled(seen)


def _pooled(seen: list[Tensor]) -> Tensor:
    import torch

    parts = []
    for features in seen:
        flat = features.float().flatten(2)
        both = torch.cat((flat.mean(dim=2), flat.std(dim=2)), dim=1)
        parts.append(both / both.norm(dim=1, keepdim=True).clamp_min(1e-12))
    return torch.cat(parts, dim=1).cpu()
