"""From a job to everything that its steps need: a loaded model, and a loader over caches."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.core.device import PRECISION
from trainer.core.draws import chance
from trainer.core.errors import DatasetError
from trainer.core.events import Emit, Preparing, Warned
from trainer.core.files import hash_text
from trainer.data.bucket import Framed, Framing, fit, framing
from trainer.data.cache import Cache
from trainer.data.encode import Captions, cache_captions, cache_latents
from trainer.data.folder import Problem, Scan, scan
from trainer.data.loader import Loader, Plan, Shape, Spoken

if TYPE_CHECKING:
    from trainer.families.base import LoadedModel
    from trainer.job.config import JobConfig
    from trainer.job.pictures import DatasetConfig

Progress = Callable[[int, int], None]
MakeClassPictures = Callable[[Progress], Path]
"""Renders what is missing of the class pictures and gives their folder."""

_NAMED = 5


@dataclass(frozen=True, slots=True)
class Material:
    """What a run learns from.

    Attributes:
        loader: Makes batches of the training (and class) pictures.
        training: The pictures that train, with their frames; class pictures not among them.
        held_out: Pictures for the validation loss.
        captions: The different captions, in order of first appearance.
        identity: What a resumed run must find unchanged, by what it is.
    """

    loader: Loader
    training: tuple[Framed, ...]
    held_out: tuple[Framed, ...]
    captions: tuple[str, ...]
    identity: dict[str, str]

    @property
    def sample_size(self) -> tuple[int, int]:
        """The size that most training pictures have: (width, height), px."""
        sizes = [framed.frame.size for framed in self.training]
        return max(sorted(set(sizes)), key=sizes.count)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The pictures of the job's own folders, with their frames."""

    training: list[Framed]
    held_out: list[Framed]

    @property
    def captions(self) -> tuple[str, ...]:
        """The different captions, in order of first appearance."""
        return tuple(dict.fromkeys(f.picture.caption for f in self.training))


def choose(job: JobConfig, model: LoadedModel, found: Scan, emit: Emit) -> Chosen:
    """Frame the pictures and hold some of them out.

    Args:
        job: What was asked, with its seed settled.
        model: Tells what sides must be multiples of.
        found: The scan of the job's folder.
        emit: Told of every picture that is left out.

    Raises:
        DatasetError: No picture is left to train on.
    """
    rules = framing(job.dataset, resolution=job.model.resolution, size_step=model.size_step)
    framed = _framed(found, rules, str(job.dataset.folder), emit)
    return Chosen(*hold_out(job, framed, rules, emit))


def gather(
    job: JobConfig,
    model: LoadedModel,
    chosen: Chosen,
    class_pictures: MakeClassPictures,
    emit: Emit,
) -> Material:
    """Encode captions and free what encoded them, render class pictures, encode, and plan.

    Args:
        job: What was asked, with its seed settled.
        model: Still has its encoders, or reads them when they are needed.
        chosen: The pictures.
        class_pictures: Called when prior preservation has no folder of its own.
        emit: Told of progress, and of every picture that is left out.

    Raises:
        DatasetError: No picture is left to train on.
    """
    training, held_out = chosen.training, chosen.held_out
    renders = job.prior.enabled and job.prior.folder is None
    given = _classes(job, job.prior.folder, model, emit) if job.prior.folder else []
    spoken = [*training, *held_out, *given]
    more = (job.prior_prompt,) if renders else ()
    captions = _captions(job, model, (*_words(job.dataset, spoken), *more), emit)
    if not isinstance(captions, Spoken) and captions is not None:
        model.release("captions")
    if renders:
        folder = class_pictures(_progress(emit, "class pictures"))
        given = _classes(job, folder, model, emit)
    everything = [*training, *given]
    latents = cache_latents(
        model, [*everything, *held_out], job.dataset, job.cache_folder, _progress(emit, "pictures")
    )
    _tell_damage(latents.cache, emit)
    model.release("images")
    shape = Shape(job.schedule.batch_size, job.schedule.accumulate, job.prior.weight)
    seed = job.schedule.seed or 0
    plan = Plan(everything, shape, seed, classes_from=len(training) if given else None)
    return Material(
        loader=Loader(model, plan, latents, captions, job.dataset, seed=seed),
        training=tuple(training),
        held_out=tuple(held_out),
        captions=chosen.captions,
        identity={
            "pictures": _hash_pictures([*everything, *held_out]),
            "base model": _hash_base(model),
            PRECISION: model.plan.format,
            "job": _hash_job(job),
        },
    )


def _framed(found: Scan, rules: Framing, folder: str, emit: Emit) -> list[Framed]:
    framed, small = fit(found.pictures, rules)
    _tell([*found.problems, *small], emit)
    if not framed:
        raise DatasetError(
            f"none of the {len(found.pictures)} pictures can be trained on; the first: "
            f"{small[0].what}",
            where=folder,
            hint=small[0].hint,
        )
    return framed


