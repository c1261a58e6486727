"""Looks at folders that go on while a page waits, so that none waits without seeing progress."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from app.dataset.glance import Headers, View, glance
from app.dataset.lens import Lens
from trainer.core.errors import UserError

PATIENCE = 0.8
"""Seconds in which most folders are looked at, so that their page waits once."""
_FORGOTTEN = 120.0
"""Seconds after which a look that nobody asked for again is dropped."""


@dataclass(slots=True)
class Look:
    """One look that has begun.

    Attributes:
        began: When, in seconds of `time.monotonic`.
        asked: When somebody last asked for it.
    """

    done: int = 0
    total: int = 0
    began: float = field(default_factory=time.monotonic)
    asked: float = field(default_factory=time.monotonic)
    view: View | None = None
    problem: Exception | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    def count(self, done: int, total: int) -> None:
        """Note how far it is."""
        self.done, self.total = done, total


class Looks:
    """One look at a time for each lens, whoever asks for it."""

    def __init__(self) -> None:
        self.headers = Headers()
        self._lock = threading.Lock()
        self._going: dict[tuple[str, str], Look] = {}

    def see(self, lens: Lens, locked: str = "") -> View | Look:
        """The folder, or how far the look at it is: ask again.

        Raises:
            UserError: What `glance` raises.
        """
        key = (lens.model_dump_json(), locked)
        with self._lock:
            self._drop_forgotten()
            look = self._going.get(key)
            if look is None:
                look = self._going[key] = Look()
                threading.Thread(target=self._do, args=(look, lens, locked), daemon=True).start()
            look.asked = time.monotonic()
        if not look.ended.wait(PATIENCE):
            return look
        with self._lock:
            self._going.pop(key, None)
        if look.view is None:
            assert look.problem is not None
            raise look.problem
        return look.view

    def _do(self, look: Look, lens: Lens, locked: str) -> None:
        try:
            look.view = glance(lens, self.headers, look.count, locked=locked)
        except UserError as error:
            look.problem = error
        except OSError as error:  # the folder went away meanwhile
            look.problem = UserError(f"the folder cannot be read: {error.strerror or error}")
        finally:
            look.problem = look.problem or (None if look.view else RuntimeError("the look broke"))
            look.ended.set()

    def _drop_forgotten(self) -> None:
        now = time.monotonic()
        for key, look in list(self._going.items()):
            if look.ended.is_set() and now - look.asked > _FORGOTTEN:
                del self._going[key]
