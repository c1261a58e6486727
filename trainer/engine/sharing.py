"""Several processes on one run: what their launcher asks for, and how they exchange gradients.

Launchers speak through the environment: torchrun, `accelerate launch`, Slurm's srun with either.
DDP comes from Accelerate. FSDP2 spreads the frozen base alone: what trains is small and stays
whole in every process, so that saving, resuming, clipping and proving are those of one process.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainer.core.errors import ConfigError

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import nn
    from torch.nn import Parameter

    from trainer.core.device import Plan
    from trainer.families.base import LoadedModel
    from trainer.weights.adapter import Adapter

_FSDP = "ACCELERATE_USE_FSDP"
_REFUSED = {
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "a parallelism_config",
}
_WHERE = "Accelerate's config"


@dataclass(frozen=True, slots=True)
class Sharding:
    """How the frozen base is spread.

    Attributes:
        blocks: Classes of the modules that are gathered at a time; empty for the model's own.
        reshard: Give a block's weights back after its forward pass, and gather them again.
        offload: Keep each process's share in main memory.
    """

    blocks: tuple[str, ...]
    reshard: bool
    offload: bool


def sharding_asked(environment: Mapping[str, str] = os.environ) -> Sharding | None:
    """What `accelerate launch` asks of FSDP, if anything.

    Raises:
        ConfigError: It asks for something that is not done here.
    """
    _require_plain(environment)
    if environment.get(_FSDP, "").lower() != "true":
        return None
    told = {
        "fsdp_version": (environment.get("FSDP_VERSION", "1"), "2"),
        "fsdp_auto_wrap_policy": (
            environment.get("FSDP_AUTO_WRAP_POLICY", "").upper(),
            "TRANSFORMER_BASED_WRAP",
        ),
        "fsdp_activation_checkpointing": (
            environment.get("FSDP_ACTIVATION_CHECKPOINTING", "false").lower(),
            "false",
        ),
    }
    for name, (value, wanted) in told.items():
        if value != wanted:
            raise ConfigError(
                f"{name} is {value or 'not set'}, and a run is sharded with {wanted} only",
                where=_WHERE,
                hint="compute.gradient_checkpointing recomputes activations"
                if wanted == "false"
                else f"{name}: {wanted}",
            )
    names = environment.get("FSDP_TRANSFORMER_CLS_TO_WRAP", "")
    return Sharding(
        blocks=tuple(name.strip() for name in names.split(",") if name.strip()),
        reshard=environment.get("FSDP_RESHARD_AFTER_FORWARD", "true").lower() != "false",
        offload=environment.get("FSDP_OFFLOAD_PARAMS", "false").lower() == "true",
    )


def _require_plain(environment: Mapping[str, str]) -> None:
    for variable, name in _REFUSED.items():
        if environment.get(variable, "").lower() == "true":
            raise ConfigError(
                f"a LoRA is not trained through {name}",
                where=_WHERE,
                hint="distributed_type: MULTI_GPU, or FSDP of version 2 to spread a large base",
            )
    steps = environment.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")
    if steps not in ("1", "auto"):
        raise ConfigError(
            f"gradient_accumulation_steps is {steps}, which would divide the gradients twice",
            where=_WHERE,
            hint=f"leave it out, and set schedule.accumulate = {steps} in the job",
        )
    if environment.get("ACCELERATE_DYNAMO_BACKEND", "no").lower() != "no":
        raise ConfigError(
            "a dynamo_backend is asked for", where=_WHERE, hint="compute.compile in the job instead"
        )


def require_precision(plan: Plan, environment: Mapping[str, str] = os.environ) -> None:
    """Refuse a launcher that asks for other numbers than the run computes in.

    Raises:
        ConfigError: It does.
    """
    asked = environment.get("ACCELERATE_MIXED_PRECISION", "no").lower()
    if asked not in ("no", plan.precision):
        raise ConfigError(
            f"mixed_precision is {asked}, and the run computes in {plan.precision}",
            where=_WHERE,
            hint=f"mixed_precision: 'no', and compute.precision = {asked!r} in the job",
        )


def accelerator_of(plan: Plan) -> Accelerator:
    """What carries numbers between the processes; it never hears of FSDP.

    On a CPU Accelerate would drop what is asked of FSDP without a word, and with it transformers
    reads the text encoders into the first process alone, leaving the others' without weights.

    Raises:
        ConfigError: One device is to do the work of several.
    """
    from datetime import timedelta

    from accelerate import Accelerator
    from accelerate.utils import InitProcessGroupKwargs

    os.environ.pop(_FSDP, None)
    accelerator = Accelerator(
        cpu=plan.device == "cpu",
        mixed_precision="fp16" if plan.precision == "fp16" else "no",
        kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(hours=12))],
    )
    if accelerator.num_processes > 1 and ":" in plan.device:
        raise ConfigError(
            f"{accelerator.num_processes} processes would share the one device {plan.device!r}",
            where="compute.device",
            hint=f"'auto' or {plan.device.partition(':')[0]!r}, which is one for each process",
        )
    return accelerator


def require_sharded(plan: Plan, *, renders_classes: bool, compiled: bool) -> None:
    """Refuse what cannot be done with a base that is spread over processes.

    Raises:
        ConfigError: The job asks for it.
    """
    thrift = plan.thrift
    reasons = {
        f"weights held in {thrift.base} cannot be spread (FSDP)": (
            thrift.base != "plain",
            "memory.base = 'plain' and no memory.target_gib",
        ),
        "blocks that wait in main memory cannot be spread (FSDP)": (
            thrift.offload > 0,
            "memory.offload = 0; fsdp_offload_params keeps the shares in main memory",
        ),
        "packed weights cannot be spread (FSDP)": (plan.packed, "compute.packed = false"),
        "compiled blocks cannot be spread (FSDP)": (compiled, "compute.compile = false"),
        "class pictures are rendered before the base is spread (FSDP)": (
            renders_classes,
            "prior.folder with pictures that are there",
        ),
    }
    for problem, (holds, hint) in reasons.items():
        if holds:
            raise ConfigError(problem, where=_WHERE, hint=hint)


def shard(
    model: LoadedModel, adapter: Adapter, sharding: Sharding, accelerator: Accelerator
) -> None:
    """Spread the denoiser's frozen weights over the processes, and put the adapter beside them.

    Raises:
        ConfigError: The denoiser is no transformer, or has no such blocks.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import CPUOffloadPolicy, fully_shard

    denoiser: Any = model.denoiser
    blocks = _blocks(denoiser, sharding.blocks)
    whole = set(adapter.parameters())
    for parameter in whole:
        parameter.data = parameter.data.to(accelerator.device)
    kind = accelerator.device.type
    settings: dict[str, Any] = {
        "mesh": init_device_mesh(kind, (accelerator.num_processes,)),
        "ignored_params": whole,
        **({"offload_policy": CPUOffloadPolicy()} if sharding.offload else {}),
    }
    for block in blocks:
        fully_shard(block, reshard_after_forward=sharding.reshard, **settings)
    fully_shard(denoiser, **settings)


def _blocks(denoiser: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    from torch import nn

    if any(isinstance(m, nn.Conv2d) for p, m in denoiser.named_modules() if "blocks" in p):
        raise ConfigError(
            f"a {type(denoiser).__name__} cannot be spread (FSDP), only a transformer can",
            where=_WHERE,
            hint="distributed_type: MULTI_GPU",
        )
    own: Sequence[str] = getattr(denoiser, "_no_split_modules", None) or ()
    wanted = set(names or own)
    found = [module for module in denoiser.modules() if type(module).__name__ in wanted]
    missing = wanted - {type(module).__name__ for module in found}
    if missing or not found:
        raise ConfigError(
            f"the {type(denoiser).__name__} has no blocks called {', '.join(sorted(missing))!r}",
            where="fsdp_transformer_layer_cls_to_wrap in Accelerate's config",
            hint=f"leave it out, or {','.join(own)!r}",
        )
    return found


def exchange(parameters: Sequence[Parameter], processes: int) -> None:
    """Give every process the mean of all processes' gradients."""
    import torch
    from torch import distributed

    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return  # the loop refuses it, in every process
    together = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(together)
    together /= processes
    start = 0
    for gradient in gradients:
        gradient.copy_(together[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()
