"""The process that does a run: `python -m trainer.worker FOLDER`."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

from trainer.api import WHEN_FULL
from trainer.core import errors
from trainer.core.errors import COMPLETED, STOPPED, RunError, UserError
from trainer.core.events import Emit, Ended, write_to
from trainer.core.files import write_atomically
from trainer.core.process import StopRequest, ended_by, failed, finish
from trainer.job.run import Run
from trainer.track import Tracked

_PROBLEM = "problem.json"
"""Where a further process of a run leaves what it failed of, in the run's folder."""


def main(folder: Path) -> int:
    """Do the run in `folder`, from its newest checkpoint if it has one; return the exit code."""
    logging.basicConfig(level=logging.WARNING)
    run = Run.open(folder)
    if int(os.environ.get("RANK", "0")) > 0:
        return _follow(run)
    try:
        lock = run.lock_to_work()
    except RunError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    with lock:
        (run.path / _PROBLEM).unlink(missing_ok=True)  # of an earlier attempt
        tell = Tracked(run, write_to(run.events_path))
        return finish(run, _work(run, tell), tell)


def _work(run: Run, emit: Emit) -> Ended:
    stop = StopRequest(run)
    try:
        run.claim()
        from trainer.train import train

        result = train(run, emit, stop)
    except UserError as error:
        return failed(error)
    except Exception as error:
        ended = ended_by(run, error, WHEN_FULL)
        told = _told_by_another(run)
        return failed(told) if told is not None else ended
    code = COMPLETED if result.status == "completed" else STOPPED
    return Ended(result.status, step=result.step, exit_code=code)


def _follow(run: Run) -> int:
    """A further process of the same run: it trains its share and says nothing."""
    from trainer.train import train

    stop = StopRequest(run)
    try:
        train(run, lambda event: None, stop, follows=True)
    except UserError as error:
        told = {"problem": error.problem, "where": error.where, "hint": error.hint}
        facts = {**told, "class": type(error).__name__}
        write_atomically(run.path / _PROBLEM, json.dumps(facts))
        return error.exit_code
    return COMPLETED


def _told_by_another(run: Run) -> UserError | None:
    """What another process of the run failed of, when the connection to it broke for that."""
    path = run.path / _PROBLEM
    if not path.is_file():
        return None
    facts = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    kind: type[UserError] = getattr(errors, facts["class"], UserError)
    return kind(facts["problem"], where=facts["where"], hint=facts["hint"])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
