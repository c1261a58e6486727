"""Starts the process that renders when something waits for it, and gives up when it will not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from app.generate.studio import Outcome, Studio
from trainer.core.errors import RunError
from trainer.core.work import WorkFolder

_PATIENCE = 20.0
"""Seconds that a started process has to say that it is there."""
_TRIES = 3


class Waker:
    """One for a server; what it forgets when that ends is only how often it tried.

    Args:
        start: Starts a folder's process.
    """

    def __init__(self, start: Callable[[WorkFolder], None]) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._latest, self._tries, self._first = -_PATIENCE, 0, ""

    def wake(self, studio: Studio) -> bool:
        """Whether the process is there, or about to be; it is started where it is wanted."""
        if studio.status() == "running":
            self._tries = 0
            return True
        with self._lock:
            waiting = studio.waiting()
            if not waiting:
                return False
            if waiting[0].name != self._first:
                self._first, self._tries, self._latest = waiting[0].name, 0, -_PATIENCE
            if time.monotonic() - self._latest < _PATIENCE:
                return True
            if self._tries == _TRIES:
                log = studio.path / "worker.log"
                told = Outcome("failed", "the process that renders does not start", hint=str(log))
                studio.end(waiting[0], told)
                return False
            self._latest, self._tries = time.monotonic(), self._tries + 1
            try:
                self._start(studio)
            except RunError:  # another has just been started
                return True
        return True
