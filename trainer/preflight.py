"""What a run will do and need, in words, before the model is read."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.core.device import memory_here
from trainer.core.errors import ConfigError
from trainer.core.files import free_space, require_space
from trainer.core.schema import FieldSpec, describe
from trainer.data import image
from trainer.data.bucket import Framed, fit, framing
from trainer.data.caption import METADATA
from trainer.data.folder import FOREIGN_CAPTIONS, OTHER_PICTURES
from trainer.data.gather import hold_out
from trainer.data.loader import Plan as Showings
from trainer.data.loader import Shape
from trainer.engine.estimate import Course, Needs, estimate, in_numbers
from trainer.engine.memory import memory_in_words

if TYPE_CHECKING:
    from trainer.core.device import Plan
    from trainer.data.folder import Scan
    from trainer.families.outline import Outline
    from trainer.job.config import JobConfig

_GIB = 2**30
_LONGEST_LINE = 100
_SUFFIXES = image.SUFFIXES | OTHER_PICTURES | FOREIGN_CAPTIONS | {".txt"}


@dataclass(frozen=True, slots=True)
class Preflight:
    """What to tell the person.

    Attributes:
        facts: Label -> sentence, in order.
        warnings: What may go wrong.
        numbers: What `in_numbers` tells, and the bytes that are free.
    """

    facts: dict[str, str]
    warnings: tuple[str, ...]
    numbers: dict[str, float] = field(default_factory=dict)


def preflight(job: JobConfig, plan: Plan, found: Scan) -> Preflight:
    """What a run will do and need.

    Raises:
        ModelError: The base model is missing or damaged.
        ResourceError: The disk has no room for what the run will write.
        ConfigError: `adapter.targets` means nothing, or a tracker is not installed.
        DatasetError: `validation.share` leaves no picture to train on.
    """
    outline = job.model.outline(job.adapter.targets)
    _require_targets(job, outline)
    job.track.require_packages()
    job.model.require_negative(job.samples.negative, where="samples.negative")
    course = _course(job, found, outline)
    needs = estimate(job, plan, outline, course)
    require_space(job.runs.absolute(), needs.disk, "the run")
    there = memory_here(plan.device)
    free = free_space(job.runs.absolute())
    duration = (
        _duration(needs.seconds * course.steps) if needs.seconds else "told once it is measured"
    )
    facts = {
        "settings": settings(job),
        "pictures": _pictures(course),
        "steps": f"{course.steps} ({course.an_epoch} an epoch), "
        + _count(course.saves, "LoRA file")
        + (" in two layouts" if job.save.diffusers else ""),
        "trains": f"{len(outline.adapted)} modules, {needs.parameters / 1e6:.2f} M parameters"
        + _and_words(job.text_encoder.chosen(outline.text_adapted), outline),
        "strength of learning": in_words(job),
        **outline.facts,
        "device": f"{plan.device}, {plan.precision}" + (", packed weights" if plan.packed else ""),
        "memory": f"about {needs.memory / _GIB:.1f} of {there / _GIB:.1f} GiB free",
        "memory plan": memory_in_words(plan, outline, needs.phases)
        + f", peak {needs.training / _GIB:.1f} GiB",
        "time": duration,
        "disk": f"{needs.disk / 1e6:.0f} MB of {free / 1e9:.1f} GB free",
    }
    numbers = in_numbers(course, needs) | {"memory_free": there, "disk_free": free}
    return Preflight(facts, tuple(_warnings(job, plan, outline, needs, there)), numbers)


def _and_words(chosen: Sequence[str], outline: Outline) -> str:
    """Which text encoders train too."""
    if not chosen or len(outline.text_adapted) == 1:
        return ", and the text encoder" if chosen else ""
    return f", and {' and '.join(chosen)}"


def _thrift(job: JobConfig) -> str:
    """What to change first when the memory is short."""
    if not job.compute.gradient_checkpointing:
        return "compute.gradient_checkpointing = true"
    if job.schedule.batch_size > 1:
        return "a smaller schedule.batch_size (and more schedule.accumulate)"
    return "a smaller model.resolution"


def _warnings(
    job: JobConfig, plan: Plan, outline: Outline, needs: Needs, there: int
) -> Iterator[str]:
    yield from outline.warnings
    if job.memory.offload and plan.device == "cpu":
        yield "memory.offload saves nothing on the CPU, whose memory is the main memory"
    if job.compute.packed and not plan.packed:
        yield "compute.packed is left out: memory.target_gib has no room for a second copy"
    if needs.training > there:
        yield (
            f"this may not fit: it needs about {needs.training / _GIB:.1f} GiB, and "
            f"{there / _GIB:.1f} are free; {_thrift(job)} needs less"
        )
    elif needs.proof > there:
        yield (
            f"training fits, but the proof at the end needs about {needs.proof / _GIB:.1f} GiB "
            f"and {there / _GIB:.1f} are free; what does not fit is proven on weights in 8 bits, "
            "or on the CPU, which is slow"
        )
    if job.model.resolution != outline.native_side:
        yield (
            f"model.resolution is {job.model.resolution} px, and the base model was made for "
            f"{outline.native_side}"
        )


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run will take: steps, their seconds (0: unknown), bytes written and at the peak."""

    steps: int
    seconds: float
    disk: int
    memory: int


