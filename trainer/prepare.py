"""Everything up to the first step: read, check, encode, attach.

scan -> preflight -> load -> frame -> class pictures -> cache -> attach
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.core.events import Emit, Planned, Preparing, Warned
from trainer.data import prior
from trainer.data.folder import scan
from trainer.data.gather import Material, Progress, gather
from trainer.engine.average import Average
from trainer.engine.loop import Loop, Objective, Pace
from trainer.engine.packed import lean, pack
from trainer.engine.sampling import Recipe, Words, encode, render
from trainer.preflight import preflight
from trainer.weights.attach import attach

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch.optim import Optimizer

    from trainer.core.device import Plan
    from trainer.families.base import LoadedModel
    from trainer.job.config import JobConfig
    from trainer.weights.adapter import Adapter


@dataclass(slots=True)
class Parts:
    """What a run trains with.

    Attributes:
        words: The sample prompts, encoded.
        pace: How long and how hard, with epochs turned into steps.
    """

    accelerator: Accelerator
    model: LoadedModel
    material: Material
    words: Words
    adapter: Adapter
    average: Average
    optimizer: Optimizer
    pace: Pace
    loop: Loop

    @property
    def steps_an_epoch(self) -> int:
        """Optimizer steps that show every picture once (times its repeats)."""
        return self.material.loader.plan.steps


def prepare(job: JobConfig, plan: Plan, emit: Emit) -> Parts:
    """Put the parts together.

    Raises:
        UserError: Whatever a person can mend.
    """
    accelerator = _accelerator(plan)
    with accelerator.main_process_first():
        model, material = _load(job, plan, emit)
        words = encode(model, job.samples.prompts or material.captions[:4], job.samples.negative)
    model.release("images")
    if not job.text_encoder.train and not job.dataset.captions_vary:
        model.release("captions")
    pace = _pace(job, material.loader.plan.steps)
    texts = job.text_encoder.chosen(model.text_encoders)
    adapter = attach(model, job.adapter, text_encoders=texts, seed=pace.seed)
    if plan.checkpointing:
        model.checkpoint_activations()
    _speed_up(model, plan)
    optimizer = job.optimizer.build(_groups(job, adapter), lambda told: emit(Warned(told)))
    objective, optimizer = accelerator.prepare(Objective(model), optimizer)
    loop = Loop(objective, adapter, material.loader, optimizer, accelerator, pace)
    average = Average(adapter, job.schedule.ema)
    return Parts(accelerator, model, material, words, adapter, average, optimizer, pace, loop)


def _load(job: JobConfig, plan: Plan, emit: Emit) -> tuple[LoadedModel, Material]:
    job.require_apart()
    emit(Preparing("scan"))
    found = scan(job.dataset, progress=lambda done, total: emit(Preparing("scan", done, total)))
    planned = preflight(job, plan, found)
    emit(Planned(planned.facts))
    for warning in planned.warnings:
        emit(Warned(warning))
    emit(Preparing("load"))
    model = job.model.load(plan)
    for warning in model.warnings:
        emit(Warned(warning))
    material = gather(job, model, found, lambda told: _class_pictures(job, model, told), emit)
    return model, material


def _class_pictures(job: JobConfig, model: LoadedModel, progress: Progress) -> Path:
    """The folder of class pictures, rendered by the base model where they are missing."""
    side = job.model.resolution // model.size_step * model.size_step
    recipe = Recipe((side, side), job.prior.steps, job.prior.guidance)
    words = encode(model, [job.prior_prompt], "")
    keys = (model.base_hash, model.image_key, model.text_key, model.render_key)
    folder = prior.class_folder(job.cache_folder, *keys, job.prior_prompt, str(recipe))
    prior.fill(
        folder,
        count=job.prior.count,
        batch=4,
        render=lambda seeds: render(model, words.repeated(len(seeds)), seeds, recipe),
        progress=progress,
    )
    return folder


def _pace(job: JobConfig, steps_an_epoch: int) -> Pace:
    schedule = job.schedule
    assert schedule.seed is not None, "a run's job has its seed settled"
    steps = schedule.steps or (schedule.epochs or 10) * steps_an_epoch
    warmup = round(schedule.warmup * steps)
    return Pace(steps, warmup, schedule.kind, schedule.clip, schedule.seed)


def _speed_up(model: LoadedModel, plan: Plan) -> None:
    """In bf16 adapters compute in the format of their input, without autocast."""
    if plan.packed:
        pack(model.denoiser)
    elif plan.precision == "bf16":
        lean(model.denoiser)
    if plan.precision == "bf16":
        for encoder in model.text_encoders.values():
            lean(encoder)


def _groups(job: JobConfig, adapter: Adapter) -> list[dict[str, Any]]:
    """The optimizer's parameter groups: the denoiser's adapter, then the text encoders'."""
    rates = {"denoiser": job.optimizer.learning_rate}
    return [
        {
            "params": adapter.parameters(part),
            "lr": rates.get(part, job.text_encoder.learning_rate),
        }
        for part in adapter.parts
    ]


def _accelerator(plan: Plan) -> Accelerator:
    from datetime import timedelta

    from accelerate import Accelerator
    from accelerate.utils import InitProcessGroupKwargs

    return Accelerator(
        cpu=plan.device == "cpu",
        mixed_precision="fp16" if plan.precision == "fp16" else "no",
        kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(hours=12))],
    )