def _tell(problems: Sequence[Problem], emit: Emit) -> None:
    for problem in problems[:_NAMED]:
        emit(Warned(f"{problem.path.name}: {problem.what}"))
    if len(problems) > _NAMED:
        more = len(problems) - _NAMED
        emit(Warned(f"{more} more files have problems; `sweetspot dataset check` lists all"))


def _tell_damage(cache: Cache, emit: Emit) -> None:
    for warning in cache.warnings:
        emit(Warned(warning))


def hold_out(
    job: JobConfig, framed: list[Framed], rules: Framing, emit: Emit
) -> tuple[list[Framed], list[Framed]]:
    """The pictures to train on, and those kept back to validate with.

    Raises:
        DatasetError: Nothing is left to train on.
    """
    held = job.validation
    if held.folder is not None:
        others = scan(job.dataset.model_copy(update={"folder": held.folder}))
        held_out = _framed(others, rules, str(held.folder), emit)
        return _without(framed, held_out, emit), held_out
    if not held.share:
        return framed, []
    digests = sorted({f.picture.digest for f in framed})
    count = max(1, round(held.share * len(digests)))
    if count >= len(digests):
        raise DatasetError(
            f"validation.share {held.share} of {len(framed)} pictures leaves none to train on",
            where="validation.share",
            hint="0, or a validation.folder",
        )
    chance(job.schedule.seed or 0, "hold out").shuffle(digests)
    chosen = set(digests[:count])
    return (
        [f for f in framed if f.picture.digest not in chosen],
        [f for f in framed if f.picture.digest in chosen],
    )


def _without(framed: list[Framed], held_out: list[Framed], emit: Emit) -> list[Framed]:
    """The pictures that are not held out too: the loss on those would measure memory."""
    digests = {f.picture.digest for f in held_out}
    twice = [f.picture.name for f in framed if f.picture.digest in digests]
    if not twice:
        return framed
    if len(twice) == len(framed):
        raise DatasetError(
            f"all {len(framed)} pictures are held out too, which leaves none to train on",
            where="validation.folder",
            hint="a folder of other pictures",
        )
    names = ", ".join(twice[:_NAMED]) + (", ..." if len(twice) > _NAMED else "")
    emit(Warned(f"{len(twice)} pictures are held out too, so they do not train: {names}"))
    return [f for f in framed if f.picture.digest not in digests]


def _captions(
    job: JobConfig, model: LoadedModel, words: Sequence[str], emit: Emit
) -> Captions | Spoken | None:
    """The encoded captions; what encodes them when they come up; or None where encoders train."""
    if job.text_encoder.train:
        return None
    if job.dataset.captions_vary:
        return Spoken(model)
    captions = cache_captions(model, words, job.cache_folder, _progress(emit, "captions"))
    _tell_damage(captions.cache, emit)
    return captions


def _classes(job: JobConfig, folder: Path, model: LoadedModel, emit: Emit) -> list[Framed]:
    config = job.dataset.model_copy(
        update={
            "folder": folder,
            "template": job.prior_prompt.replace("{", "{{").replace("}", "}}"),
            "repeats": 1,
            "upscale": True,
        }
    )
    found = scan(config)
    if job.prior.folder is None:
        found.pictures[job.prior.count :] = []
    rules = framing(config, resolution=job.model.resolution, size_step=model.size_step)
    return _framed(found, rules, str(folder), emit)


def _words(config: DatasetConfig, framed: Sequence[Framed]) -> tuple[str, ...]:
    """The captions to encode ahead; those made by chance are encoded when they come up."""
    raw = [f.picture.caption for f in framed]
    return tuple(dict.fromkeys([*raw, ""] if config.caption_dropout else raw))


def _progress(emit: Emit, phase: str) -> Progress:
    return lambda done, total: emit(Preparing(phase, done, total))


def _hash_pictures(framed: Sequence[Framed]) -> str:
    return hash_text(
        *(
            f"{f.picture.digest}|{f.frame}|{f.picture.repeats}|{f.picture.caption}|{f.picture.name}"
            for f in framed
        )
    )


def _hash_base(model: LoadedModel) -> str:
    """The weights alone: the keys name the number format too, which the identity has apart."""
    keys = (model.image_key, model.text_key, model.base_hash)
    return hash_text(*(re.sub(r":(bf16|fp16|fp32)$", "", key) for key in keys))


def _hash_job(job: JobConfig) -> str:
    """What of the job decides the weights; what is rendered, saved or where does not."""
    told = job.model_dump(
        mode="json",
        exclude={
            "version": True,
            "name": True,
            "runs": True,
            "cache": True,
            "samples": True,
            "save": True,
            "analysis": True,
            "dataset": {"folder"},
            "validation": {"folder", "every"},
            "prior": {"folder"},
            "model": {"base"},
            "memory": True,
            "compute": {"device", "precision", "processes", "gradient_checkpointing"},
        },
    )
    return hash_text(json.dumps(told, sort_keys=True))
