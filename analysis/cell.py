"""What a sweep renders: checkpoints, and cells named by all that makes them.

It knows no folders of pictures; `gallery` keeps what was rendered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.core.errors import AdapterError, RunError
from trainer.core.events import Warned
from trainer.core.files import hash_file, hash_text
from trainer.weights.files import read

if TYPE_CHECKING:
    from trainer.core.events import Emit
    from trainer.job.run import Run
    from trainer.weights.files import LoraFile

FORMAT = "1"
"""Raised when the same facts would make another picture than before."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A LoRA file as one of those compared.

    Attributes:
        epoch: Its number among them: the epoch where the files tell one, else its place.
        label: What people call it.
        step: Optimizer steps done, where the file tells.
        digest: SHA-256 of the file.
    """

    epoch: int
    label: str
    path: Path
    step: int | None
    digest: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One picture to render. `epoch` 0 at strength 0 is the base model's own: the control."""

    epoch: int
    strength: float
    prompt: str
    seed: int

    @property
    def is_control(self) -> bool:
        """Whether it is the base model's own picture."""
        return self.epoch == 0


@dataclass(frozen=True, slots=True)
class Darkroom:
    """Everything but the cell itself that decides a picture.

    Attributes:
        base: Names of the base model's weights and scheduler.
        loras: SHA-256 of each checkpoint's file, by epoch.
        settings: Steps, guidance, size, negative prompt, sampler, precision.
        versions: Of the libraries that render.
    """

    base: tuple[str, ...]
    loras: Mapping[int, str]
    settings: Mapping[str, Any]
    versions: Mapping[str, str]

    def facts(self, cell: Cell) -> dict[str, Any]:
        """All that made the picture, as plain values."""
        return {
            "format": FORMAT,
            "base": list(self.base),
            "lora": self.loras.get(cell.epoch),
            **asdict(cell),
            **self.settings,
            "versions": dict(self.versions),
        }

    def name(self, cell: Cell) -> str:
        """The picture's file name: a hash of all that made it."""
        return hash_text(json.dumps(self.facts(cell), sort_keys=True))[:24] + ".png"


def of_run(run: Run, emit: Emit) -> list[Checkpoint]:
    """A run's LoRA files, by epoch. Of a file in two layouts, the first counts.

    Raises:
        RunError: It has none.
        AdapterError: None can be read.
    """
    found: dict[tuple[int, int], Path] = {}
    files = {file.path: file for file in _readable(sorted(run.lora.glob("*.safetensors")), emit)}
    for path, file in sorted(files.items(), key=lambda item: item[1].layout != "kohya"):
        found.setdefault((_number(file, "epoch") or 0, _number(file, "steps") or 0), path)
    if not found:
        raise RunError(
            "the run has no LoRA file yet", where=str(run.lora), hint="wait for its first epoch"
        )
    return _checkpoints([files[path] for _, path in sorted(found.items())])


def of_files(paths: Sequence[Path], emit: Emit) -> list[Checkpoint]:
    """LoRA files from anywhere, in the order given unless each tells another epoch.

    Raises:
        AdapterError: One stands there twice, or none can be read.
    """
    twice = [path for index, path in enumerate(paths) if path in paths[:index]]
    if twice:
        raise AdapterError("the file stands there twice", where=str(twice[0]))
    return _checkpoints(_readable(paths, emit))


def _readable(paths: Sequence[Path], emit: Emit) -> list[LoraFile]:
    """The files that can be used; what is wrong with the others is told.

    Raises:
        AdapterError: None can be used; of the first.
    """
    found, faults = [], []
    for path in paths:
        try:
            found.append(usable(path))
        except AdapterError as error:
            faults.append(error)
    if faults and not found:
        raise faults[0]
    for fault in faults:
        emit(Warned(f"{fault.where or 'a LoRA file'} is left out: {fault.problem}"))
    return found


def usable(path: Path) -> LoraFile:
    """A LoRA file whose numbers are all finite.

    Raises:
        AdapterError: It is damaged, none, or has NaN or infinity in it.
    """
    from safetensors import safe_open

    file = read(path)
    with safe_open(path, "pt") as content:
        for name in content.keys():  # noqa: SIM118 - it is no dict
            if not bool(content.get_tensor(name).float().isfinite().all()):
                raise AdapterError(
                    f"its tensor {name!r} holds NaN or infinity: the training diverged",
                    where=str(path),
                    hint="an earlier epoch",
                )
    return file


def _checkpoints(files: Sequence[LoraFile]) -> list[Checkpoint]:
    told = [_number(file, "epoch") or _epoch_of_name(file.path) for file in files]
    steps = [_number(file, "steps") for file in files]
    known = [epoch for epoch in told if epoch]
    by_epoch = len(set(known)) == len(files)
    epochs = known if by_epoch else list(range(1, len(files) + 1))
    made = [
        Checkpoint(
            epoch,
            f"epoch {epoch}" if by_epoch else label,
            file.path,
            step,
            hash_file(file.path),
        )
        for epoch, file, step, label in zip(epochs, files, steps, _labels(files), strict=True)
    ]
    return sorted(made, key=lambda checkpoint: checkpoint.epoch)


def _labels(files: Sequence[LoraFile]) -> list[str]:
    """Names of the files, with their folders' where names alone do not tell them apart."""
    names = [file.path.stem for file in files]
    if len(set(names)) == len(names):
        return names
    return [f"{file.path.parent.name}/{file.path.stem}" for file in files]


def _number(file: LoraFile, what: str) -> int | None:
    text = file.metadata.get(f"ss_{what}", "")
    return int(text) if text.isdigit() else None


def _epoch_of_name(path: Path) -> int | None:
    """The number that trainers put at the end of a file's name: `-e0004`, `_e9`, `-000004`."""
    match = re.search(r"(?:[-_ ]e(?:poch)?[-_ ]?(\d+)|-(0\d+))$", path.stem)
    return int(match[1] or match[2]) if match else None
