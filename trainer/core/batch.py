"""What goes through the model at once.

Shapes: B pictures, C latent channels, h x w latent size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures of one bucket, with everything that chance decides about them.

    Attributes:
        names: `B` names of pictures, for messages.
        captions: `B` captions as the model is told them.
        latents: `(B, C, h, w)`, scaled as the denoiser takes them, fp32.
        noise: `(B, C, h, w)`, standard normal (plus offset), fp32.
        times: `(B,)`: whole timesteps, or times in (0, 1) for flow matching.
        weights: `(B,)`, what each picture's loss counts; over an optimizer step and all
            processes they sum to 1, and class pictures' to the prior's weight besides.
        frames: `(B, 6)`, what each picture is a cut of, px, fp32: height and width of the file;
            top and left of the cut after the resize; height and width of the cut.
        conditioning: Text embeddings and the like, batch first, keyed as the denoiser's
            own arguments; empty when the text encoder trains and must be run on `captions`.
    """

    names: tuple[str, ...]
    captions: tuple[str, ...]
    latents: Tensor
    noise: Tensor
    times: Tensor
    weights: Tensor
    frames: Tensor
    conditioning: dict[str, Tensor]

    def to(self, device: torch.device) -> Batch:
        """The same batch with its tensors on `device`."""
        return replace(
            self,
            latents=self.latents.to(device, non_blocking=True),
            noise=self.noise.to(device, non_blocking=True),
            times=self.times.to(device, non_blocking=True),
            weights=self.weights.to(device, non_blocking=True),
            frames=self.frames.to(device, non_blocking=True),
            conditioning={k: v.to(device, non_blocking=True) for k, v in self.conditioning.items()},
        )
