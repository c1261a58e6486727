"""A worker: takes one job after another, and brings each to its end.

It decides nothing about a job but what becomes of it in the queue. What it did not settle, because
it was killed, the next worker finds as it was left.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Literal

from app.drive import Cut, Hooks, drive, progress
from app.queue import claims, folders
from app.queue.claims import LostError, Settled
from app.queue.holder import BEAT_SECONDS, LEASE_SECONDS, Holder, Patience
from app.queue.store import Entry, Store
from trainer.core.errors import STOPPED, UserError
from trainer.core.events import Ended
from trainer.core.work import WorkFolder
from trainer.job.run import Run

MOST_CUTS = 3
"""How often a job that is cut off without coming further in between is taken up again."""
_LOOK_SECONDS = 1.0


class _LeftError(Exception):
    """Somebody wants the worker to go without waiting for its job."""


class Worker:
    """A process that works at a queue, on one device."""

    def __init__(
        self,
        store: Store,
        device: str,
        *,
        say: Callable[[str], None],
        share: bool = False,
        lease: float = LEASE_SECONDS,
    ) -> None:
        """Come in.

        Args:
            store: The queue.
            device: "cpu", "cuda:0", ...: what jobs that leave it open run on.
            say: Where it tells what it does, a line a fact.
            share: Come in though another worker is on the device.
            lease: Seconds of silence after which another machine's worker is given up.

        Raises:
            RunError: Another worker is on the device.
        """
        self._store, self._device, self._say = store, device, say
        self._me = claims.enter(store, device, share=share)
        self._patience = Patience(lease)
        self._asked = 0
        self._looked = self._beaten = time.monotonic()
        self._grumbled = ""
        self._left: list[str] = []
        self._stopped = False

    def work(self, *, stay: bool = False) -> bool:
        """Work until there is nothing left to do; False when somebody asked to stop before.

        Args:
            stay: Wait for further jobs instead of ending.
        """
        before = {name: signal.signal(name, self._ask) for name in (signal.SIGINT, signal.SIGTERM)}
        try:
            self._take_turns(stay=stay)
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)
        claims.leave(self._store, self._me)
        return not self._asked

    def _take_turns(self, *, stay: bool) -> None:
        while not self._asked and not claims.asked_to_leave(self._store, self._me.id):
            self._beat(None)
            entry = self._take()
            if entry is not None:
                self._do(entry)
            elif not stay and not self._something_is_left():
                self._tell_what_is_left()
                break
            else:
                if stay and not self._store.pause:
                    self._tell_what_is_left()
                time.sleep(_LOOK_SECONDS / 2)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked += 1
        if self._asked == 1:
            self._say("stopping; the job that runs saves first, and goes on with the next worker")
        elif self._asked == 2:
            self._say("once more ends it without saving")

    def _take(self) -> Entry | None:
        """A job whose worker is gone, else the next that waits."""
        if self._store.pause:
            self._grumble("the queue is paused; `sweetspot queue resume` goes on")
            return None
        for entry, holder in self._others():
            if holder is None or self._patience.gave_up(holder):
                taken = claims.take_over(self._store, self._me, entry)
                if taken is not None:
                    self._say(f"job {entry.id} {entry.name}: its worker is gone; taken up again")
                    return taken
        return claims.claim(self._store, self._me)

    def _others(self) -> list[tuple[Entry, Holder | None]]:
        fitting = claims.devices(self._device)
        return [pair for pair in claims.running(self._store) if pair[0].device in fitting]

    def _something_is_left(self) -> bool:
        fitting = claims.devices(self._device)
        waiting = ", ".join("?" * len(fitting))
        condition = f"state = 'queued' AND device IN ({waiting}) LIMIT 1"
        return bool(self._others() or self._store.select(condition, fitting))

    def _tell_what_is_left(self) -> None:
        """Name the jobs that no worker of today takes."""
        lines = claims.in_words(self._store, claims.left_waiting(self._store))
        if lines and lines != self._left:
            for line in lines:
                self._say(line)
        self._left = lines

    def _do(self, entry: Entry) -> None:
        began = "goes on" if entry.folder or entry.sweep else "begins"
        self._say(f"job {entry.id} {entry.name}: {began}")
        self._beaten, self._grumbled, self._stopped = time.monotonic(), "", False
        try:
            try:
                end = self._end_of(entry)
            except _LeftError:
                end = Settled("queued")
            except UserError as error:
                if error.where == str(self._store.path):  # it is the queue that cannot be written
                    raise
                end = Settled("failed", error.exit_code, error.problem, error.where, error.hint)
            claims.settle(self._store, entry, end, self._since_beat())
        except LostError:
            self._say(f"job {entry.id} {entry.name}: another worker has it by now; left to it")
            return
        why = f": {end.problem}" if end.problem else f": {end.verdict}" if end.verdict else ""
        state = "waits again" if end.state == "queued" else end.state
        self._say(f"job {entry.id} {entry.name}: {state}{why}")

    def _end_of(self, entry: Entry) -> Settled:
        if entry.driven and _is_cut(WorkFolder(Path(entry.driven))):
            entry, end = self._cut_off(entry, Path(entry.driven), None)
            if end is not None:
                return end
        text, device = self._store.text(entry.id), self._device
        if entry.kind == "analyse":
            return self._part(entry, "sweep", lambda: folders.sweep_of(entry, text, device))
        end = self._part(entry, "folder", lambda: folders.run_of(entry, text, device))
        if end.state != "completed":
            return end
        (entry,) = self._store.select("id = ?", (entry.id,))
        run = Run.open(Path(entry.folder))
        if not run.job.analysis.after_training:
            return end
        return self._part(entry, "sweep", lambda: folders.sweep_after(entry, run))

    def _part(
        self, entry: Entry, column: Literal["folder", "sweep"], make: Callable[[], WorkFolder]
    ) -> Settled:
        """Make the folder of a part of the job, or find it, and bring its work to its end."""
        folder = make()
        noted = claims.note(self._store, entry, stage="starting", **{column: str(folder.path)})
        if folder.status() == "completed" and not folder.busy():
            codes = [e.event.exit_code for e in folder.events() if isinstance(e.event, Ended)]
            return Settled("completed", codes[-1] if codes else 0, verdict=folders.verdict(folder))
        wished = None if folder.busy() else self._wished(noted)
        return wished or self._driven(noted, folder)

    def _driven(self, entry: Entry, folder: WorkFolder) -> Settled:
        stage = "training" if isinstance(folder, Run) else "analysing"
        processes = folder.job.compute.processes if isinstance(folder, Run) else 1
        since = entry.told if entry.driven == str(folder.path) else None

        def begin(told: int) -> None:
            claims.note(self._store, entry, stage=stage, driven=str(folder.path), told=told)

        hooks = Hooks(begin, lambda: self._between(entry, folder))
        if since is not None:
            claims.note(self._store, entry, stage=stage)
        while True:
            ended = drive(folder, since, hooks, processes=processes)
            if isinstance(ended, Ended):
                return self._settled(entry, folder, ended)
            entry, end = self._cut_off(entry, folder.path, ended)
            end = end or self._wished(entry)
            if end is not None:
                return end
            self._say(f"job {entry.id} {entry.name}: it ended {ended.how} without a word; resumed")
            since = None

    def _cut_off(self, entry: Entry, driven: Path, cut: Cut | None) -> tuple[Entry, Settled | None]:
        """Count that the job was cut off; how it ended when that was once too often."""
        now = progress(WorkFolder(driven))
        deaths = 1 if now > entry.progress else entry.deaths + 1
        entry = claims.note(self._store, entry, deaths=deaths, progress=now)
        if deaths <= MOST_CUTS:
            return entry, None
        how = f"its process ended {cut.how}" if cut else "its worker was gone"
        return entry, Settled(
            "failed",
            cut.exit_code if cut else None,
            f"it was cut off {deaths} times without coming further; the last time {how}",
            str(driven),
            f"look at {driven / 'worker.log'}, then `sweetspot queue retry {entry.id}`",
        )

    def _settled(self, entry: Entry, folder: WorkFolder, ended: Ended) -> Settled:
        match ended.status:
            case "completed":
                return Settled("completed", ended.exit_code, verdict=folders.verdict(folder))
            case "failed":
                return Settled("failed", ended.exit_code, ended.problem, ended.where, ended.hint)
        wished = self._wished(entry)
        if wished is None and folder.stop_asked() and not self._stopped:
            return Settled(
                "stopped", STOPPED, hint=f"`sweetspot queue retry {entry.id}` resumes it"
            )
        return wished or Settled("queued")

    def _wished(self, entry: Entry) -> Settled | None:
        """How a job leaves because somebody wants it to; None when nobody does."""
        if claims.look(self._store, entry) == "cancel":
            return Settled("cancelled")
        leaves = self._asked or claims.asked_to_leave(self._store, self._me.id) == "now"
        return Settled("queued") if leaves or self._store.pause == "now" else None

    def _between(self, entry: Entry, folder: WorkFolder) -> None:
        """Now and then while a job runs: a sign of life, and whether it is to stop."""
        if self._asked > 2:
            raise _LeftError
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        try:
            self._beat(entry)
            if self._wished(entry) is not None and not folder.stop_asked():
                folder.ask_to_stop()
                self._stopped = True
        except UserError as error:  # the queue cannot be written for now; the job can go on
            self._grumble(str(error))

    def _beat(self, entry: Entry | None) -> None:
        if time.monotonic() - self._beaten >= BEAT_SECONDS:
            claims.beat(self._store, self._me, entry, self._since_beat())

    def _since_beat(self) -> float:
        now = time.monotonic()
        passed, self._beaten = now - self._beaten, now
        return passed

    def _grumble(self, words: str) -> None:
        """Say something once, not each second."""
        if words != self._grumbled:
            self._grumbled = words
            self._say(words)


def _is_cut(folder: WorkFolder) -> bool:
    """Whether the process that was started here is gone without a word."""
    if not folder.path.is_dir() or folder.busy():
        return False
    return folder.status() in ("waiting", "running", "died")
