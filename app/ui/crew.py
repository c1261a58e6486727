"""Workers of the queue that this server started, until they are seen at work."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.queue import claims
from app.queue.hiring import hire, last_words, log_of
from app.queue.store import Store
from trainer.core.errors import RunError


class Crew:
    """What became of those that were started here; the others are found in the queue.

    Args:
        queue: Tells where the queue is.
    """

    def __init__(self, queue: Callable[[], Path]) -> None:
        self._queue = queue
        self._lock = threading.Lock()
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, device: str) -> None:
        """Start one for a device.

        Raises:
            RunError: One is starting for it already.
            ConfigError: No device is called so.
        """
        with self._lock:
            before = self._started.get(device)
            if before is not None and before.poll() is None:
                raise RunError(f"a worker on {device!r} is there already")
            self._started[device] = hire(self._queue(), device)

    def staff(self, store: Store, device: str) -> None:
        """Start one where nobody is there, or on the way, who would take a job of this device.

        Raises:
            ConfigError: No device is called so.
        """
        for holder in claims.holders(store).values():
            there = not holder.is_here or holder.lives
            fits = device in claims.devices(holder.device)
            if there and fits and not claims.asked_to_leave(store, holder.id):
                return
        with contextlib.suppress(RunError):
            self.start(device)

    def starting(self) -> list[dict[str, Any]]:
        """Those started here: the process, and how it ended when it did not end well."""
        with self._lock:
            found = {device: (p.pid, p.poll()) for device, p in self._started.items()}
            self._started = {d: p for d, p in self._started.items() if p.returncode != 0}
        return [
            {
                "device": device,
                "pid": pid,
                "code": code,
                "words": self._words(device, code) if code else "",
            }
            for device, (pid, code) in found.items()
            if code != 0
        ]

    def _words(self, device: str, code: int) -> str:
        """How one ended: by its own word, else by what ended it."""
        said = last_words(log_of(self._queue(), device))
        if said.startswith("error:"):
            return said.removeprefix("error:").strip()
        return f"something ended it (signal {-code})" if code < 0 else f"{said} (exit code {code})"
