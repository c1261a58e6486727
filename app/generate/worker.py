"""The process that renders what is asked for: `python -m app.generate.worker FOLDER`.

It keeps the model for some minutes after the last picture, for the next, and then ends.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from app.generate.recipe import chunks
from app.generate.studio import Outcome, Placed, Studio
from app.settings import load_settings
from trainer.core.errors import STOPPED, RunError, UserError
from trainer.core.events import Emit, Ended, Preparing, Rendered, write_to
from trainer.core.files import write_atomically
from trainer.core.process import (
    StopRequest,
    as_user_error,
    ended_by,
    finish,
    quiet_libraries,
)

if TYPE_CHECKING:
    from app.generate.bench import Bench

_LOOK_EACH = 0.25
"""Seconds between two looks for something to do."""
_WHEN_FULL = "smaller pictures, or close other programs"

logger = logging.getLogger(__name__)


def main(folder: Path) -> int:
    """Render what is asked for in `folder` until nothing is for some minutes; the exit code."""
    logging.basicConfig(level=logging.WARNING)
    quiet_libraries()
    studio = Studio(folder.absolute())
    stop = StopRequest(studio)
    try:
        lock = studio.lock()
    except RunError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    with lock:
        code = finish(studio, _work(studio, stop))
        while code == 0 and studio.waiting():  # asked for in its last instant
            code = finish(studio, _work(studio, stop))
        return code


def _work(studio: Studio, stop: StopRequest) -> Ended:
    try:
        studio.claim()
        studio.bury()
        return _serve(studio, stop)
    except Exception as error:  # the process border
        ended = ended_by(studio, error, _WHEN_FULL)
        for placed in studio.waiting():  # or each would start such a process again
            studio.end(placed, Outcome("failed", ended.problem, ended.where, ended.hint))
        return ended


def _serve(studio: Studio, stop: StopRequest) -> Ended:
    emit = write_to(studio.events_path)
    emit(Preparing("load"))
    from app.generate.bench import Bench  # after it was told that the process is there

    bench = Bench(emit)
    latest = time.monotonic()
    while not stop():
        waiting = studio.waiting()
        if waiting:
            studio.begin(waiting[0])
            studio.end(waiting[0], _outcome(studio, waiting[0], bench, emit, stop))
            emit(Preparing("idle"))
            latest = time.monotonic()
        elif time.monotonic() - latest > 60 * load_settings().keep_model:
            return Ended("completed")
        else:
            time.sleep(_LOOK_EACH)
    for placed in studio.waiting():
        studio.end(placed, Outcome("stopped"))
    return Ended("stopped", exit_code=STOPPED)


def _outcome(
    studio: Studio, placed: Placed, bench: Bench, emit: Emit, stop: StopRequest
) -> Outcome:
    """Render one order; whatever happens is its outcome, and the process goes on."""
    from app.generate.bench import CancelledError

    try:
        _fill(studio, placed, bench, emit, stop)
    except CancelledError:
        return Outcome("stopped")
    except Exception as error:  # a border: the next order may do better
        known = as_user_error(error, _WHEN_FULL)
        bench.clear()
        if known is None:
            logger.exception("an order failed")
            known = _bug(studio, error)
        return Outcome("failed", known.problem, known.where, known.hint)
    return Outcome("completed")


def _fill(studio: Studio, placed: Placed, bench: Bench, emit: Emit, stop: StopRequest) -> None:
    from trainer.data.prior import as_png

    order = placed.order

    def unwanted() -> bool:
        return stop() or placed.stop_asked()

    for number, (seed, picture, told) in enumerate(bench.render(order, unwanted), start=1):
        path = placed.path / f"{number:03d}-{seed}.png"
        if order.control:
            path = studio.control(order, seed)
        write_atomically(path, as_png(picture, chunks(told)))
        strength = order.loras[0].strength if order.loras else 0.0
        shown = path.relative_to(studio.path).as_posix()
        emit(Rendered(0, strength, order.prompt, seed, shown))


def _bug(studio: Studio, error: Exception) -> UserError:
    return UserError(
        f"{type(error).__name__}: {error}",
        where="Sweetspot itself",
        hint=f"report this with {studio.path / 'worker.log'}",
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