def cost(job: JobConfig, plan: Plan, found: Scan) -> Cost:
    """What a run will take, in numbers.

    Raises:
        UserError: As `preflight` does, but for a disk without room.
    """
    outline = job.model.outline(job.adapter.targets)
    _require_targets(job, outline)
    course = _course(job, found, outline)
    needs = estimate(job, plan, outline, course)
    return Cost(course.steps, needs.seconds * course.steps, needs.disk, needs.memory)


def settings(job: JobConfig) -> str:
    """What of the job differs from the defaults, on one line; names and places left aside."""
    told = list(_differing(job))
    shown: list[str] = []
    for words in told:
        if shown and len(", ".join([*shown, words])) > _LONGEST_LINE:
            break
        shown.append(words)
    more = len(told) - len(shown)
    return (", ".join(shown) or "the defaults") + (f", and {more} more in job.toml" if more else "")


def _differing(job: JobConfig) -> Iterator[str]:
    """Label and value of each changed setting, the advanced ones last."""
    specs = [spec for spec in describe(type(job)) if "." in spec.path]
    labels = [spec.label for spec in specs]
    for spec in sorted(specs, key=lambda spec: spec.knob.advanced):
        if spec.knob.private or (spec.only_if and _at(job, spec.only_if[0]) != spec.only_if[1]):
            continue
        value = _at(job, spec.path)
        if value != spec.default:
            yield f"{_label(spec, alone=labels.count(spec.label) == 1)} {_plain(value)}"


def _at(job: JobConfig, path: str) -> Any:
    return functools.reduce(getattr, path.split("."), job)


def _label(spec: FieldSpec, *, alone: bool) -> str:
    """The label in lower case, after its section where others have the same."""
    label = spec.label[0].lower() + spec.label[1:]
    return label if alone else f"{spec.group.replace('_', ' ')} {label}"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


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
    raise ConfigError(
        f"{job.adapter.targets!r} matches no linear or convolution layer of the denoiser",
        where="adapter.targets",
        hint="'attention'",
    )


def _course(job: JobConfig, found: Scan, outline: Outline) -> Course:
    size_step = outline.size_step
    rules = framing(job.dataset, resolution=job.model.resolution, size_step=size_step)
    framed, small = fit(found.pictures, rules)
    held: list[Framed] = []
    if framed:
        framed, held = hold_out(job, framed, rules, lambda event: None)
    shape = Shape(job.schedule.batch_size, job.schedule.accumulate)
    an_epoch = max(1, Showings(framed, shape, 0).steps)
    steps = job.schedule.steps or (job.schedule.epochs or 10) * an_epoch
    left_out = len(small) + sum(_is_ours(problem.path) for problem in found.problems)
    saves = _saves(steps, job.save.rhythm(-(-steps // an_epoch)) * an_epoch, job.save.every_steps)
    return Course(framed, held, left_out, steps, an_epoch, saves)


def _saves(steps: int, every: int, every_too: int) -> int:
    """How many of the steps are multiples of one of the two numbers, or the last."""
    saves = steps // every + (steps % every > 0)
    if every_too:
        both = steps // math.lcm(every, every_too)
        last_again = steps % every > 0 and steps % every_too == 0
        saves += steps // every_too - both - last_again
    return saves


def _is_ours(path: Path) -> bool:
    """Whether a file is a picture or a caption, by its name."""
    return path.suffix.lower() in _SUFFIXES or path.name in METADATA


def _pictures(course: Course) -> str:
    shown = [*course.training, *course.held_out]
    sources = sorted({one.picture.source for one in shown})
    told = f"{len(shown)} ({', '.join(f'captions from {source}' for source in sources)})"
    if course.held_out:
        told += f", {len(course.held_out)} of them held out"
    return told + (f", {_count(course.left_out, 'file')} left out" if course.left_out else "")


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"about {seconds:.0f} s"
    if seconds < 5400:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.1f} h"
