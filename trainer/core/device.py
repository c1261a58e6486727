"""What this machine can do, and the plan made from it: where weights go, in what format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from trainer.core.errors import ConfigError

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "bf16", "fp16", "fp32"]

PRECISION = "number format (compute.precision)"
"""What a checkpoint and its errors call it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a model is put and how it is kept.

    Attributes:
        device: "cpu", "cuda", "cuda:1", "mps".
        precision: Format of frozen weights and of the maths: "bf16", "fp16" or "fp32".
            What trains is always fp32.
        packed: Keep frozen weights in the layout that this CPU multiplies fastest.
        checkpointing: Recompute activations in the backward pass instead of keeping them.
    """

    device: str
    precision: Literal["bf16", "fp16", "fp32"]
    packed: bool = False
    checkpointing: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """The torch format of the frozen weights."""
        import torch

        return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[
            self.precision
        ]


def plan(
    device: str, precision: Precision, *, packed: bool = False, checkpointing: bool = False
) -> Plan:
    """Settle what "auto" means here and refuse what this machine cannot do.

    Raises:
        ConfigError: The device is absent, or cannot compute in this precision.
    """
    chosen = best_device() if device == "auto" else device
    _require(chosen)
    known = chosen.partition(":")[0]
    if precision == "auto":
        precision = best_precision(chosen)
    if precision == "fp16" and known == "cpu":
        raise ConfigError(
            "the CPU trains in 'bf16' or 'fp32', not in 'fp16'",
            where="compute.precision",
            hint=repr(best_precision(chosen)),
        )
    if packed and known != "cpu":
        raise ConfigError(
            f"packed weights are for the CPU, and the device is {chosen!r}",
            where="compute.packed",
            hint="compute.packed = false",
        )
    return Plan(chosen, precision, packed, checkpointing)


def best_device() -> str:
    """A CUDA card, else Apple's GPU, else the CPU."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def best_precision(device: str) -> Literal["bf16", "fp16", "fp32"]:
    """The 16-bit format the device multiplies fast; fp32 where it has none."""
    import torch

    match device.partition(":")[0]:
        case "cuda":
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
        case "cpu":
            return "bf16" if _cpu_has_bf16() else "fp32"
        case _:
            return "fp32"


def _cpu_has_bf16() -> bool:
    import torch

    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _require(device: str) -> None:
    import torch

    known = device.partition(":")[0]
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if known not in present:
        raise ConfigError(
            f"there is no device {device!r}", where="compute.device", hint="'auto', 'cpu' or 'cuda'"
        )
    if not present[known]:
        raise ConfigError(
            f"this machine has no working {known!r} device",
            where="compute.device",
            hint="'auto', or run `sweetspot doctor` to see why",
        )
    if known == "cuda" and device != "cuda":
        _require_card(device)


def _require_card(device: str) -> None:
    import torch

    number = device.partition(":")[2]
    count = torch.cuda.device_count()
    if not number.isdigit() or int(number) >= count:
        raise ConfigError(
            f"there is no card {device!r}; this machine has {count}",
            where="compute.device",
            hint="'cuda:0' is the first",
        )


def choose(device: str) -> None:
    """Make a card the one that libraries take when they are told no number."""
    import torch

    if device.startswith("cuda:"):
        torch.cuda.set_device(device)


def synchronise(device: str) -> None:
    """Wait until the device has done what it was given; for honest clocks."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def free_memory() -> None:
    """Give back what is no longer used, on the card too."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def memory_here(device: str) -> int:
    """Bytes that a run can use on the device now."""
    import psutil
    import torch

    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)
