"""What this machine can do, and what to mend: `sweetspot doctor`."""

from __future__ import annotations

import functools
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

PACKAGES = (
    "torch",
    "diffusers",
    "transformers",
    "accelerate",
    "peft",
    "safetensors",
    "bitsandbytes",
)
_LITTLE_DISK = 5e9


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at.

    Attributes:
        state: "good", "note" (works, could be better) or "bad" (training will fail).
        words: What was seen.
        fix: What to do; empty when nothing needs doing.
    """

    what: str
    state: Literal["good", "note", "bad"]
    words: str
    fix: str = ""


def examine(runs: Path) -> Iterator[Finding]:
    """Look at everything, cheap things first.

    Args:
        runs: Where runs will be written.
    """
    probes: list[Callable[[], Iterator[Finding]]] = [
        _python,
        _packages,
        functools.partial(_disk, runs),
        _card,
        _speed,
        _eight_bit,
        _demo,
    ]
    for probe in probes:
        try:
            yield from probe()
        except (ImportError, OSError, RuntimeError, subprocess.TimeoutExpired) as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            named = getattr(probe, "func", probe)
            name = named.__name__.strip("_").replace("_", " ")
            yield Finding(name, "bad", first, "python start.py setup, which mends a broken torch")


def _python() -> Iterator[Finding]:
    yield Finding("python", "good", f"{platform.python_version()} on {platform.platform()}")


def _packages() -> Iterator[Finding]:
    for name in PACKAGES:
        try:
            yield Finding(name, "good", metadata.version(name))
        except metadata.PackageNotFoundError:
            optional = name == "bitsandbytes"
            yield Finding(
                name,
                "note" if optional else "bad",
                "not installed" + (" (8-bit optimizers need it)" if optional else ""),
                "python start.py setup cuda" if optional else "python start.py setup",
            )


def _disk(runs: Path) -> Iterator[Finding]:
    from trainer.core.files import free_space

    free = free_space(runs)
    low = free < _LITTLE_DISK
    yield Finding(
        "disk",
        "note" if low else "good",
        f"{free / 1e9:.1f} GB free at {runs}",
        "free some space, or set `runs` to another disk" if low else "",
    )


def _card() -> Iterator[Finding]:
    import torch

    card = _nvidia_card()
    if torch.cuda.is_available():
        major, minor = torch.cuda.get_device_capability()
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        name = torch.cuda.get_device_name()
        yield Finding("card", "good", f"{name}, {memory:.0f} GiB, compute {major}.{minor}")
    elif card:
        yield Finding(
            "card",
            "bad",
            f"{card} is here, but this torch ({torch.__version__}) cannot use it",
            "python start.py setup names the line that mends it; the driver must be current",
        )
    elif torch.backends.mps.is_available():
        yield Finding("card", "good", "Apple GPU through MPS")
    else:
        yield Finding("card", "note", "none; training runs on the CPU, which suits the demo model")


def _nvidia_card() -> str:
    """What nvidia-smi calls the first card; empty where there is none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    answer = subprocess.run(
        [tool, "--query-gpu=name", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    return answer.stdout.strip().splitlines()[0] if answer.returncode == 0 and answer.stdout else ""


def _speed() -> Iterator[Finding]:
    import torch

    from trainer.core.device import best_device, best_precision

    device = best_device()
    precision = best_precision(device)
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        side = 1024
        one = torch.ones(side, side, device=device, dtype=dtype, requires_grad=True)
        (one @ one).sum().backward()
        began = time.perf_counter()
        for _ in range(4):
            result = one @ one
        result[0, 0].item()
        rate = 4 * 2 * side**3 / (time.perf_counter() - began) / 1e12
        chosen = " (chosen)" if name == precision else ""
        yield Finding(name, "good", f"{rate:.2f} TFLOP/s on {device}{chosen}")


def _eight_bit() -> Iterator[Finding]:
    from trainer.core.device import best_device
    from trainer.optimizers.adamw import eight_bit_problem

    problem = eight_bit_problem(best_device())
    if problem is None:
        yield Finding("8-bit AdamW", "good", "took a step")
    else:
        yield Finding("8-bit AdamW", "note", f"not usable, plain AdamW takes its place: {problem}")


def _demo() -> Iterator[Finding]:
    from trainer.core.errors import ModelError
    from trainer.families.folder import ModelFolder

    try:
        folder = ModelFolder.find("demo", pipeline="StableDiffusionPipeline")
    except ModelError as error:
        yield Finding("demo model", "bad", error.problem, error.hint)
    else:
        size = sum(f.stat().st_size for f in folder.path.rglob("*.safetensors")) / 1e6
        yield Finding("demo model", "good", f"{size:.0f} MB, ready")
