"""Where and how a model is kept: as the settings say, or as a target of memory asks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trainer.core import device
from trainer.core.errors import ConfigError
from trainer.engine.memory import GIB, fitted, fitted_to_render

if TYPE_CHECKING:
    from trainer.core.device import Plan, Precision
    from trainer.families.base import ModelConfig
    from trainer.job.config import JobConfig
    from trainer.job.memory import MemoryConfig


def plan_of(job: JobConfig) -> Plan:
    """Where and how the job's model is kept: as its settings say, or as `memory.target_gib` asks.

    Raises:
        ConfigError: This machine cannot do it, or no plan fits.
        ModelError: The base model is missing or damaged.
    """
    compute = job.compute
    plan = device.plan(
        compute.device,
        compute.precision,
        packed=compute.packed,
        checkpointing=compute.gradient_checkpointing,
        thrift=job.memory.thrift,
    )
    if job.memory.target_gib is not None:
        from trainer.networks.held import four_bits_problem

        outline, target = job.model.outline(job.adapter.targets), job.memory.target_gib * GIB
        four_bits = four_bits_problem(plan.device) is None
        plan = fitted(job, plan, outline, int(target), four_bits=four_bits)
    _require_possible(plan, compute.attention)
    return plan


def plan_to_render(
    model: ModelConfig, memory: MemoryConfig, where: str, precision: Precision
) -> Plan:
    """Where and how a model is kept that renders and judges, and does not train.

    As the settings say, or as `memory.target_gib` asks, as near as it can be met.

    Args:
        model: Which, at the size that it renders.
        memory: A run's section, or the person's.
        where: "auto", "cpu", "cuda", ...
        precision: Of the frozen weights and the maths.

    Raises:
        ConfigError: This machine cannot do it.
        ModelError: The base model is missing or damaged.
    """
    asked = replace(memory.thrift, staged=False)
    plan = device.plan(where, precision, thrift=asked)
    if memory.target_gib is not None:
        from trainer.networks.held import four_bits_problem

        outline, target = model.outline("attention"), int(memory.target_gib * GIB)
        four_bits = four_bits_problem(plan.device) is None
        plan = fitted_to_render(asked, plan, outline, model.resolution, target, four_bits=four_bits)
    _require_possible(plan, "auto")
    return plan


def _require_possible(plan: Plan, attention: str) -> None:
    """Refuse what this device or these libraries cannot do, before anything is read.

    Raises:
        ConfigError: They cannot.
    """
    from trainer.networks.held import require_bits
    from trainer.networks.sparing import require_attention

    thrift = plan.thrift
    require_bits(thrift.base, plan.device, where="memory.base")
    require_bits(thrift.text, plan.device, where="memory.text")
    if thrift.base == "nf4" and thrift.offload:
        raise ConfigError(
            "weights in 4 bits cannot wait in main memory",
            where="memory.offload",
            hint="memory.base = 'int8', or memory.offload = 0",
        )
    require_attention(attention)
