"""Everything up to the first step: read, check, encode, attach.

scan -> preflight -> load -> frame -> class pictures -> cache -> attach
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.core.device import pictures_together, trim_memory
from trainer.core.events import Emit, Planned, Preparing, Warned
from trainer.data import prior
from trainer.data.folder import scan
from trainer.data.gather import Material, Progress, choose, gather
from trainer.engine.average import Average
from trainer.engine.loop import Loop, Objective, Pace
from trainer.engine.packed import lean, pack
from trainer.engine.packed_lora import thin_lora
from trainer.engine.sampling import Recipe, Words, encode, render
from trainer.engine.sharing import (
    accelerator_of,
    require_precision,
    require_sharded,
    shard,
    sharding_asked,
)
from trainer.networks.sparing import attend_by, compile_blocks
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
        sharded: The frozen base is spread over the processes: whoever uses the denoiser, all do.
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
    sharded: bool

    @property
    def steps_an_epoch(self) -> int:
        """Optimizer steps that show every picture once (times its repeats)."""
        return self.material.loader.plan.steps


def prepare(job: JobConfig, plan: Plan, emit: Emit) -> Parts:
    """Put the parts together.

    Raises:
        UserError: Whatever a person can mend.
    """
    sharding = sharding_asked()
    require_precision(plan)
    accelerator = accelerator_of(plan)
    if sharding is not None:
        renders = job.prior.enabled and job.prior.folder is None
        require_sharded(plan, renders_classes=renders, compiled=job.compute.compile)
        plan = replace(plan, sharded=True)
    with accelerator.main_process_first():
        model, material, words = _load(job, plan, emit)
    pace = _pace(job, material.loader.plan.steps)
    texts = job.text_encoder.chosen(model.text_targets)
    adapter = attach(model, job.adapter, text_encoders=texts, seed=pace.seed)
    if sharding is not None:
        shard(model, adapter, sharding, accelerator)
    if plan.checkpointing:
        model.checkpoint_activations()
    _speed_up(model, plan)
    _tune(model, job)
    trim_memory()
    optimizer = job.optimizer.build(_groups(job, adapter), lambda told: emit(Warned(told)))
    objective: Any = Objective(model)
    if sharding is None:
        objective = accelerator.prepare(objective)
    optimizer = accelerator.prepare(optimizer)
    loop = Loop(objective, adapter, material.loader, optimizer, accelerator, pace)
    average = Average(adapter, job.schedule.ema)
    return Parts(
        accelerator, model, material, words, adapter, average, optimizer, pace, loop, plan.sharded
    )


def _load(job: JobConfig, plan: Plan, emit: Emit) -> tuple[LoadedModel, Material, Words]:
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
        if warning not in planned.warnings:
            emit(Warned(warning))
    chosen = choose(job, model, found, emit)
    words = encode(model, job.samples.prompts or chosen.captions[:4], job.samples.negative)
    renders = job.prior.enabled and job.prior.folder is None
    class_words = encode(model, [job.prior_prompt], "") if renders else words
    material = gather(
        job, model, chosen, lambda told: _class_pictures(job, model, class_words, told), emit
    )
    return model, material, words


def _class_pictures(job: JobConfig, model: LoadedModel, words: Words, progress: Progress) -> Path:
    """The folder of class pictures, rendered by the base model where they are missing."""
    side = job.model.resolution // model.size_step * model.size_step
    recipe = Recipe((side, side), job.prior.steps, job.model.guidance_or(job.prior.guidance))
    bits = model.plan.thrift.base
    keys = [model.base_hash, model.image_key, model.text_key, model.render_key]
    keys += [] if bits == "plain" else [bits]
    folder = prior.class_folder(job.cache_folder, *keys, job.prior_prompt, str(recipe))
    prior.fill(
        folder,
        count=job.prior.count,
        batch=4 if model.plan.device == "cpu" else pictures_together(model.plan.device, side**2),
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
    elif plan.sharded and plan.precision == "bf16":
        thin_lora(model.denoiser)
    elif plan.precision == "bf16":
        lean(model.denoiser)
    if plan.precision == "bf16":
        for encoder in model.text_encoders.values():
            lean(encoder)


def _tune(model: LoadedModel, job: JobConfig) -> None:
    """What the person asked for to make steps faster."""
    if job.compute.attention != "auto":
        attend_by(model.denoiser, job.compute.attention)
    if job.compute.compile:
        compile_blocks(model.denoiser)


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
