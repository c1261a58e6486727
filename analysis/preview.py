"""What a sweep will take, in words, before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from analysis.studio import prompts_of
from trainer.core.files import free_space

if TYPE_CHECKING:
    from analysis.cell import Checkpoint
    from analysis.sweep import SweepConfig
    from trainer.families.outline import Outline


def preview(config: SweepConfig, checkpoints: Sequence[Checkpoint]) -> dict[str, Any]:
    """Facts to show: how many pictures, how long, how much memory and disk."""
    asked = config.analysis
    prompts = prompts_of(config)
    shots = len(prompts) * asked.seeds
    grid = len(checkpoints) * len(asked.strengths) * shots
    spent = min(grid, asked.renders) if asked.renders else grid
    races = bool(asked.renders or asked.minutes)
    fine = 2 * shots if asked.fine and not races else 0
    total = spent + fine + shots
    outline = config.rendered.outline("attention")
    seconds = total * seconds_a_picture(config, outline)
    return {
        "compared": f"{len(checkpoints)} LoRA files x {len(asked.strengths)} strengths",
        "prompts": "; ".join(p.text for p in prompts),
        "pictures": f"{'up to ' if asked.minutes else ''}{total:,}: {spent:,} of the grid's "
        f"{grid:,}, {fine} finer, {shots} of the base model",
        "time": f"about {_clock(seconds)} of rendering"
        + (f" in full; {asked.minutes:g} min are to be spent" if asked.minutes else ""),
        "memory": _memory(config, outline),
        "disk": f"about {total * _bytes_a_picture(config) / 1e6:,.0f} MB; "
        f"{free_space(config.cache) / 1e9:,.0f} GB are free",
    }


def seconds_a_picture(config: SweepConfig, outline: Outline | None = None) -> float:
    """From the FLOPs of the denoiser and what this machine multiplies in a second."""
    from trainer.core import device
    from trainer.engine.estimate import SHARE_OF_RATE, rate

    plan = device.plan(config.device, config.precision)
    outline = outline or config.rendered.outline("attention")
    guidance = config.model.guidance_or(config.analysis.guidance)
    twice = config.model.contrasts and guidance > 1
    passes = config.analysis.steps * (2 if twice else 1)
    cards = 1 if plan.device == "cpu" else config.analysis.processes or 1
    return outline.flops * passes / (SHARE_OF_RATE * rate(plan) * cards)


def _memory(config: SweepConfig, outline: Outline) -> str:
    """How the base model is held, and what rendering a picture with it takes."""
    from trainer.engine.memory import GIB, rendering
    from trainer.planning import plan_to_render

    model = config.rendered
    plan = plan_to_render(model, config.memory, config.device, config.precision)
    return f"about {rendering(plan, outline, model.resolution) / GIB:.1f} GiB, {plan.format}"


def _bytes_a_picture(config: SweepConfig) -> float:
    side = config.analysis.side or config.model.resolution
    return 1.6 * side * side


def _clock(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
