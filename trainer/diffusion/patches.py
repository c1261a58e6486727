"""Latents as a transformer takes them: 2 x 2 patches in a row, and where each stands.

Shapes: B pictures, C latent channels, h x w latent size, both even; N = h w / 4 patches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

SIDE = 2
"""Of a patch, latents."""


def pack(latents: Tensor) -> Tensor:
    """`(B, C, h, w)` -> `(B, N, 4 C)`, row by row; within a patch the channel counts first."""
    batch, channels, height, width = latents.shape
    patches = latents.reshape(batch, channels, height // SIDE, SIDE, width // SIDE, SIDE)
    return patches.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * SIDE * SIDE)


def unpack(patches: Tensor, height: int, width: int) -> Tensor:
    """`(B, N, 4 C)` -> `(B, C, h, w)`."""
    apart = patches.reshape(len(patches), height // SIDE, width // SIDE, -1, SIDE, SIDE)
    return apart.permute(0, 3, 1, 4, 2, 5).reshape(len(patches), -1, height, width)


def places(height: int, width: int) -> Tensor:
    """`(N, 3)` fp32: zero, row and column of each patch, for rotary embeddings."""
    rows, columns = torch.meshgrid(
        torch.arange(height // SIDE), torch.arange(width // SIDE), indexing="ij"
    )
    return torch.stack((torch.zeros_like(rows), rows, columns), dim=-1).reshape(-1, 3).float()
