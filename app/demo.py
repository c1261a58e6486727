"""The demo: a LoRA trained on the embedded base model; and single pictures."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.core.errors import ResourceError, is_out_of_memory
from trainer.core.events import Sampled
from trainer.job.file import as_override, load_job

if TYPE_CHECKING:
    from PIL.Image import Image

    from trainer.job.config import JobConfig
    from trainer.job.run import Run

logger = logging.getLogger(__name__)

BUILTIN = Path(__file__).parents[1] / "presets" / "builtin"


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture to render; a `size` of 0 is the model's own."""

    prompt: str
    lora: Path | None
    strength: float
    seed: int
    base: str
    family: str
    negative: str
    steps: int
    guidance: float
    size: int


def demo_job(*, subject: bool, runs: Path, overrides: Sequence[str]) -> JobConfig:
    """The demo's job: the style of Fluent's 3D emoji, or one character."""
    name = "demo-subject" if subject else "demo-style"
    return load_job(BUILTIN / f"{name}.toml", [as_override("runs", runs), *overrides])


def draw_sheet(run: Run) -> Path:
    """The run's samples as a grid: a row an epoch, a column a prompt."""
    from analysis.sheet import Row, sheet
    from trainer.core.files import write_atomically
    from trainer.data.prior import as_png

    found: dict[int, dict[str, Path]] = {}
    for told in run.events():
        if isinstance(told.event, Sampled):
            event = told.event
            found.setdefault(event.epoch, {})[event.prompt] = run.path / event.path
    prompts = list(dict.fromkeys(prompt for row in found.values() for prompt in row))
    rows = [
        Row(f"epoch {epoch}" if epoch else "base model", [row.get(p, Path()) for p in prompts])
        for epoch, row in sorted(found.items())
    ]
    path = run.samples / "grid.png"
    write_atomically(path, as_png(sheet(rows, prompts)))
    return path


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
    facts = {**asdict(shot), "lora": shot.lora.name if shot.lora else None}
    facts |= {"base": Path(shot.base).name, "size": side}
    told.add_text("sweetspot", json.dumps(facts))
    write_atomically(path, as_png(picture, told))
    return path


def _picture(shot: Shot) -> tuple[Image, int]:
    """The picture, and its side in px."""
    from trainer.core import device
    from trainer.engine.sampling import Recipe, encode, render, use_lora
    from trainer.families.base import families

    config = families[shot.family].model_validate({"base": shot.base})
    model = config.load(device.plan("auto", "auto"))
    for warning in model.warnings:
        logger.warning("%s", warning)
    if shot.lora is not None:
        use_lora(model, shot.lora, shot.strength)
    step = model.size_step
    side = max(step, (shot.size or model.native_side) // step * step)
    recipe = Recipe((side, side), shot.steps, shot.guidance, shot.negative)
    words = encode(model, [shot.prompt], shot.negative)
    return render(model, words, [shot.seed], recipe)[0], side
