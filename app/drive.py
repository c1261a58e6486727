"""Brings a folder's work to its end, by one process at a time.

A process that a killed worker left behind is not a second one's to double: while it holds the
folder it is waited for, and what it said at its end counts as if it were ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from app import runner
from trainer.core.events import Ended, Event, Kept, Rendered, Told, read_from
from trainer.core.work import WorkFolder


@dataclass(frozen=True, slots=True)
class Cut:
    """The process ended without a word: killed, or the machine lost its power.

    Attributes:
        code: Its exit code, negative for a signal.
    """

    code: int

    @property
    def exit_code(self) -> int:
        """As a shell tells it."""
        return 128 - self.code if self.code < 0 else self.code or 1

    @property
    def how(self) -> str:
        """In words."""
        return f"by signal {-self.code}" if self.code < 0 else f"with exit code {self.code}"


@dataclass(frozen=True, slots=True)
class Hooks:
    """What whoever drives does meanwhile.

    Attributes:
        begin: Called with the bytes of events before a process is started.
        between: Called several times a second; what it raises ends the process at once.
        told: Called with each event as it comes.
    """

    begin: Callable[[int], None] = lambda size: None
    between: Callable[[], None] = lambda: None
    told: Callable[[Event], None] = lambda event: None


def drive(
    folder: WorkFolder, since: int | None, hooks: Hooks, *, processes: int = 1
) -> Ended | Cut:
    """Do the folder's work, or wait for the process that does.

    Args:
        folder: Whose.
        since: Bytes of its events before the process that was started last, when that may be at
            work, or may have ended without anybody taking note; None when there is no such one.
        hooks: What is done meanwhile.
        processes: How many share the work.
    """
    while True:
        while folder.busy():
            known = since if since is not None else folder.told
            word = _last_word(runner.attend(folder, skip=known, between=hooks.between), hooks)
            if word is not None:
                return word
        word = None if since is None else _last_word(read_from(folder.events_path, since), hooks)
        if word is not None:
            return word
        since = folder.told
        hooks.begin(since)
        ended = _started(folder, since, hooks, processes)
        if isinstance(ended, Ended) or not folder.busy():
            return ended


def progress(folder: WorkFolder) -> int:
    """How far the work has come that a new process would go on from; more is further."""
    steps = pictures = 0
    for told in folder.events():
        match told.event:
            case Kept(step=step):
                steps = max(steps, step)
            case Rendered():
                pictures += 1
    return steps + pictures


def _started(folder: WorkFolder, since: int, hooks: Hooks, processes: int) -> Ended | Cut:
    folder.forget_stop()
    process = runner.start(folder, processes, seen=since)
    try:
        events = runner.follow(folder, process, skip=since, between=hooks.between)
        word = _last_word(events, hooks)
    except BaseException:
        runner.kill(process)
        process.wait()
        raise
    return Cut(process.wait()) if word is None else word


def _last_word(events: Iterable[Told], hooks: Hooks) -> Ended | None:
    word: Ended | None = None
    for told in events:
        hooks.told(told.event)
        word = told.event if isinstance(told.event, Ended) else None
    return word
