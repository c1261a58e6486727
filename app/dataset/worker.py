"""The process of a task over a folder: `python -m app.dataset.worker FOLDER`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from app.dataset.work import CaptionWork, CheckWork, Work
from trainer.core.errors import COMPLETED, STOPPED, RunError
from trainer.core.events import Ended, Preparing, write_to
from trainer.core.process import StopRequest, ended_by, finish, quiet_libraries

_WHEN_FULL = "close other programs, or take smaller weights"


def main(folder: Path) -> int:
    """Do the task in `folder`; return the exit code."""
    logging.basicConfig(level=logging.WARNING)
    quiet_libraries()
    work = CaptionWork(folder) if folder.parent.name == "captioning" else CheckWork(folder)
    try:
        lock = work.lock_to_work()
    except RunError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    with lock:
        return finish(work, _work(work))


def _work(work: Work) -> Ended:
    stop = StopRequest(work)
    try:
        work.claim()
        done = _describe(work, stop) if isinstance(work, CaptionWork) else _check(work)
    except Exception as error:  # the process border
        return ended_by(work, error, _WHEN_FULL)
    return Ended("completed", exit_code=COMPLETED) if done else Ended("stopped", exit_code=STOPPED)


def _check(work: Work) -> bool:
    from trainer.data.check import check

    assert isinstance(work, CheckWork)
    emit = write_to(work.events_path)
    config = work.config()
    report = check(
        config,
        resolution=512,
        step=8,
        progress=lambda done, total: emit(Preparing("scan", done, total)),
    )
    damaged = set(report.damaged)
    for problem in report.problems:
        path = Path(problem["path"])
        if path.name in damaged and path.is_relative_to(config.folder):
            name = path.relative_to(config.folder).as_posix()
            work.tell({"damaged": name, "what": problem["what"], "hint": problem["hint"]})
    for kind, groups in (("same", report.duplicates), ("alike", report.near_duplicates)):
        for group in groups:
            work.tell({"group": kind, "names": list(group)})
    return True


def _describe(work: CaptionWork, stop: StopRequest) -> bool:
    from app.dataset.captioning import describe

    return describe(work, write_to(work.events_path), stop)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
