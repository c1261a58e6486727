"""The process that does a run: `python -m trainer.worker FOLDER`.

One of the two process borders: here, and nowhere below, any exception becomes an `Ended`
event and an exit code (docs/exit-codes.md).
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType

from trainer.core import errors
from trainer.core.errors import (
    BUG,
    COMPLETED,
    STOPPED,
    ResourceError,
    RunError,
    UserError,
    is_out_of_memory,
)
from trainer.core.events import Ended, end_last_line, write_to
from trainer.core.files import write_atomically
from trainer.job.run import Run

_PROBLEM = "problem.json"
"""Where a further process of a run leaves what it failed of, in the run's folder."""


class StopRequest:
    """Whether somebody asked the run to stop: by signal, or by a file in its folder."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._signalled = False
        for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True

    def __call__(self) -> bool:
        return self._signalled or self._run.stop_asked()


def main(folder: Path) -> int:
    """Do the run in `folder`, from its newest checkpoint if it has one; return the exit code."""
    logging.basicConfig(level=logging.WARNING)
    run = Run.open(folder)
    if int(os.environ.get("RANK", "0")) > 0:
        return _follow(run)
    try:
        lock = run.lock()
    except RunError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    with lock:
        (run.path / _PROBLEM).unlink(missing_ok=True)  # of an earlier attempt
        return _note(run, _work(run))


def _note(run: Run, ended: Ended) -> int:
    """Tell of the end and close the run, each even if the other fails; the exit code."""
    code = ended.exit_code
    for write in (_tell, _close):
        try:
            write(run, ended)
        except UserError as error:
            sys.stderr.write(f"{ended}\n{error}\n")
            code = ended.exit_code if ended.status == "failed" else error.exit_code
    return code


def _tell(run: Run, ended: Ended) -> None:
    end_last_line(run.events_path)
    write_to(run.events_path)(ended)


def _close(run: Run, ended: Ended) -> None:
    run.close(ended.status)


def _work(run: Run) -> Ended:
    stop = StopRequest(run)
    try:
        run.claim()
        from trainer.train import train

        result = train(run, write_to(run.events_path), stop)
    except UserError as error:
        return _failed(error)
    except Exception as error:
        traceback.print_exc()
        told = _told_by_another(run)
        if told is not None:
            return _failed(told)
        if is_out_of_memory(error):
            return _failed(_out_of_memory(str(error).partition("\n")[0]))
        return Ended(
            "failed",
            problem=f"{type(error).__name__}: {error}",
            where="Sweetspot itself",
            hint=f"report this with {run.path / 'worker.log'}",
            exit_code=BUG,
        )
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


def _failed(error: UserError) -> Ended:
    return Ended(
        "failed",
        problem=error.problem,
        where=error.where,
        hint=error.hint,
        exit_code=error.exit_code,
    )


def _out_of_memory(said: str) -> ResourceError:
    return ResourceError(
        f"the memory is full{f' ({said})' if said else ''}",
        hint="resume with `--set compute.gradient_checkpointing=true`, or start a new run with a "
        "smaller schedule.batch_size (and more schedule.accumulate) or model.resolution",
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
