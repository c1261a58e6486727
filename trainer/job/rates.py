"""How hard a LoRA is trained, in words: the learning rate read together with alpha and rank.

With Adam, a change of alpha / rank scales the change of the weights about as the learning rate
does, so that rates of recipes with other alphas cannot be compared bare.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainer.job.config import JobConfig

KNOWN = (
    (6e-6, "sd-scripts' documentation for SD 1.5 and FLUX (alpha 1 at rank 16)"),
    (1.9e-5, "OneTrainer's LoRA presets"),
    (5e-5, "sd-scripts' documentation for SDXL"),
    (1e-4, "ai-toolkit, SimpleTuner and the Diffusers scripts' pages"),
    (2e-4, "fluxgym"),
    (3e-4, "kohya_ss's FLUX preset"),
)
"""Learning rate x alpha / rank of published recipes, and whose."""
_GENTLE, _HARD = KNOWN[0][0] / 2, KNOWN[-1][0] * 2


def effective_rate(job: JobConfig) -> float:
    """Learning rate x alpha / rank."""
    return job.optimizer.learning_rate * job.adapter.alpha / job.adapter.rank


def rate_in_words(job: JobConfig) -> str:
    """The product, and who trains as hard."""
    rate = effective_rate(job)
    told = (
        f"learning rate {job.optimizer.learning_rate:g} x alpha {job.adapter.alpha:g} / rank "
        f"{job.adapter.rank} = {rate:.2g}"
    )
    if rate < _GENTLE:
        return f"{told}: gentler than any published recipe we know; it may learn nothing"
    if rate > _HARD:
        return f"{told}: harder than any published recipe we know; right for very small models"
    _, whose = min(KNOWN, key=lambda known: abs(known[0] / rate - 1) + abs(rate / known[0] - 1))
    return f"{told}: nearest to {whose}"
