"""What to say, and to do next, when the memory is full in the middle of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.core.errors import ResourceError
from trainer.engine.memory import GIB, memory_in_words, phases, tiers
from trainer.networks.held import four_bits_problem

if TYPE_CHECKING:
    from trainer.core.device import Plan
    from trainer.job.config import JobConfig


def crowded(job: JobConfig, plan: Plan, step: int, said: BaseException, kept: str) -> ResourceError:
    """The error of a run whose memory is full: what was in it, what was kept, what takes less.

    Args:
        job: What was asked.
        plan: How its model was kept.
        step: Which one did not fit.
        said: By the library that asked for memory.
        kept: Where the last checkpoint and LoRA file are, in words.
    """
    outline = job.model.outline(job.adapter.targets)
    found = phases(job, plan, outline)
    held = memory_in_words(plan, outline, found)
    first = str(said).partition("\n")[0]
    return ResourceError(
        f"the memory is full at step {step} ({first}): {held}; {kept}",
        hint=_thriftier(job, plan, found.steps) or _smaller(job),
    )


def _thriftier(job: JobConfig, plan: Plan, most: int) -> str:
    """The next tier's settings and what it takes, as a hint; empty when this is the last."""
    outline = job.model.outline(job.adapter.targets)
    for tier in tiers(job.memory.thrift, plan, four_bits=four_bits_problem(plan.device) is None):
        needed = phases(job, tier, outline).steps
        if needed < 0.95 * most:
            same = tier.thrift.base == plan.thrift.base
            begin = "resume with" if same else "start a new run with"
            return f"{begin} {' '.join(_changes(plan, tier))}, which takes {needed / GIB:.1f} GiB"
    return ""


def _changes(old: Plan, new: Plan) -> list[str]:
    """What differs, as the command line takes it."""
    told = {
        "compute.gradient_checkpointing": (old.checkpointing, new.checkpointing),
        "compute.packed": (old.packed, new.packed),
        "memory.staged": (old.thrift.staged, new.thrift.staged),
        "memory.base": (old.thrift.base, new.thrift.base),
        "memory.text": (old.thrift.text, new.thrift.text),
        "memory.offload": (old.thrift.offload, new.thrift.offload),
        "memory.recompute": (old.thrift.recompute, new.thrift.recompute),
    }
    return [f"--set {name}={str(now).lower()}" for name, (was, now) in told.items() if was != now]


def _smaller(job: JobConfig) -> str:
    if job.schedule.batch_size > 1:
        return "a new run with a smaller schedule.batch_size (and more schedule.accumulate)"
    return "a new run with a smaller model.resolution"
