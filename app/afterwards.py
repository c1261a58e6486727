"""What comes after a run that was asked to be analysed: a process that waits for its end.

    python -m app.afterwards FOLDER

The app starts it beside the run's worker, and it outlives the app as that does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from app import runner
from trainer.core.files import plain_disk_errors
from trainer.job.run import Run

_PATIENCE = 600.0
"""Seconds in which the run's worker must have begun."""
_GLANCE = 0.5


def hire(run: Run) -> subprocess.Popen[bytes]:
    """Start the process that waits."""
    log = run.path / "afterwards.log"
    with plain_disk_errors(log):
        output = log.open("ab")
    with output:
        return runner.keep(
            subprocess.Popen(
                [sys.executable, "-m", "app.afterwards", str(run.path)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1"},
                start_new_session=os.name != "nt",
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
                | getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        )


def follow(run: Run) -> bool:
    """Wait for the run's end and start its analysis; whether it was completed."""
    deadline = time.monotonic() + _PATIENCE
    while not run.busy() and run.status() in ("waiting", "stopped", "died", "failed"):
        if time.monotonic() > deadline:
            return False
        time.sleep(_GLANCE)
    while run.busy():
        time.sleep(_GLANCE)
    if run.status() != "completed":
        return False
    from analysis.sweep import sweep_of_run

    runner.start(sweep_of_run(run, []))
    return True


if __name__ == "__main__":
    follow(Run.open(Path(sys.argv[1])))
