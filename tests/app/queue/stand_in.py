"""Stands in for training where only processes matter: `python -m tests.app.queue.stand_in FOLDER`.

It locks, claims, tells and ends as the real worker does. A step is a line in `steps.log` beside the
run folders; what the job's name begins with says how it fares: `fail`, `slow`, `early` (killed by
itself before it does anything), `killed` (after each step), `once` (after the first step only);
else it takes three quick steps.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import tomllib
from pathlib import Path

from trainer.core.errors import STOPPED, DatasetError, RunError
from trainer.core.events import Ended, Kept, write_to
from trainer.core.process import StopRequest, failed, finish
from trainer.core.work import WorkFolder

STEPS = 3


def main(folder: Path) -> int:
    run = WorkFolder(folder)
    name = tomllib.loads((folder / "job.toml").read_text(encoding="utf-8"))["name"]
    try:
        lock = run.lock_to_work()
    except RunError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    with lock:
        return finish(run, _work(run, name))


def _work(run: WorkFolder, name: str) -> Ended:
    stop = StopRequest(run)
    run.claim()
    if name.startswith("fail"):
        return failed(DatasetError("there is no picture", where="pictures", hint="add some"))
    if name.startswith("early"):
        os.kill(os.getpid(), signal.SIGKILL)
    emit = write_to(run.events_path)
    done = sum(isinstance(told.event, Kept) for told in run.events())
    total = 40 if name.startswith("slow") else STEPS
    for step in range(done + 1, total + 1):
        if stop():
            return Ended("stopped", step=step - 1, exit_code=STOPPED)
        with (run.path.parent / "steps.log").open("a", encoding="utf-8") as log:
            log.write(f"{run.name} {step} {os.getpid()}\n")
        emit(Kept(step))
        if name.startswith("killed") or (name.startswith("once") and not done):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.1 if name.startswith("slow") else 0.01)
    return Ended("completed", step=total)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
