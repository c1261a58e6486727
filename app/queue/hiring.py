"""Starting workers: processes of their own, which outlive whoever started them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from app import runner
from trainer.core.errors import ConfigError
from trainer.core.files import plain_disk_errors

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")
_SHOWN = 4_000
"""Bytes of a log's end that are looked at."""


def hire(queue: Path, device: str) -> subprocess.Popen[bytes]:
    """Start a worker that waits for jobs until it is asked to go.

    Raises:
        ConfigError: No device is called so.
        ResourceError: The queue's folder cannot be written.
    """
    if not _DEVICE.fullmatch(device):
        raise ConfigError(
            f"there is no device {device[:40]!r}", where="device", hint="auto, cpu, cuda:0, mps"
        )
    log = log_of(queue, device)
    with plain_disk_errors(log):
        queue.mkdir(parents=True, exist_ok=True)
        output = log.open("wb")
    words = ["-m", "app", "queue", "work", "--queue", str(queue), "--device", device, "--stay"]
    with output:
        return runner.keep(
            subprocess.Popen(
                [sys.executable, *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1"},
                start_new_session=os.name != "nt",
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
                | getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        )


def log_of(queue: Path, device: str) -> Path:
    """What the last worker that was started on a device says."""
    return queue / f"worker-{device.replace(':', '-')}.log"


def last_words(log: Path) -> str:
    """The end of what a worker said; its problem, when it had one."""
    if not log.is_file():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _SHOWN))
        lines = file.read().decode("utf-8", "replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    wrong = [n for n, line in enumerate(said) if line.startswith("error:")]
    return " ".join(said[wrong[-1] :] if wrong else said[-1:])[:600]
