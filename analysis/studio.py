"""Everything that a sweep renders with: base model, LoRAs, what is asked, where pictures go.

It decides nothing; `analyse` says what is rendered when.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from analysis import prompts
from analysis.cell import Cell, Checkpoint, Darkroom, of_files, of_run
from analysis.gallery import Gallery
from analysis.judgements.base import Shelf, Shown
from analysis.losses import Judge
from analysis.reference import shelf
from analysis.renders import Renderer, fitting
from analysis.table import Prompt, Setting
from trainer.core import device
from trainer.core.errors import AdapterError, ConfigError, DatasetError
from trainer.core.events import Emit, Preparing, Warned
from trainer.data.folder import scan
from trainer.engine.bank import Bank
from trainer.engine.sampling import Recipe
from trainer.job.run import Run
from trainer.planning import plan_to_render
from trainer.weights.files import read
from trainer.weights.metadata import versions

if TYPE_CHECKING:
    from pathlib import Path

    from analysis.sweep import Sweep, SweepConfig
    from trainer.families.base import LoadedModel
    from trainer.job.pictures import DatasetConfig


@dataclass(frozen=True, slots=True)
class Studio:
    """The parts of a sweep.

    Attributes:
        names: What the bank calls the LoRA of each epoch.
        together: Pictures that are rendered in one pass.
    """

    config: SweepConfig
    checkpoints: tuple[Checkpoint, ...]
    prompts: tuple[Prompt, ...]
    seeds: tuple[int, ...]
    model: LoadedModel
    bank: Bank
    names: dict[int, str]
    recipe: Recipe
    gallery: Gallery
    renderer: Renderer
    together: int

    @property
    def settings(self) -> tuple[Setting, ...]:
        """The grid: every epoch at every strength."""
        strengths = self.config.analysis.strengths
        return tuple(Setting(c.epoch, s) for c in self.checkpoints for s in strengths)

    @property
    def controls(self) -> list[Cell]:
        """The base model's own pictures."""
        return [Cell(0, 0.0, p.text, seed) for p in self.prompts for seed in self.seeds]

    def cells(self, settings: Sequence[Setting]) -> list[Cell]:
        """All pictures of these settings, those of one checkpoint together."""
        return [
            Cell(setting.epoch, setting.strength, prompt.text, seed)
            for setting in settings
            for prompt in self.prompts
            for seed in self.seeds
        ]

    def judge(self) -> Judge:
        """Who asks the model itself."""
        draws, together = self.config.analysis.draws, 2 * self.together
        return Judge(self.model, self.bank, self.names, draws=draws, together=together)

    def shelf(self, emit: Emit) -> Shelf:
        """What the pictures are compared with.

        Where there are no class pictures, the base model's own of plain prompts, as far as they
        are rendered, stand for them.
        """
        there = shelf(self.config, self.model, self.recipe.size, emit)
        if there.classes:
            return there
        plain = {prompt.text for prompt in self.prompts if prompt.kind == "plain"}
        shown = []
        for cell in self.controls:
            if cell.prompt in plain and self.gallery.has(cell):
                with Image.open(self.gallery.path(cell)) as picture:
                    pixels = np.asarray(picture.convert("RGB"))
                shown.append(Shown.whole(f"control, seed {cell.seed}", pixels, cell.prompt))
        return replace(there, classes=shown)

    def facts(self) -> dict[str, Any]:
        """How the pictures are made, for the report."""
        asked = self.config.analysis
        return {
            "base model": self.config.model.base,
            "sampler": type(self.model.pipeline().scheduler).__name__,
            "steps": asked.steps,
            "guidance": self.recipe.guidance,
            "size": f"{self.recipe.size[0]} x {self.recipe.size[1]} px",
            "negative prompt": asked.negative or "none",
            "seeds": ", ".join(map(str, self.seeds)),
            "device": self.model.plan.device,
            "precision": self.model.plan.format,
        }


