"""The two ends of a worker process: how it is asked to stop, and how it says how it ended.

One of the two process borders: whatever is raised becomes an `Ended` event and an exit code
(docs/exit-codes.md).
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType

from trainer.core.errors import (
    BUG,
    ResourceError,
    UserError,
    is_out_of_memory,
)
from trainer.core.events import Emit, Ended, end_last_line, write_to
from trainer.core.work import WorkFolder


def quiet_libraries() -> None:
    """Have the model libraries say errors only, unless their own variables ask for more."""
    for library in ("DIFFUSERS", "TRANSFORMERS"):
        os.environ.setdefault(f"{library}_VERBOSITY", "error")


class StopRequest:
    """Whether somebody asked the work to stop: by signal, or by a file in its folder."""

    def __init__(self, folder: WorkFolder) -> None:
        self._folder = folder
        self._signalled = False
        for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True

    def __call__(self) -> bool:
        return self._signalled or self._folder.stop_asked()


def ended_by(folder: WorkFolder, error: Exception, hint_when_full: str) -> Ended:
    """What an exception says of how the work ended.

    Args:
        folder: Names where the traceback is.
        error: What was raised.
        hint_when_full: What to do when the memory was too small.
    """
    known = as_user_error(error, hint_when_full)
    if known is not error:
        traceback.print_exception(error)
    if known is not None:
        return failed(known)
    return bug(error, hint=f"report this with {folder.path / 'worker.log'}")


def as_user_error(error: Exception, hint_when_full: str) -> UserError | None:
    """What of an exception a person can mend; None for a bug."""
    if isinstance(error, UserError):
        return error
    if not is_out_of_memory(error):
        return None
    said = str(error).partition("\n")[0]
    full = f"the memory is full{f' ({said})' if said else ''}"
    return ResourceError(full, hint=hint_when_full)


def bug(error: Exception, hint: str) -> Ended:
    """The end that something makes which should not happen."""
    return Ended(
        "failed",
        problem=f"{type(error).__name__}: {error}",
        where="Sweetspot itself",
        hint=hint,
        exit_code=BUG,
    )


def failed(error: UserError) -> Ended:
    """The end that a problem with a cure makes."""
    return Ended(
        "failed",
        problem=error.problem,
        where=error.where,
        hint=error.hint,
        exit_code=error.exit_code,
    )


def finish(folder: WorkFolder, ended: Ended, emit: Emit | None = None) -> int:
    """Tell of the end and close the folder, each even if the other fails; the exit code.

    Args:
        folder: What ends.
        ended: How.
        emit: Told of it; the folder's events file unless given.
    """
    code = ended.exit_code
    tell = emit or write_to(folder.events_path)
    closing: tuple[Callable[[], None], ...] = (
        lambda: _tell(folder, ended, tell),
        lambda: folder.close(ended.status),
    )
    for write in closing:
        try:
            write()
        except UserError as error:
            sys.stderr.write(f"{ended}\n{error}\n")
            code = ended.exit_code if ended.status == "failed" else error.exit_code
    return code


def _tell(folder: WorkFolder, ended: Ended, emit: Emit) -> None:
    end_last_line(folder.events_path)
    emit(ended)
