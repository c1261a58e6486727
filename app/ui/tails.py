"""Folders of work as the pages show them: a summary of each, and what is new since a page asked.

Of a folder that is only listed, the head and the end of its events file are read, whatever its
length, and again only when it has changed. Whatever such a file holds, reading it does not fail.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from app.ui.shelf import Stamp, stamp_of
from trainer.core import events
from trainer.core.events import Told, parse
from trainer.core.work import WorkFolder

_END = 32_768
"""Bytes at the end of an events file that a summary reads."""
_FAR = 262_144
"""Bytes at its beginning, where the steps do not begin earlier."""
_LONGEST = 1_048_576
"""Bytes of a line; a longer one is no event."""
_SMOOTHING = 0.9
_STEP = b'{"kind": "Stepped"'
_SPEAKS = (_STEP, b'{"kind": "Rendered"')
_OFTEN = {
    _STEP: 20,
    b'{"kind": "Preparing"': 1,
    b'{"kind": "Sampled"': 1,
    b'{"kind": "Validated"': 0,
    b'{"kind": "Rendered"': 0,
    b'{"kind": "Kept"': 0,
}
"""How many of the last events of a kind a summary takes in."""


@dataclass(slots=True)
class Brief:
    """A folder of work in a row of a list.

    Attributes:
        status: As the folder says.
        phase: What is done now, outside of steps.
        done: How many of `total` pictures or files that phase has dealt with.
        step: Optimizer steps so far, of `steps`.
        left: Seconds until the steps are done, by the last ones; None when not known.
        pace: Seconds a step, smoothed over the last ones.
        loss: The last step's, smoothed over the ones before.
        rate: The last step's learning rate.
        headline: What an analysis came to.
        chosen: The epoch that an analysis chose; None where it chose none.
        problem: Why it failed, where, and what to try.
        sample: The latest sample picture, relative to the folder.
        files: LoRA files so far, as far as they were seen.
        began: When the first event was told, and the latest; in seconds since the epoch.
    """

    status: str = "waiting"
    phase: str = ""
    done: int = 0
    total: int = 0
    step: int = 0
    steps: int = 0
    epoch: int = 0
    left: float | None = None
    pace: float | None = None
    loss: float | None = None
    rate: float | None = None
    headline: str = ""
    chosen: int | None = None
    problem: str = ""
    where: str = ""
    hint: str = ""
    sample: str = ""
    files: int = 0
    began: float = 0.0
    latest: float = 0.0
    facts: dict[str, str] = field(default_factory=dict)

    def take(self, told: Told) -> None:
        """Take an event in."""
        self.began = self.began or told.time
        self.latest = told.time
        event = told.event
        match event:
            case events.Preparing(phase=phase, done=done, total=total):
                self.phase, self.done, self.total = phase, done, total
            case events.Started(steps=steps, resumed_from=step):
                self.steps, self.step, self.phase = steps, step, ""
                self.problem = self.where = self.hint = ""
            case events.Stepped():
                self._step(event)
            case events.Ended(problem=problem, where=where, hint=hint):
                self.problem, self.where, self.hint, self.phase = problem, where, hint, ""
            case _:
                self._note(event)

    def _note(self, event: events.Event) -> None:
        match event:
            case events.Planned(facts=facts):
                self.facts = facts
            case events.Sampled(path=path):
                self.sample = path
            case events.Saved(epoch=epoch):
                self.epoch, self.files = epoch, self.files + 1
            case events.Decided(headline=headline, epoch=epoch):
                self.headline, self.chosen = headline, epoch

    def _step(self, event: events.Stepped) -> None:
        self.step, self.epoch, self.rate, self.phase = event.step, event.epoch, event.rate, ""
        if event.loss is not None:
            self.loss = _mixed(self.loss, event.loss)
        self.pace = _mixed(self.pace, sum(event.seconds.values()))
        self.left = max(0, self.steps - event.step) * self.pace


def _mixed(old: float | None, new: float) -> float:
    return new if old is None else _SMOOTHING * old + (1 - _SMOOTHING) * new


class Tails:
    """The events of all folders that somebody looks at, kept while they grow."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._briefs: dict[Path, tuple[Stamp | None, Brief]] = {}

    def brief(self, work: WorkFolder, status: str = "") -> Brief:
        """The folder's summary; its file is read again only when it has changed.

        Args:
            work: Any.
            status: How it stands, where that is known already.
        """
        path = work.events_path
        stamp = stamp_of(str(path))
        with self._lock:
            known = self._briefs.get(work.path)
        if known is None or known[0] != stamp:
            known = (stamp, _read_brief(path, stamp[1] if stamp else 0))
            with self._lock:
                self._briefs[work.path] = known
        brief = known[1]
        brief.status = status or work.status()
        return brief

    def keep_only(self, paths: set[Path]) -> None:
        """Forget the folders that are there no more."""
        with self._lock:
            for path in self._briefs.keys() - paths:
                del self._briefs[path]


def since(work: WorkFolder, position: int) -> tuple[list[dict[str, Any]], int]:
    """Events after so many bytes, as plain values, and the position after them.

    A file that is shorter than it was is read from its beginning.
    """
    path = work.events_path
    stamp = stamp_of(str(path))
    if stamp is None or position > stamp[1]:
        position = 0
    found: list[dict[str, Any]] = []
    for line, end in lines(path, position):
        position = end
        told = parse(line.decode("utf-8", errors="replace"))
        if told is not None:
            found.append(plain(told))
    return found, position


def plain(told: Told) -> dict[str, Any]:
    """An event as the browser takes it."""
    event = told.event
    return {
        "kind": type(event).__name__,
        "time": told.time,
        **{each.name: getattr(event, each.name) for each in fields(event)},
    }


def lines(path: Path, position: int) -> Iterator[tuple[bytes, int]]:
    """Each whole line from a position on, and the position after it; overlong ones are empty."""
    try:
        file = path.open("rb")
    except OSError:
        return
    with file:
        file.seek(position)
        whole = True
        while line := file.readline(_LONGEST):
            ends = line.endswith(b"\n")
            if not ends and len(line) < _LONGEST:
                return
            position += len(line)
            if ends:
                yield (line if whole else b""), position
            whole = ends


def _read_brief(path: Path, size: int) -> Brief:
    brief = Brief()
    seen = 0
    for line, seen in lines(path, 0):
        _take(brief, line)
        if size - seen > _END and (line.startswith(_SPEAKS) or seen > _FAR):
            break
    if seen < size:
        _read_end(brief, path, max(seen, size - _END))
    return brief


def _read_end(brief: Brief, path: Path, position: int) -> None:
    """Take in what stands at the end of a file: of what is told often, only the last."""
    told = [line for line, _ in lines(path, position)]
    often = {kind: [n for n, line in enumerate(told) if line.startswith(kind)] for kind in _OFTEN}
    dull = {n for kind, found in often.items() for n in found[: max(0, len(found) - _OFTEN[kind])]}
    for number, line in enumerate(told):
        if number not in dull or number + 1 == len(told):
            _take(brief, line)


def _take(brief: Brief, line: bytes) -> None:
    told = parse(line.decode("utf-8", errors="replace"))
    if told is not None:
        brief.take(told)
