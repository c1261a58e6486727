"""What this machine can do, and the plan made from it: where weights go, in what format."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from trainer.core.errors import ConfigError

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "bf16", "fp16", "fp32"]
Bits = Literal["plain", "int8", "fp8", "nf4"]
"""How frozen weights are held."""

PRECISION = "number format (compute.precision)"
"""What a checkpoint and its errors call it."""
_MOST_TOGETHER, _PIXELS_TOGETHER = 4, 1024 * 1024
"""Pictures, and pixels of all of them, that a card encodes together."""
DEVICE, PRECISION_NAME = "SWEETSPOT_DEVICE", "SWEETSPOT_PRECISION"
"""Variables of the environment that say what "auto" means on this machine."""


@dataclass(frozen=True, slots=True)
class Thrift:
    """What is given up for memory.

    Attributes:
        base: How the denoiser's frozen weights are held.
        text: The same of the text encoders.
        double: Hold nf4's scales in 8 bits too.
        staged: Parts are read when they are first needed, and freed when they are not any more.
        offload: Share of the denoiser's blocks whose weights wait in main memory.
        recompute: Share of blocks whose activations are recomputed, when any are.
    """

    base: Bits = "plain"
    text: Bits = "plain"
    double: bool = True
    staged: bool = False
    offload: float = 0.0
    recompute: float = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a model is put and how it is kept.

    Attributes:
        device: "cpu", "cuda", "cuda:1", "mps".
        precision: Format of frozen weights and of the maths: "bf16", "fp16" or "fp32".
            What trains is always fp32.
        packed: Keep frozen weights in the layout that this CPU multiplies fastest.
        checkpointing: Recompute activations in the backward pass instead of keeping them.
        thrift: What is given up for memory.
        sharded: The denoiser is read into main memory, to be spread over several processes.
    """

    device: str
    precision: Literal["bf16", "fp16", "fp32"]
    packed: bool = False
    checkpointing: bool = False
    thrift: Thrift = Thrift()
    sharded: bool = False

    @property
    def format(self) -> str:
        """The number format in words, with that of weights held in fewer bits."""
        held = {"weights": self.thrift.base, "words": self.thrift.text}
        told = [f"{bits} {name}" for name, bits in held.items() if bits != "plain"]
        return self.precision + (f" with {' and '.join(told)}" if told else "")

    @property
    def words_format(self) -> str:
        """The number format of the text encoders, for keys of what they made."""
        bits = self.thrift.text
        doubled = "+" if bits == "nf4" and self.thrift.double else ""
        return self.precision if bits == "plain" else f"{self.precision}:{bits}{doubled}"

    @property
    def dtype(self) -> torch.dtype:
        """The torch format of the frozen weights."""
        import torch

        return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[
            self.precision
        ]


PLAIN = Thrift()


def plan(
    device: str,
    precision: Precision,
    *,
    packed: bool = False,
    checkpointing: bool = False,
    thrift: Thrift = PLAIN,
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
    if packed and thrift.base != "plain":
        raise ConfigError(
            f"packed weights are plain ones, and memory.base is {thrift.base!r}",
            where="compute.packed",
            hint="compute.packed = false",
        )
    return Plan(chosen, precision, packed, checkpointing, thrift)


def best_device() -> str:
    """What the environment names, else a CUDA card, else Apple's GPU, else the CPU."""
    import torch

    if os.environ.get(DEVICE):
        return os.environ[DEVICE]
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def best_precision(device: str) -> Literal["bf16", "fp16", "fp32"]:
    """What the environment names, else the 16-bit format the device multiplies fast, else fp32."""
    import torch

    match os.environ.get(PRECISION_NAME, ""), device.partition(":")[0] == "cpu":
        case "bf16" | "fp32" as told, _:
            return told
        case "fp16", False:
            return "fp16"
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


def pictures_together(device: str, area: int) -> int:
    """How many pictures of so many pixels are encoded, or rendered for the class, together."""
    return 1 if device == "cpu" else max(1, min(_MOST_TOGETHER, _PIXELS_TOGETHER // area))


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
    trim_memory()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def trim_memory() -> None:
    """Let the system have freed memory of this process back; costs next to nothing."""
    import sys

    if sys.platform == "linux":
        import ctypes

        # glibc keeps what is freed; of a text encoder that is a quarter of a GiB and more.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def memory_here(device: str) -> int:
    """Bytes that a run can use on the device now."""
    import psutil
    import torch

    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)
