"""The demo: a LoRA trained on the embedded base model; and single pictures."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from app.library import DEMOS
from trainer.core.errors import ConfigError, ResourceError, is_out_of_memory
from trainer.job.file import as_override, load_job

if TYPE_CHECKING:
    from PIL.Image import Image

    from trainer.families.base import ModelConfig
    from trainer.job.config import JobConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture to render; a `size` of 0 is the model's own."""

    prompt: str
    lora: Path | None
    strength: float
    seed: int
    model: ModelConfig
    negative: str
    steps: int
    guidance: float | None
    size: int


def demo_job(
    *, subject: bool, runs: Path, overrides: Sequence[str], family: str = "sd"
) -> JobConfig:
    """The demo's job: the style of Fluent's 3D emoji, or one character.

    Raises:
        ConfigError: No demo model of this family ships with Sweetspot.
    """
    name = "demo-subject" if subject else "demo-style"
    if family != "sd":
        name += f"-{family}"
    if not (DEMOS / f"{name}.toml").is_file():
        raise ConfigError(
            f"there is no such demo of the family {family!r}",
            where="--family",
            hint="sd, or flux without --subject",
        )
    return load_job(DEMOS / f"{name}.toml", [as_override("runs", runs), *overrides])


def render_shot(shot: Shot, path: Path) -> Path:
    """Render the picture and write it as a PNG that carries its recipe.

    Raises:
        UserError: The model or the LoRA cannot be used, or memory is too small.
    """
    from PIL.PngImagePlugin import PngInfo

    from trainer.core.files import write_atomically
    from trainer.data.prior import as_png

    try:
        picture, side = _picture(shot)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise ResourceError(
            "the picture does not fit into memory",
            hint="a smaller --size, or close other programs",
        ) from error
    told = PngInfo()
    facts = {f.name: getattr(shot, f.name) for f in fields(shot) if f.name != "model"}
    facts |= {"lora": shot.lora.name if shot.lora else None, "size": side}
    facts |= {"base": Path(shot.model.base).name, "family": shot.model.kind}
    told.add_text("sweetspot", json.dumps(facts))
    write_atomically(path, as_png(picture, told))
    return path


def _picture(shot: Shot) -> tuple[Image, int]:
    """The picture, and its side in px."""
    from trainer.core import device
    from trainer.engine.sampling import Recipe, encode, render, use_lora

    config = shot.model
    model = config.load(device.plan("auto", "auto"))
    for warning in model.warnings:
        logger.warning("%s", warning)
    if shot.lora is not None:
        use_lora(model, shot.lora, shot.strength)
    step = model.size_step
    side = max(step, (shot.size or model.native_side) // step * step)
    config.require_negative(shot.negative, where="--negative")
    recipe = Recipe((side, side), shot.steps, config.guidance_or(shot.guidance), shot.negative)
    words = encode(model, [shot.prompt], shot.negative)
    return render(model, words, [shot.seed], recipe)[0], side
