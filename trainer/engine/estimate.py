"""What a run will take of memory, time and disk, from the outlines of its model and its pictures.

It does not know whether that much is there.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.core.files import same_disk
from trainer.data.bucket import Framed
from trainer.engine import memory
from trainer.engine.checkpoint import KEPT

if TYPE_CHECKING:
    from trainer.core.device import Plan
    from trainer.engine.memory import Phases
    from trainer.families.outline import Outline
    from trainer.job.config import JobConfig

SHARE_OF_RATE = 0.35
"""How much of a matrix multiplication's rate a training step reaches (benchmarks/)."""
_RENDERED = 2
"""Bytes a pixel of a class picture, a PNG."""


@dataclass(frozen=True, slots=True)
class Needs:
    """Estimates.

    Attributes:
        phases: Bytes at the peak of each phase up to the last step.
        proof: Bytes at the peak of the proof.
        seconds: Of one optimizer step; 0 when it was not estimated.
        disk: Bytes that the run will write; a cache outside the runs folder not among them.
        parameters: That train.
    """

    phases: Phases
    proof: int
    seconds: float
    disk: int
    parameters: int

    @property
    def training(self) -> int:
        """Bytes at the peak up to the last step."""
        return self.phases.peak

    @property
    def memory(self) -> int:
        """Bytes at the peak of the whole run."""
        return max(self.training, self.proof)


@dataclass(frozen=True, slots=True)
class Course:
    """Which pictures a run shows, and for how long.

    Attributes:
        training: The pictures that train; class pictures not among them.
        held_out: Pictures for the validation loss.
        left_out: How many pictures and captions of the folder are not used.
        steps: Optimizer steps in all.
        an_epoch: Optimizer steps an epoch.
        saves: How often a LoRA file is saved.
    """

    training: list[Framed]
    held_out: list[Framed]
    left_out: int
    steps: int
    an_epoch: int
    saves: int


def estimate(job: JobConfig, plan: Plan, outline: Outline, course: Course) -> Needs:
    """Memory, time and disk of a run; memory as engine/memory.py tells it."""
    count = memory.parameters(job, outline)
    means = 1 if job.schedule.ema else 0
    work = 3 * outline.flops * job.schedule.batch_size * job.schedule.accumulate
    found = memory.phases(job, plan, outline)
    return Needs(
        phases=found,
        proof=memory.proof(job, plan, outline),
        seconds=work / (SHARE_OF_RATE * rate(plan)) * (2 if job.prior.enabled else 1),
        disk=_disk(job, course, outline, parameters=count, copies=memory.STATE + means),
        parameters=count,
    )


def in_numbers(course: Course, needs: Needs) -> dict[str, float]:
    """What a run takes, for who draws it: bytes, seconds (0 when not known) and counts.

    `shown` is how often any picture is shown in an epoch.
    """
    return {
        "memory": needs.memory,
        "disk": needs.disk,
        "seconds": needs.seconds * course.steps,
        "steps": course.steps,
        "an_epoch": course.an_epoch,
        "saves": course.saves,
        "pictures": len(course.training),
        "shown": sum(one.picture.repeats for one in course.training),
    }


def _disk(job: JobConfig, course: Course, outline: Outline, *, parameters: int, copies: int) -> int:
    """LoRA files, checkpoints (one more than is kept while the newest is written), the cache."""
    file = parameters * (4 if job.save.precision == "fp32" else 2)
    files = course.saves * file * (2 if job.save.diffusers else 1)
    checkpoints = (KEPT + 1) * copies * 4 * parameters
    cached = _cache(job, course, outline) if same_disk(job.cache_folder, job.runs) else 0
    return files + checkpoints + cached


def _cache(job: JobConfig, course: Course, outline: Outline) -> int:
    """Bytes of encoded pictures and captions, and of class pictures."""
    pictures = [*course.training, *course.held_out]
    rendered = job.prior.count if job.prior.enabled and job.prior.folder is None else 0
    classes = rendered * job.model.resolution**2
    pixels = classes + sum(math.prod(one.frame.size) for one in pictures)
    live = job.text_encoder.train or job.dataset.captions_vary
    captions = 0 if live else len({one.picture.caption for one in pictures})
    latents = outline.latent * pixels * (2 if job.dataset.flip else 1)
    return int(latents) + _RENDERED * classes + outline.caption * captions


def rate(plan: Plan) -> float:
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
