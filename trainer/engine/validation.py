"""The loss on held-out pictures, with the same noise and timesteps each time.

Only the weights can change it, so it can be compared from epoch to epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from trainer.engine.sampling import evaluating

if TYPE_CHECKING:
    from trainer.data.bucket import Framed
    from trainer.data.loader import Loader
    from trainer.families.base import LoadedModel

DRAWS = 8
"""Noises and timesteps a picture; the mean's error falls with their root."""


def validation_loss(
    model: LoadedModel, loader: Loader, items: Sequence[Framed], *, together: int
) -> float:
    """Mean loss over the pictures and their draws, `together` of which are run at once."""
    losses: list[float] = []
    device = torch.device(model.plan.device)
    with torch.no_grad(), evaluating(model):
        for batch in loader.held_out(items, draws=DRAWS, together=together):
            placed = batch.to(device)
            losses.append(float((model.losses(placed) * placed.weights).sum()))
    return sum(losses) / len(items)
