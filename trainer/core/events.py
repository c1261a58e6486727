"""What a run says while it runs: typed events, one JSON object a line.

The events file in a run's folder is the only channel between a worker process and
whoever watches it. A watcher that starts late, or starts again, reads it from the top.
After `Started(resumed_from=n)` the steps numbered above n are told again: the later
telling counts.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from trainer.core.files import plain_disk_errors
from trainer.core.plain import TESTS, is_real

Status = Literal["completed", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. A subclass is a kind of line in the file."""


@dataclass(frozen=True, slots=True)
class Preparing(Event):
    """Work before, between or after the steps.

    Attributes:
        phase: "scan", "load", "pictures", "captions", "class pictures", "proof"; of an analysis
            also "cells", "scores", "judgement", "report".
        done: How many of `total` pictures, captions or files are dealt with.
    """

    phase: str
    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Planned(Event):
    """What the run will do and need, in words, told before the model is loaded.

    Attributes:
        facts: Label -> sentence, in the order to show them.
    """

    facts: dict[str, str]


@dataclass(frozen=True, slots=True)
class Started(Event):
    """The run has its parts and is about to take steps `resumed_from + 1` to `steps`."""

    steps: int
    epochs: int
    images: int
    seed: int
    device: str
    precision: str
    trainable: int
    """Parameters that train."""
    modules: int
    """Modules that carry an adapter."""
    trains: str = ""
    """The same in words, by part of the model and kind of layer."""
    resumed_from: int = 0


@dataclass(frozen=True, slots=True)
class Stepped(Event):
    """One optimizer step is done.

    Attributes:
        seconds: Wall time of the step, by phase: "data", "forward", "backward", "update".
        gradient: Norm of the gradient before clipping; None for a step that fp16's gradient
            scaling skipped.
    """

    step: int
    epoch: int
    loss: float
    rate: float
    gradient: float | None
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Validated(Event):
    """The loss on held-out pictures, with the same noise and timesteps each time."""

    step: int
    epoch: int
    loss: float


@dataclass(frozen=True, slots=True)
class Sampled(Event):
    """A sample picture is in the run folder; `path` is relative to it."""

    step: int
    epoch: int
    prompt: str
    seed: int
    path: str


@dataclass(frozen=True, slots=True)
class Saved(Event):
    """A LoRA file is in the run folder; `path` is relative to it."""

    step: int
    epoch: int
    path: str


@dataclass(frozen=True, slots=True)
class Kept(Event):
    """The state to resume from is on disk, as of `step`."""

    step: int


@dataclass(frozen=True, slots=True)
class Warned(Event):
    """Something a person should know; the run goes on."""

    message: str


@dataclass(frozen=True, slots=True)
class Proven(Event):
    """The finished LoRA file was opened again and does what the trained model does.

    Attributes:
        moved: Mean absolute difference of a picture at strength 1 from strength 0, 0 to 255.
        difference: Largest difference from the trained model's own picture, 0 to 255.
    """

    path: str
    modules: int
    moved: float
    difference: float


@dataclass(frozen=True, slots=True)
class Rendered(Event):
    """A picture of a sweep is there; `path` is relative to its folder.

    Epoch 0 at strength 0 is the base model's own.
    """

    epoch: int
    strength: float
    prompt: str
    seed: int
    path: str


@dataclass(frozen=True, slots=True)
class Decided(Event):
    """What an analysis came to.

    Attributes:
        state: "chosen", "cannot tell apart", "nothing learned", ...
        headline: The verdict in one sentence.
        epoch: The chosen epoch; None when there is no choice.
        strength: The chosen strength.
        report: The page, relative to the folder.
    """

    state: str
    headline: str
    epoch: int | None
    strength: float | None
    report: str


@dataclass(frozen=True, slots=True)
class Ended(Event):
    """The last event of a worker process."""

    status: Status
    step: int = 0
    problem: str = ""
    where: str = ""
    hint: str = ""
    exit_code: int = 0


Emit = Callable[[Event], None]
KINDS: dict[str, type[Event]] = {
    kind.__name__: kind
    for kind in (
        Preparing,
        Planned,
        Started,
        Stepped,
        Validated,
        Sampled,
        Saved,
        Kept,
        Warned,
        Proven,
        Rendered,
        Decided,
        Ended,
    )
}


@dataclass(frozen=True, slots=True)
class Told:
    """An event and when it was told, in seconds since the epoch (Unix time)."""

    event: Event
    time: float


def write_to(path: Path) -> Emit:
    """An `Emit` that appends to the file at `path`, flushed line by line."""

    def emit(event: Event) -> None:
        line = {"kind": type(event).__name__, "time": round(time.time(), 3), **asdict(event)}
        text = json.dumps(_finite(line), allow_nan=False)
        with plain_disk_errors(path), path.open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    return emit


def _finite(value: Any) -> Any:
    """The same with null for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def end_last_line(path: Path) -> None:
    """Close a line that a killed process left half written, so that the next one stands alone.

    Raises:
        ResourceError: The disk is full, or the file cannot be written.
    """
    if path.is_file() and path.stat().st_size:
        with plain_disk_errors(path), path.open("rb+") as file:
            file.seek(-1, 2)
            if file.read(1) != b"\n":
                file.write(b"\n")


def parse(line: str) -> Told | None:
    """The event of one line; None for a half-written or damaged line or one of another version."""
    try:
        values: Any = _DECODER.decode(line)
    except (ValueError, RecursionError):
        return None
    name = values.pop("kind", "") if isinstance(values, dict) else None
    if not isinstance(name, str) or name not in KINDS:
        return None
    when = values.pop("time", 0.0)
    known = _TESTS_OF[name]
    kept = {name: value for name, value in values.items() if name in known}
    if not all(known[name](value) for name, value in kept.items()):
        return None
    try:
        return Told(KINDS[name](**kept), when if is_real(when) and when is not None else 0.0)
    except TypeError:
        return None


_DECODER = json.JSONDecoder(parse_constant=lambda name: None)
_TESTS_OF = {
    name: {each.name: TESTS[str(each.type)] for each in fields(kind)}
    for name, kind in KINDS.items()
}


def read(path: Path) -> Iterator[Told]:
    """The events so far, oldest first. A last line still being written is left for later."""
    return read_from(path, 0)


def read_from(path: Path, position: int) -> Iterator[Told]:
    """The events after so many bytes of the file."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        file.seek(position)
        for line in file:
            whole = line.endswith(b"\n")
            told = parse(line.decode("utf-8", errors="replace")) if whole else None
            if told is not None:
                yield told
