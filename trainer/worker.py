"""The process that does a run: `python -m trainer.worker FOLDER`.

One of the two process borders: here, and nowhere below, any exception becomes an `Ended`
event and an exit code (docs/exit-codes.md).
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType

from trainer.core.errors import BUG, COMPLETED, STOPPED, ResourceError, RunError, UserError
from trainer.core.events import Ended, write_to
from trainer.job.run import Run


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
        run.claim()
        emit = write_to(run.events_path)
        ended = _work(run)
        emit(ended)
        run.close(ended.status)
    return ended.exit_code


def _work(run: Run) -> Ended:
    stop = StopRequest(run)
    try:
        from trainer.train import train

        result = train(run, write_to(run.events_path), stop)
    except UserError as error:
        return _failed(error)
    except MemoryError:
        return _failed(_out_of_memory(""))
    except Exception as error:
        traceback.print_exc()
        if "out of memory" in str(error).lower() or "can't allocate memory" in str(error).lower():
            return _failed(_out_of_memory(str(error).splitlines()[0]))
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
    result = train(run, lambda event: None, stop)
    return COMPLETED if result.status == "completed" else STOPPED


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
        hint="compute.gradient_checkpointing = true, a smaller schedule.batch_size with more "
        "schedule.accumulate, or a smaller model.resolution; then resume",
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
