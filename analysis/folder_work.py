"""Scoring a folder of finished pictures as work in a folder of its own.

runs/sweeps/2026-11-26-fox/
    pictures.toml     what is asked
    events.jsonl, state.json, lock, stop     as in a run's folder
    report.json       numbers and verdict; the pictures stay where they are
    report.html       the same for people
"""

from __future__ import annotations

import logging
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from trainer.core import toml
from trainer.core.errors import STOPPED, RunError
from trainer.core.events import Decided, Emit, Ended, Preparing, write_to
from trainer.core.files import write_atomically
from trainer.core.process import StopRequest, ended_by, finish
from trainer.core.schema import Config, Folder, Knob, MaybeFolder
from trainer.core.work import WorkFolder, make_folder

_TITLE = "Finished pictures that Sweetspot scores."
_WHEN_FULL = "close other programs, and go on"


class PicturesConfig(Config):
    """What is asked of finished pictures."""

    folder: Annotated[Folder, Knob(private=True)]
    """Folder of pictures whose names tell epoch and strength."""

    control: Annotated[MaybeFolder, Knob(private=True)] = None
    """The base model's picture for all, or a folder of them."""

    pattern: str = ""
    """How names are made, like `e{epoch}_s{strength}_p{prompt}`; empty to find out."""

    dataset: Annotated[MaybeFolder, Knob(private=True)] = None
    """Pictures that were trained on, to find copies of them."""

    held_out: Annotated[MaybeFolder, Knob(private=True)] = None
    """Pictures of the same that were not trained on."""

    rule: Literal["sweetspot", "ancestor"] = "sweetspot"
    """How the choice is made."""

    metrics: Annotated[tuple[str, ...], Field(max_length=50)] = ()
    """What is measured; empty for all that pictures alone allow."""


@dataclass(frozen=True, slots=True)
class FolderWork(WorkFolder):
    """The folder where finished pictures are scored; the folder is the truth."""

    noun: ClassVar[str] = "sweep"
    worker: ClassVar[str] = "analysis.folder_work"
    again: ClassVar[str] = "sweetspot score"

    @classmethod
    def create(cls, config: PicturesConfig, root: Path, day: str) -> Self:
        """Make a new folder in `root`.

        Raises:
            DatasetError: The pictures cannot be placed.
            ResourceError: The place cannot be written.
        """
        from analysis.pictures import find

        find(config.folder, config.control, config.pattern)
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", config.folder.name).strip("-.") or "pictures"
        work = cls(make_folder(root.absolute(), f"{day}-{stem[:64]}", ()))
        write_atomically(work.config_path, toml.render(config, _TITLE))
        return work

    @property
    def config_path(self) -> Path:
        """What is asked, as TOML."""
        return self.path / "pictures.toml"

    @property
    def config(self) -> PicturesConfig:
        """What is asked."""
        return toml.load(PicturesConfig, self.config_path)


class _Stopped(Exception):  # noqa: N818 - it is no error
    """Somebody asked to stop."""


def score(work: FolderWork, emit: Emit, stop: StopRequest) -> int:
    """Score the pictures and write the report; the exit code.

    Raises:
        UserError: Whatever a person can mend.
    """
    import json

    from analysis.beside import Beside
    from analysis.folder import analyse_folder
    from analysis.pictures import find

    asked = work.config
    emit(Preparing("scan"))
    found = find(asked.folder, asked.control, asked.pattern)

    def progress(done: int, total: int) -> None:
        emit(Preparing("scores", done, total))
        if stop():
            raise _Stopped

    beside = Beside(asked.metrics, {}, asked.dataset, asked.held_out)
    *_, told, code = analyse_folder(
        found, rule=asked.rule, to=work.path, beside=beside, progress=progress
    )
    verdict = json.loads((work.path / "report.json").read_text(encoding="utf-8"))["verdict"]
    choice = verdict["choice"] or {"epoch": None, "strength": None}
    emit(Decided(verdict["state"], told[0], choice["epoch"], choice["strength"], "report.html"))
    return code


def main(folder: Path) -> int:
    """Score the pictures that `folder` asks for; return the exit code."""
    logging.basicConfig(level=logging.WARNING)
    work = FolderWork(folder.absolute())
    try:
        lock = work.lock_to_work()
    except RunError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    with lock:
        return finish(work, _work(work))


def _work(work: FolderWork) -> Ended:
    stop = StopRequest(work)
    try:
        work.claim()
        code = score(work, write_to(work.events_path), stop)
    except _Stopped:
        return Ended("stopped", exit_code=STOPPED)
    except Exception as error:  # the process border
        return ended_by(work, error, _WHEN_FULL)
    return Ended("completed", exit_code=code)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
