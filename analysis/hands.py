"""Starts the further processes of a sweep, each on a device of its own, and speaks with them.

A hand is `python -m analysis.hand`; a task goes to its standard input and an answer comes from
its standard output, a line of JSON each. When this process ends, however it does, that input
closes and the hand ends too: there is nobody left who could render anything twice.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

from analysis.crew import Crew, LostError
from trainer.core import device
from trainer.core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from analysis.crew import Task
    from analysis.sweep import Sweep
    from trainer.core.device import Plan
    from trainer.core.events import Emit

_PATIENCE = 10.0
"""Seconds for a hand that is ending to be gone."""

_GRACE = 1.0
"""The same for one that is let go; it may be ended at any moment."""


class Process:
    """A hand that is a process on this machine."""

    def __init__(self, folder: Path, where: str, precision: str, threads: int) -> None:
        asked = [str(folder), where, precision, str(threads)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "analysis.hand", *asked],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        self._listening = threading.Lock()

    def greet(self) -> None:
        self._hear()

    def ask(self, task: Task) -> Any:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(task) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise LostError(self._end()) from error
        return self._hear()

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):  # it is gone already
            self._process.stdin.close()
        self._end(_GRACE)
        with self._listening:
            self._process.stdout.close()

    def _hear(self) -> Any:
        assert self._process.stdout is not None
        with self._listening:
            line = self._process.stdout.readline()
        if not line.endswith("\n"):
            raise LostError(self._end())
        said = json.loads(line)
        if "problem" in said:
            raise LostError(said["problem"])
        return said["answer"]

    def _end(self, patience: float = _PATIENCE) -> str:
        """Wait for its end; how it ended, in words."""
        try:
            code = self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        return f"signal {-code} ended it" if code < 0 else f"it ended with exit code {code}"


def hire(sweep: Sweep, emit: Emit) -> Crew:
    """The processes that the sweep asks for, this one with them.

    On a CPU its threads are divided among them, this process's too.

    Raises:
        ConfigError: There are not so many devices.
    """
    config = sweep.config
    processes = config.analysis.processes or 1
    if processes == 1:
        return Crew()
    plan = device.plan(config.device, config.precision)
    places = _places(plan, processes)
    threads = _divide(processes) if plan.device == "cpu" else 0
    hands = [Process(sweep.path, place, plan.precision, threads) for place in places[1:]]
    return Crew(hands, emit)


def _places(plan: Plan, processes: int) -> list[str]:
    """The device of each process."""
    if plan.device == "cpu":
        return ["cpu"] * processes
    if plan.device != "cuda":
        raise ConfigError(
            f"{processes} processes are asked for, and {plan.device!r} is one device",
            where="analysis.processes",
            hint="1, or device 'cuda' for all cards from the first on",
        )
    import torch

    cards = torch.cuda.device_count()
    if processes > cards:
        raise ConfigError(
            f"{processes} processes are asked for, and this machine has {cards} cards",
            where="analysis.processes",
            hint=f"at most {cards}, one a card",
        )
    return [f"cuda:{number}" for number in range(processes)]


def _divide(processes: int) -> int:
    """How many threads each process has, from now on this one too."""
    import torch

    threads: int = max(1, torch.get_num_threads() // processes)
    torch.set_num_threads(threads)
    return threads
