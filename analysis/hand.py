"""A further process of a sweep: `python -m analysis.hand FOLDER DEVICE PRECISION THREADS`.

Started by `analysis.hands`, which sends tasks to standard input. It renders into the sweep's
gallery and answers the judge's questions; it tells no events and decides nothing.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.crew import Task
    from analysis.judgements.base import Shown
    from analysis.losses import Judge
    from analysis.studio import Studio


def main(folder: Path, where: str, precision: str, threads: int) -> int:
    """Do what comes, until the input ends; return the exit code."""
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if hasattr(signal, name):  # sent to a whole group: it ends when who started it lets it go
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not come between the answers
    tasks: queue.Queue[Task] = queue.Queue()
    threading.Thread(target=_listen, args=(tasks,), daemon=True).start()

    def say(**said: Any) -> None:
        answers.write(json.dumps(said) + "\n")
        answers.flush()

    try:
        bench = _bench(folder, where, precision, threads)
        say(answer="ready")
        while True:
            say(answer=bench.do(tasks.get()))
    except UserError as error:
        say(problem=str(error).replace("\n", " "))
        return error.exit_code
    except Exception as error:  # the process border
        traceback.print_exception(error)
        say(problem=f"{type(error).__name__}: {error}")
        return 1


def _listen(tasks: queue.Queue[Task]) -> None:
    """Take in tasks. The end of the input is the end of the process, whatever it is at.

    Nothing is left half done by that: a gallery holds whole passes only.
    """
    for line in sys.stdin:
        tasks.put(json.loads(line))
    os._exit(0)


@dataclass(slots=True)
class _Bench:
    """What a hand works with."""

    studio: Studio
    judge: Judge
    pictures: dict[str, Sequence[Shown]] = field(default_factory=dict)

    def do(self, task: Task) -> Any:
        """The answer to a task of the renderer or of the judge."""
        from analysis.cell import Cell
        from analysis.table import Setting

        if "cells" in task:
            return self.studio.renderer.develop([Cell(*cell) for cell in task["cells"]])
        name = task["judgement"]
        if name not in self.pictures:
            self.pictures = self._pictures()
        settings = [Setting(*setting) for setting in task["settings"]]
        asked = self.pictures[name]
        return self.judge.losses(name, settings, asked, task["picture"]).tolist()

    def _pictures(self) -> dict[str, Sequence[Shown]]:
        from analysis.judgements.base import judgements

        shelf = self.studio.shelf(lambda event: None)
        return {name: judgements[name].model_validate({}).pictures(shelf) for name in judgements}


def _bench(folder: Path, where: str, precision: str, threads: int) -> _Bench:
    import torch

    from analysis.studio import open_studio
    from analysis.sweep import Sweep

    if threads:
        torch.set_num_threads(threads)
    sweep = Sweep.open(folder)
    config = sweep.config.model_copy(update={"device": where, "precision": precision})
    studio = open_studio(sweep, config, lambda event: None)
    return _Bench(studio, studio.judge())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])))
