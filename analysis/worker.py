"""The process that does a sweep: `python -m analysis.worker FOLDER`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from analysis.sweep import Sweep
from trainer.core.errors import STOPPED, RunError
from trainer.core.events import Ended, write_to
from trainer.core.process import StopRequest, ended_by, finish

_WHEN_FULL = "resume with fewer pictures at once (analysis.together), or smaller ones"


def main(folder: Path) -> int:
    """Do the sweep in `folder`, rendering only what is missing; return the exit code."""
    logging.basicConfig(level=logging.WARNING)
    sweep = Sweep.open(folder)
    try:
        lock = sweep.lock_to_work()
    except RunError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    with lock:
        return finish(sweep, _work(sweep))


def _work(sweep: Sweep) -> Ended:
    stop = StopRequest(sweep)
    try:
        sweep.claim()
        from analysis.analyse import analyse
        from analysis.crew import StoppedError

        try:
            code = analyse(sweep, write_to(sweep.events_path), stop)
        except StoppedError:
            return Ended("stopped", exit_code=STOPPED)
    except Exception as error:  # the process border
        return ended_by(sweep, error, _WHEN_FULL)
    return Ended("completed", exit_code=code)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
