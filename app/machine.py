"""What this machine computes with, measured in a process: torch stays out of the server.

`python -m app.machine` prints it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from trainer.core.device import DEVICE, PRECISION_NAME
from trainer.core.errors import ResourceError

_PATIENCE = 180.0
"""Seconds; torch's first import from a slow disk takes long."""


def look() -> list[dict[str, Any]]:
    """Devices as a person chooses between them: `name`, `words`, `precisions`; the best first.

    Raises:
        ResourceError: Torch does not start here.
    """
    env = {key: text for key, text in os.environ.items() if key not in (DEVICE, PRECISION_NAME)}
    line = [sys.executable, "-m", "app.machine"]
    try:
        done = subprocess.run(
            line, capture_output=True, text=True, timeout=_PATIENCE, check=True, env=env
        )
        found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    except (OSError, ValueError, IndexError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", "") or ""
        last = (str(said).strip().splitlines() or [str(error)])[-1]
        raise ResourceError(
            f"this machine's devices cannot be told: {last[:200]}",
            hint="python start.py setup, which mends a broken torch",
        ) from None
    return found


def measure() -> list[dict[str, Any]]:
    """The same in this process."""
    import torch

    from trainer.core.device import best_precision

    found: list[dict[str, Any]] = []
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for number in range(count):
        memory = torch.cuda.get_device_properties(number).total_memory / 2**30
        words = f"{torch.cuda.get_device_name(number)}, {memory:.0f} GiB"
        name = f"cuda:{number}" if number else "cuda"
        found.append({"name": name, "words": words, "precisions": ["bf16", "fp16", "fp32"]})
    if torch.backends.mps.is_available():
        found.append({"name": "mps", "words": "Apple GPU", "precisions": ["fp32", "bf16", "fp16"]})
    cores = os.cpu_count() or 1
    words = f"the processor, {cores} {'core' if cores == 1 else 'cores'}"
    found.append({"name": "cpu", "words": words, "precisions": ["fp32", "bf16"]})
    for each in found:
        each["best"] = best_precision(each["name"])
    return found


if __name__ == "__main__":
    print(json.dumps(measure()))  # noqa: T201
