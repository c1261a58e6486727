"""Who works at a queue, and whether they still do.

A worker of this machine is asked after by its process, which tells at once. Of another machine's
only the beats are seen: it is taken for dead when they have not changed for the length of a lease
by the clock of whoever looks, so that clocks that differ do no harm.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from app.alive import host, lives

LEASE_SECONDS = 90.0
BEAT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Holder:
    """A worker.

    Attributes:
        born: When its process was started, in seconds since the epoch.
        beat: A number that it raises while it lives.
        seen: When it was raised last, by the worker's clock.
    """

    id: int
    host: str
    pid: int
    born: float
    device: str
    beat: int
    seen: float

    @property
    def is_here(self) -> bool:
        """Whether it is, or was, a process that this machine can ask after."""
        return self.host == host()

    @property
    def lives(self) -> bool:
        """Whether its process does; only for a holder of this machine."""
        return lives(self.pid, self.born)


class Patience:
    """Watches workers of other machines; one that was silent for a whole lease is given up."""

    def __init__(self, lease: float) -> None:
        self._lease = lease
        self._heard: dict[int, tuple[int, float]] = {}

    def gave_up(self, holder: Holder) -> bool:
        """Whether the worker is gone."""
        if holder.is_here:
            return not holder.lives
        beat, since = self._heard.get(holder.id, (-1, 0.0))
        now = time.monotonic()
        if beat != holder.beat:
            self._heard[holder.id] = (holder.beat, now)
            return False
        return now - since > self._lease
