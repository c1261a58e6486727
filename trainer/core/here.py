"""Work done in the process that asks for it: scripts and notebooks, where no worker is started.

The folder ends as a worker would leave it, whatever happens.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

from trainer.core.events import Emit, Ended, Event
from trainer.core.process import as_user_error, bug, failed, finish, quiet_libraries
from trainer.core.work import WorkFolder

Watch = Callable[[Event], None]
"""Told of every event as it happens."""
Do = Callable[[Emit, Callable[[], bool]], Ended]
"""The work itself: tells its events, asks whether to stop, and says how it ended."""
INTERRUPTED = 130
"""Exit code of work that was interrupted before it could save, as a shell has it."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Listeners:
    """Who is told of what happens.

    Attributes:
        emit: The folder's events file, and what depends on it.
        watch: The caller's own; what it raises ends the work.
    """

    emit: Emit
    watch: Watch | None = None

    def __call__(self, event: Event) -> None:
        self.emit(event)
        if self.watch is not None:
            self.watch(event)


def work_here(folder: WorkFolder, do: Do, tell: Listeners, *, hint_when_full: str) -> Ended:
    """Do the work of a folder, from where an earlier one ended; Ctrl-C asks it to stop.

    Args:
        folder: Nobody else may be working on it.
        do: The work.
        tell: Told of every event, and of the end.
        hint_when_full: What to do when the memory is too small.

    Raises:
        UserError: Whatever a person can mend; the folder tells of it too.
        KeyboardInterrupt: Ctrl-C came twice.
    """
    quiet_libraries()
    with folder.lock(), _Interrupts(folder) as stop:
        folder.forget_stop()
        folder.claim()
        try:
            ended = do(tell, stop)
        except KeyboardInterrupt:
            _close(folder, _interrupted(folder), tell)
            raise
        except Exception as error:  # a process border: the folder is closed, and the error goes on
            known = as_user_error(error, hint_when_full)
            end = bug(error, hint="report this") if known is None else failed(known)
            _close(folder, end, tell)
            if known is None or known is error:
                raise
            raise known from error
        _close(folder, ended, tell)
    return ended


def _close(folder: WorkFolder, ended: Ended, tell: Listeners) -> None:
    """The watcher comes last: whatever it raises, the folder is closed."""
    finish(folder, ended, tell.emit)
    if tell.watch is not None:
        tell.watch(ended)


class _Interrupts:
    """Whether somebody asked the work to stop: by Ctrl-C, or by a file in its folder.

    The second Ctrl-C interrupts at once. Outside of the main thread Python hears no signals, and
    the file is the only way.
    """

    def __init__(self, folder: WorkFolder) -> None:
        self._folder = folder
        self._asked = False
        self._before: Any = None

    def __enter__(self) -> _Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(self, *raised: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def __call__(self) -> bool:
        return self._asked or self._folder.stop_asked()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        logger.warning("stopping; the %s saves first (once more ends it)", self._folder.noun)


def _interrupted(folder: WorkFolder) -> Ended:
    return Ended(
        "failed",
        problem=f"the {folder.noun} was interrupted before it could save",
        hint=f"`{folder.again} {folder.path}` goes on from the last kept state",
        exit_code=INTERRUPTED,
    )
