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
from trainer.engine.checkpoint import KEPT

if TYPE_CHECKING:
    from trainer.core.device import Plan
    from trainer.families.base import Outline
    from trainer.job.config import JobConfig

_GIB = 2**30
_STATE = 3
"""A checkpoint holds the adapter and two moments of it."""
SHARE_OF_RATE = 0.35
"""How much of a matrix multiplication's rate a training step reaches (benchmarks/)."""
_LATENT = 0.5
"""Bytes of the cache a pixel: mean and deviation, four channels, an eighth of each side, fp32."""
_RENDERED = 2
"""Bytes a pixel of a class picture, a PNG."""


@dataclass(frozen=True, slots=True)
class Needs:
    """Estimates.

    Attributes:
        training: Bytes at the peak of training.
        proof: Bytes at the peak of the proof, which reads the model in fp32.
        seconds: Of one optimizer step; 0 when it was not estimated.
        disk: Bytes that the run will write; a cache outside the runs folder not among them.
        parameters: That train.
    """

    training: int
    proof: int
    seconds: float
    disk: int
    parameters: int

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
    """Memory, time and disk of a run.

    Memory: weights in the plan's format (the text encoder and the VAE are freed before the
    steps, but were there), the adapter four times in fp32 (weights, gradients, two moments)
    and once more for a running mean, what the forward pass keeps a picture, and the
    libraries' own 0.8 GiB. The proof keeps nothing for a backward pass.
    """
    wide = 4 if plan.precision == "fp32" else 2
    layers = [*outline.adapted.values()]
    for encoder in job.text_encoder.chosen(outline.text_adapted):
        layers += outline.text_adapted[encoder].values()
    parameters = sum(job.adapter.rank * (i + o) for i, o in layers)
    means = 1 if job.schedule.ema else 0
    network, own = sum(outline.weights.values()), int(0.8 * _GIB)
    weights = wide * network * (2 if plan.packed else 1)
    pictures = -(-job.schedule.batch_size // job.compute.processes)
    kept = outline.kept * pictures * wide // 2
    if plan.checkpointing:
        kept //= 4
    work = 3 * outline.flops * job.schedule.batch_size * job.schedule.accumulate
    return Needs(
        training=weights + 4 * (1 + _STATE + means) * parameters + kept + own,
        proof=4 * (network + parameters) + own,
        seconds=work / (SHARE_OF_RATE * rate(plan)) * (2 if job.prior.enabled else 1),
        disk=_disk(job, course, parameters, outline.caption, copies=_STATE + means),
        parameters=parameters,
    )


def _disk(job: JobConfig, course: Course, parameters: int, caption: int, *, copies: int) -> int:
    """LoRA files, checkpoints (one more than is kept while the newest is written), the cache."""
    file = parameters * (4 if job.save.precision == "fp32" else 2)
    files = course.saves * file * (2 if job.save.diffusers else 1)
    checkpoints = (KEPT + 1) * copies * 4 * parameters
    cached = _cache(job, course, caption) if same_disk(job.cache_folder, job.runs) else 0
    return files + checkpoints + cached


def _cache(job: JobConfig, course: Course, caption: int) -> int:
    """Bytes of encoded pictures (as SD's VAE makes them), captions, and class pictures."""
    pictures = [*course.training, *course.held_out]
    rendered = job.prior.count if job.prior.enabled and job.prior.folder is None else 0
    classes = rendered * job.model.resolution**2
    pixels = classes + sum(math.prod(one.frame.size) for one in pictures)
    live = job.text_encoder.train or job.dataset.captions_vary
    captions = 0 if live else len({one.picture.caption for one in pictures})
    latents = _LATENT * pixels * (2 if job.dataset.flip else 1)
    return int(latents) + _RENDERED * classes + caption * captions


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
