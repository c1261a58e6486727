"""The learning rate over time, as a share of its peak."""

from __future__ import annotations

import math
from typing import Literal

Kind = Literal["constant", "linear", "cosine"]


def share_of_peak(step: int, *, steps: int, warmup: int, kind: Kind) -> float:
    """What part of the peak rate optimizer step `step` (from 1) of `steps` is taken with.

    Rises linearly over the first `warmup` steps, never from zero (a first step at rate 0
    would leave lora_B zero, and lora_A without a gradient for one step more), then falls by
    `kind` and would reach zero one step after the last.
    """
    if step <= warmup:
        return step / (warmup + 1)
    done = (step - warmup - 1) / max(1, steps - warmup)
    match kind:
        case "constant":
            return 1.0
        case "linear":
            return 1 - done
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * done))