def open_studio(sweep: Sweep, config: SweepConfig, emit: Emit) -> Studio:
    """Read the LoRA files and the base model.

    Args:
        sweep: Where the pictures go.
        config: What it asks; each of several processes has a device of its own in it.
        emit: Told of what is left out.

    Raises:
        AdapterError: A file is damaged, or made for another model.
        ModelError: The base model cannot be used.
    """
    asked = config.analysis
    checkpoints = _checkpoints(config, emit)
    config.model.require_negative(asked.negative, where="analysis.negative")
    emit(Preparing("load"))
    plan = plan_to_render(config.rendered, config.memory, config.device, config.precision)
    device.choose(plan.device)
    model = config.model.load(plan)
    for warning in model.warnings:
        emit(Warned(warning))
    names = {c.epoch: f"{c.path.name} ({c.epoch})" for c in checkpoints}
    bank = Bank(model, {names[c.epoch]: _weights(c, config) for c in checkpoints})
    side = (asked.side or config.model.resolution) // model.size_step * model.size_step
    guidance = config.model.guidance_or(asked.guidance)
    recipe = Recipe((max(side, model.size_step),) * 2, asked.steps, guidance, asked.negative)
    gallery = Gallery(sweep.cells, _darkroom(model, checkpoints, recipe))
    return Studio(
        config=config,
        checkpoints=tuple(checkpoints),
        prompts=prompts_of(config),
        seeds=tuple(range(asked.first_seed, asked.first_seed + asked.seeds)),
        model=model,
        bank=bank,
        names=names,
        recipe=recipe,
        gallery=gallery,
        renderer=Renderer(model, bank, names, recipe, gallery),
        together=asked.together or fitting(recipe.size, plan.device),
    )


def _checkpoints(config: SweepConfig, emit: Emit) -> list[Checkpoint]:
    from pathlib import Path

    if config.run is not None:
        return of_run(Run.open(config.run), emit)
    return of_files([Path(path) for path in config.loras], emit)


def _weights(checkpoint: Checkpoint, config: SweepConfig) -> Any:
    """The LoRA under our own names."""
    return read(checkpoint.path).weights(config.model.naming)


def _darkroom(model: LoadedModel, checkpoints: Sequence[Checkpoint], recipe: Recipe) -> Darkroom:
    return Darkroom(
        base=(model.base_hash, model.image_key, model.text_key, model.render_key),
        loras={c.epoch: c.digest for c in checkpoints},
        settings={
            "size": list(recipe.size),
            "steps": recipe.steps,
            "guidance": recipe.guidance,
            "negative": recipe.negative,
            "precision": model.plan.format,
        },
        versions={k: v for k, v in versions().items() if k != "sweetspot"},
    )


def prompts_of(config: SweepConfig) -> tuple[Prompt, ...]:
    """The person's prompts, else what the dataset suggests.

    Raises:
        ConfigError: Nothing says what to render.
    """
    asked, dataset = config.analysis, config.dataset
    if asked.prompts:
        plain = asked.plain_prompts or (dataset and _plain(dataset, asked.prompts)) or ()
        return prompts.of(asked.prompts, plain)
    if dataset is None:
        raise ConfigError(
            "nothing tells what to render",
            where="analysis.prompts",
            hint="--prompt 'a photo of ...' (repeatable), or --dataset FOLDER",
        )
    captions = _captions(config)
    found = prompts.made(dataset.trigger, dataset.class_word, captions)
    plain = asked.plain_prompts or [p.text for p in found if p.kind == "plain"]
    return prompts.of([p.text for p in found if p.kind == "trigger"], list(plain))


def _plain(dataset: DatasetConfig, asked: Sequence[str]) -> list[str]:
    """What the class suggests beside the person's own prompts."""
    made = prompts.made(dataset.trigger, dataset.class_word, [])
    return [p.text for p in made if p.kind == "plain" and p.text not in asked]


def _captions(config: SweepConfig) -> list[str]:
    assert config.dataset is not None
    try:
        pictures = scan(config.dataset).pictures
    except DatasetError:
        return []  # moved since: `reference.shelf` tells it
    return list(dict.fromkeys(picture.caption for picture in pictures if picture.caption))


def lora_files(folder_or_files: Sequence[Path]) -> list[Path]:
    """LoRA files, those of a folder by name: `fox-10` after `fox-9`.

    Raises:
        AdapterError: A folder has none.
    """
    found: list[Path] = []
    for path in folder_or_files:
        inside = sorted(path.glob("*.safetensors"), key=_natural) if path.is_dir() else [path]
        if not inside:
            raise AdapterError("the folder has no LoRA file (.safetensors)", where=str(path))
        found.extend(file.absolute() for file in inside)
    return found


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts numbers in names as numbers."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
