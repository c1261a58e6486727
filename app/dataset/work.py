"""What takes long over a folder, done by processes of their own that pages may leave.

HOME/checks/KEY/         damage and duplicates of one state of a folder's pictures
HOME/captioning/NAME/    captions for pictures, to be reviewed

task.json        what is asked
events.jsonl     how far it is (trainer/core/events.py)
found.jsonl      one result a line
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from app.dataset.glance import pictures_signature
from app.settings import home
from trainer.core.errors import RunError
from trainer.core.files import hash_text, plain_disk_errors, write_atomically
from trainer.core.work import WorkFolder, make_folder
from trainer.job.pictures import DatasetConfig

_TASK, _FOUND, _TAKEN = "task.json", "found.jsonl", "taken"
_LEAST_SIDE = 8


@dataclass(frozen=True, slots=True)
class Work(WorkFolder):
    """A task over a folder of pictures."""

    worker: ClassVar[str] = "app.dataset.worker"

    def task(self) -> dict[str, Any]:
        """What is asked.

        Raises:
            RunError: The folder is none of a task.
        """
        try:
            told: dict[str, Any] = json.loads((self.path / _TASK).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise RunError(f"there is no such {self.noun}", where=self.name) from None
        return told

    def tell(self, values: dict[str, Any]) -> None:
        """Add a result."""
        path = self.path / _FOUND
        with plain_disk_errors(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def found(self) -> Iterator[dict[str, Any]]:
        """The results so far; a line still being written is left for later."""
        path = self.path / _FOUND
        if not path.is_file():
            return
        with path.open(encoding="utf-8") as file:
            for line in file:
                if line.endswith("\n"):
                    yield json.loads(line)


@dataclass(frozen=True, slots=True)
class CheckWork(Work):
    """Every picture of a folder decoded, and compared with the others."""

    noun: ClassVar[str] = "check"

    @classmethod
    def of(cls, config: DatasetConfig) -> CheckWork:
        """The check of the folder's pictures as they are now; it may not have begun."""
        state = pictures_signature(config.folder)
        asked = (str(config.folder), config.background, str(config.max_megapixels))
        work = cls(home() / "checks" / hash_text(state, *asked)[:24])
        if not (work.path / _TASK).is_file():
            told = {"folder": asked[0], "background": asked[1]}
            task = {**told, "max_megapixels": config.max_megapixels}
            write_atomically(work.path / _TASK, json.dumps(task))
        return work

    def config(self) -> DatasetConfig:
        """The dataset to check; any cut will do."""
        return DatasetConfig.model_validate({**self.task(), "bucket_step": _LEAST_SIDE})


@dataclass(frozen=True, slots=True)
class CaptionWork(Work):
    """Captions for pictures by a model that looks at them."""

    noun: ClassVar[str] = "captioning"

    @classmethod
    def create(cls, folder: Path, names: list[str], settings: dict[str, Any]) -> CaptionWork:
        """Note what is asked.

        Args:
            folder: The dataset's.
            names: Pictures in it.
            settings: As `app.dataset.captioning` reads them.

        Raises:
            ResourceError: The app's folder cannot be written.
        """
        stem = f"{time.strftime('%Y-%m-%d-%H%M%S')}-{folder.name}"
        work = cls(make_folder(home() / "captioning", stem, ()))
        task = {"folder": str(folder), "names": names, "settings": settings}
        write_atomically(work.path / _TASK, json.dumps(task))
        return work

    @classmethod
    def open(cls, name: str) -> CaptionWork:
        """The one of this name.

        Raises:
            RunError: There is none.
        """
        path = home() / "captioning" / name
        if path.parent != home() / "captioning" or not (path / _TASK).is_file():
            raise RunError("there is no such captioning", where=name)
        return cls(path)

    @classmethod
    def of(cls, folder: Path) -> CaptionWork | None:
        """The newest for a dataset whose captions were not taken yet."""
        for path in sorted((home() / "captioning").glob(f"*/{_TASK}"), reverse=True):
            work = cls(path.parent)
            if not (work.path / _TAKEN).exists() and work.task()["folder"] == str(folder):
                return work
        return None

    def take(self) -> None:
        """Note that its captions were reviewed, or are not wanted."""
        write_atomically(self.path / _TAKEN, "")
