"""What a run will do and need, in words, before the model is read."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.core.device import memory_here
from trainer.core.errors import ConfigError
from trainer.core.files import free_space, require_space
from trainer.data.bucket import fit, framing
from trainer.data.loader import Plan as Showings
from trainer.data.loader import Shape

if TYPE_CHECKING:
    from trainer.core.device import Plan
    from trainer.data.folder import Scan
    from trainer.families.base import Outline
    from trainer.job.config import JobConfig

_GIB = 2**30
_STATE = 3
"""A checkpoint holds the adapter and two moments of it."""
_SHARE_OF_RATE = 0.35
"""How much of a matrix multiplication's rate a training step reaches (benchmarks/)."""


@dataclass(frozen=True, slots=True)
class Needs:
    """Estimates.

    Attributes:
        memory: Bytes at the peak of training.
        seconds: Of one optimizer step; 0 when it was not estimated.
        disk: Bytes that the run will write.
        parameters: That train.
    """

    memory: int
    seconds: float
    disk: int
    parameters: int


@dataclass(frozen=True, slots=True)
class Preflight:
    """What to tell the person.

    Attributes:
        facts: Label -> sentence, in order.
        warnings: What may go wrong.
    """

    facts: dict[str, str]
    warnings: tuple[str, ...]


def preflight(job: JobConfig, plan: Plan, found: Scan) -> Preflight:
    """What a run will do and need.

    Raises:
        ModelError: The base model is missing or damaged.
        ResourceError: The disk has no room for what the run will write.
        ConfigError: `adapter.targets` means nothing.
    """
    outline = job.model.outline(job.adapter.targets)
    _require_targets(job, outline)
    steps, an_epoch, saves = _lengths(job, found, outline)
    needs = estimate(job, plan, outline, saves)
    require_space(job.runs.absolute(), needs.disk, "the run")
    there = memory_here(plan.device)
    free = free_space(job.runs.absolute())
    duration = _duration(needs.seconds * steps) if needs.seconds else "told once it is measured"
    sources = sorted({picture.source for picture in found.pictures})
    facts = {
        "pictures": f"{len(found.pictures)} ({', '.join(f'captions from {s}' for s in sources)})"
        + (f", {len(found.problems)} files left out" if found.problems else ""),
        "steps": f"{steps} ({an_epoch} an epoch), {saves} LoRA files",
        "trains": f"{len(outline.adapted)} modules, {needs.parameters / 1e6:.2f} M parameters"
        + (", and the text encoder" if job.text_encoder.train else ""),
        "strength of learning": in_words(job),
        "device": f"{plan.device}, {plan.precision}" + (", packed weights" if plan.packed else ""),
        "memory": f"about {needs.memory / _GIB:.1f} of {there / _GIB:.1f} GiB free",
        "time": duration,
        "disk": f"{needs.disk / 1e6:.0f} MB of {free / 1e9:.1f} GB free",
    }
    return Preflight(facts, tuple(_warnings(job, outline, needs.memory, there)))


def _warnings(job: JobConfig, outline: Outline, memory: int, there: int) -> Iterator[str]:
    if memory > there:
        yield (
            f"this may not fit: it needs about {memory / _GIB:.1f} GiB, and {there / _GIB:.1f} are "
            "free; compute.gradient_checkpointing = true needs less"
        )
    if job.model.resolution != outline.native_side:
        yield (
            f"model.resolution is {job.model.resolution} px, and the base model was made for "
            f"{outline.native_side}"
        )


def estimate(job: JobConfig, plan: Plan, outline: Outline, saves: int) -> Needs:
    """Memory, time and disk of a run.

    Memory: weights in the plan's format (the text encoder and the VAE are freed before the
    steps, but were there), the adapter four times in fp32 (weights, gradients, two moments),
    what the forward pass keeps a picture, and the libraries' own 0.8 GiB.
    """
    wide = 4 if plan.precision == "fp32" else 2
    parameters = sum(job.adapter.rank * (i + o) for i, o in outline.adapted.values())
    weights = wide * sum(outline.weights.values()) * (2 if plan.packed else 1)
    pictures = -(-job.schedule.batch_size // job.compute.processes)
    kept = outline.kept * pictures * wide // 2
    if plan.checkpointing:
        kept //= 4
    memory = weights + 16 * parameters + kept + int(0.8 * _GIB)
    file = parameters * (4 if job.save.precision == "fp32" else 2)
    disk = saves * file * (2 if job.save.diffusers else 1) + 2 * _STATE * 4 * parameters
    work = 3 * outline.flops * job.schedule.batch_size * job.schedule.accumulate
    seconds = work / (_SHARE_OF_RATE * _rate(plan)) * (2 if job.prior.enabled else 1)
    return Needs(memory, seconds, disk, parameters)


def in_words(job: JobConfig) -> str:
    """Learning rate times alpha / rank, and what that means."""
    scale = job.adapter.alpha / job.adapter.rank
    rate = job.optimizer.learning_rate
    effect = (
        "alpha / rank leaves the update as it is"
        if scale == 1
        else (f"alpha / rank scales the update by {scale:g}")
    )
    gentle, usual, strong = 2e-5, 3e-4, 2e-3
    product = rate * scale
    verdict = (
        "very gentle: may learn nothing"
        if product < gentle
        else "usual"
        if product <= usual
        else "strong: learns fast, may overfit"
        if product <= strong
        else "very strong: may destroy the picture"
    )
    return f"learning rate {rate:g}, {effect}: {product:.1e}, {verdict}"


def _require_targets(job: JobConfig, outline: Outline) -> None:
    if outline.adapted:
        return
    targets = job.adapter.targets
    problem = f"{targets!r} matches no linear or convolution layer of the denoiser"
    try:
        re.compile(targets)
    except re.error as error:
        problem = f"{targets!r} is no named choice and no regular expression ({error})"
    raise ConfigError(problem, where="adapter.targets", hint="'attention'")


def _lengths(job: JobConfig, found: Scan, outline: Outline) -> tuple[int, int, int]:
    """Optimizer steps in all and an epoch, and LoRA files; held-out pictures not taken off."""
    size_step = outline.size_step
    rules = framing(job.dataset, resolution=job.model.resolution, size_step=size_step)
    framed, _ = fit(found.pictures, rules)
    shape = Shape(job.schedule.batch_size, job.schedule.accumulate)
    an_epoch = max(1, Showings(framed, shape, 0).steps)
    steps = job.schedule.steps or (job.schedule.epochs or 10) * an_epoch
    epochs = -(-steps // an_epoch)
    saves = -(-epochs // job.save.every_epochs)
    if job.save.every_steps:
        saves += steps // job.save.every_steps
    return steps, an_epoch, saves


def _rate(plan: Plan) -> float:
    """Floating-point operations a second of a matrix multiplication here, measured."""
    import torch

    side = 1024 if plan.device == "cpu" else 4096
    one = torch.ones(side, side, device=plan.device, dtype=plan.dtype)
    best = float("inf")
    for _ in range(4):
        began = time.perf_counter()
        (one @ one)[0, 0].item()
        best = min(best, time.perf_counter() - began)
    return 2 * side**3 / best


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"about {seconds:.0f} s"
    if seconds < 5400:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.1f} h"
