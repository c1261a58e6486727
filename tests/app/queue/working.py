"""A queue's worker whose runs are stand-ins: `python -m tests.app.queue.working QUEUE ...`.

With a spot it ends itself there as SIGKILL does; with a name it takes that for its machine's.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app import runner
from app.queue import claims, folders
from app.queue.store import Store
from app.queue.worker import Worker
from trainer.job.run import Run

SPOTS = ("claimed", "made", "starting", "launched", "running", "finishing")


def die(*given: Any, **named: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_after(act: Callable[..., Any]) -> Callable[..., Any]:
    def acting(*given: Any, **named: Any) -> None:
        act(*given, **named)
        die()

    return acting


def die_noting(act: Callable[..., Any], **what: str) -> Callable[..., Any]:
    def noting(store: Store, entry: Any, **changes: Any) -> Any:
        if what.items() <= changes.items():
            die()
        return act(store, entry, **changes)

    return noting


def arm(spot: str) -> None:
    match spot:
        case "claimed":
            folders.run_of = die
        case "made":
            claims.note = die_noting(claims.note, stage="starting")
        case "starting":
            runner.start = die
        case "launched":
            runner.start = die_after(runner.start)
        case "running":
            Worker._between = die
        case "finishing":
            claims.settle = die


def main(queue: str, spot: str = "", machine: str = "", lease: str = "90") -> int:
    Run.worker = "tests.app.queue.stand_in"
    if machine:
        socket.sethostname(machine)
    if spot:
        arm(spot)
    with Store(Path(queue)) as store:
        say = lambda words: print(words, flush=True)  # noqa: E731, T201
        worker = Worker(store, "cpu", say=say, share=True, lease=float(lease))
        return 0 if worker.work() else 75


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
