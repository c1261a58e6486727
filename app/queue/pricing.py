"""Prices of jobs, worked out by a process of their own: what they need is heavy to load."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from app.queue.store import Asked

MODULE = "app.queue.costs"


@dataclass(slots=True)
class Prices:
    """How far a process is.

    Attributes:
        found: A price for each job that was looked at, as `Price` has it.
        total: How many jobs there are.
        problem: Why it ended early.
    """

    total: int
    found: list[dict[str, Any]] = field(default_factory=list)
    ended: bool = False
    problem: str = ""


class Pricing:
    """Works out one list of jobs at a time; another list takes the place of the last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._number = 0
        self._prices = Prices(0)
        self._process: subprocess.Popen[str] | None = None

    def start(self, asked: Sequence[Asked]) -> int:
        """Begin; the number to ask with."""
        with self._lock:
            self._end()
            self._number += 1
            self._prices = Prices(len(asked))
            self._process = subprocess.Popen(
                [sys.executable, "-m", MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                env={**os.environ, "PYTHONSAFEPATH": "1", "PYTHONUTF8": "1"},
            )
            lines = "".join(json.dumps(asdict(one)) + "\n" for one in asked)
            told = (self._process, self._prices, lines)
            threading.Thread(target=_collect, args=told, daemon=True).start()
            return self._number

    def told(self, number: int) -> Prices | None:
        """How far the list of this number is; None when another took its place."""
        with self._lock:
            return self._prices if number == self._number else None

    def stop(self) -> None:
        """Nobody waits for it any more."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
        self._process = None


def _collect(process: subprocess.Popen[str], prices: Prices, lines: str) -> None:
    assert process.stdin is not None, "it is a pipe"
    assert process.stdout is not None, "it is a pipe"
    assert process.stderr is not None, "it is a pipe"
    said: list[str] = []
    listener = threading.Thread(target=lambda err=process.stderr: said.extend(err), daemon=True)
    listener.start()
    with contextlib.suppress(OSError, ValueError):  # it was ended, or died; what it said follows
        process.stdin.write(lines)
        process.stdin.close()
        for line in process.stdout:
            prices.found.append(json.loads(line))
    process.wait()
    listener.join(5)
    for pipe in (process.stdin, process.stdout, process.stderr):
        with contextlib.suppress(OSError):  # what was not written before it ended
            pipe.close()
    if len(prices.found) < prices.total:
        prices.problem = said[-1].strip() if said else "the process that works it out was ended"
    prices.ended = True
