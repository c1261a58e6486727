"""report.json as types, and how it is read (docs/report.md says what each field means).

It knows no page and no pictures. `findings` writes what is read here.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NotRequired

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from analysis.findings import NAME, VERSION
from trainer.core.errors import RunError

_AGAIN = "analyse again; pictures that are there are not rendered again"

Number = float | None
Key = tuple[int, float]
"""Epoch and strength."""


class Source(TypedDict):
    """What was analysed."""

    kind: str
    name: str


class Checkpoint(TypedDict):
    """An epoch on disk."""

    epoch: int
    label: str
    file: str
    step: int | None
    digest: NotRequired[str]


class Prompt(TypedDict):
    """What pictures were asked for; kind is "trigger" or "plain"."""

    text: str
    kind: str


class Metric(TypedDict):
    """What a metric's numbers mean."""

    name: str
    title: str
    axis: Literal["learned", "quality", "aside"]
    better: Literal["higher", "lower", "neither"]
    limits: list[Number]
    counts: str
    meaning: str
    distrust: str


class Control(TypedDict):
    """The base model's own picture of a prompt and seed, which are indices."""

    prompt: int
    seed: int
    picture: str | None
    status: str
    reason: str
    scores: dict[str, Number]


class OwnControl(TypedDict):
    """The base model's picture that one cell alone is compared with."""

    picture: str
    scores: dict[str, Number]


class Cell(Control):
    """A picture of the sweep."""

    epoch: int
    strength: float
    unscored: dict[str, str]
    control: NotRequired[OwnControl]


class Span(TypedDict):
    """A mean and its interval."""

    mean: Number
    low: Number
    high: Number


class Spot(TypedDict):
    """A setting."""

    epoch: int
    strength: float


class Judged(Spot):
    """A setting's judgements."""

    metrics: dict[str, Span]


class Summary(Judged):
    """A setting's means, and its paired differences to the base model."""

    difference: dict[str, Span]


class Vetoed(Spot):
    """A setting that is ruled out."""

    reasons: list[str]


class Chance(Spot):
    """How likely a setting is the very best."""

    p: float


class Copy(Spot):
    """A picture that repeats a training picture."""

    prompt: int
    seed: int
    training: str
    similarity: float


class Safe(TypedDict):
    """The strengths at which an epoch acts and holds its quality."""

    epoch: int
    low: float
    high: float


class Verdict(TypedDict):
    """What came out."""

    rule: str
    state: str
    choice: Spot | None
    headline: str
    sentences: list[str]
    tied: list[Spot]
    vetoed: list[Vetoed]
    chance: list[Chance]
    thin: str
    smallest_difference: Number
    overtrained_from: int | None
    trained: str
    copies: list[Copy]
    safe_strengths: list[Safe]
    learned_metric: str | None


@with_config(ConfigDict(allow_inf_nan=False))
class Told(TypedDict):
    """The whole of report.json."""

    version: int
    made: str
    title: str
    source: Source
    recipe: dict[str, Any]
    versions: dict[str, str]
    checkpoints: list[Checkpoint]
    strengths: list[float]
    prompts: list[Prompt]
    seeds: list[int]
    metrics: list[Metric]
    controls: list[Control]
    cells: list[Cell]
    summary: list[Summary]
    judged: list[Judged]
    judged_base: NotRequired[dict[str, Span]]
    verdict: Verdict
    references: dict[str, list[str]]


@functools.cache
def _adapter() -> TypeAdapter[Told]:
    return TypeAdapter(Told)


def read(folder: Path) -> Told:
    """The folder's report.json.

    Raises:
        RunError: It is missing, damaged, or of another version.
    """
    path = folder / NAME
    try:
        found = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(
            f"there is no {NAME} here", where=str(folder), hint="`sweetspot analyse` writes it"
        ) from None
    except OSError as error:
        raise RunError(
            f"the file cannot be read: {error.strerror or error}", where=str(path)
        ) from None
    except ValueError as error:
        raise RunError(f"the file is damaged: {error}", where=str(path), hint=_AGAIN) from None
    version = found.get("version") if isinstance(found, dict) else None
    if isinstance(version, int) and version != VERSION:
        raise RunError(
            f"the report is of version {version}, this Sweetspot reads version {VERSION}",
            where=str(path),
            hint="update Sweetspot" if version > VERSION else _AGAIN,
        )
    return _checked(found, path)


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is no number")


def _checked(found: Any, path: Path) -> Told:
    """The values, when they are those of a report.

    Raises:
        RunError: Something is missing, of another kind, or points nowhere.
    """
    try:
        told = _adapter().validate_python(found)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the top"
        problem = f"the file is damaged: {place}: {first['msg'].lower()}"
        raise RunError(problem, where=str(path), hint=_AGAIN) from None
    shots: Sequence[Control | Copy] = [
        *told["controls"],
        *told["cells"],
        *told["verdict"]["copies"],
    ]
    for shot in shots:
        known = (0 <= shot["prompt"] < len(told["prompts"]), 0 <= shot["seed"] < len(told["seeds"]))
        if not all(known):
            problem = (
                "the file is damaged: it tells of a picture of prompt "
                f"{shot['prompt']} and seed {shot['seed']}, which are not listed"
            )
            raise RunError(problem, where=str(path), hint=_AGAIN)
    return told


def as_cell(one: Control) -> Cell:
    """The base model's own picture as a cell: epoch 0 at strength 0."""
    return Cell(
        prompt=one["prompt"],
        seed=one["seed"],
        picture=one["picture"],
        status=one["status"],
        reason=one["reason"],
        scores=one["scores"],
        epoch=0,
        strength=0.0,
        unscored={},
    )


def key(spot: Spot) -> Key:
    """A setting to look things up by."""
    return spot["epoch"], spot["strength"]


def label_of(told: Told, epoch: int) -> str:
    """What an epoch is called."""
    labels = {c["epoch"]: c["label"] for c in told["checkpoints"]}
    return labels.get(epoch, f"epoch {epoch}")


def called(told: Told, epoch: int, strength: float) -> str:
    """A setting in words; finished pictures without an epoch have 0."""
    if not epoch:
        return f"strength {strength:g}"
    return f"{label_of(told, epoch)} at strength {strength:g}"


def shot_of(told: Told, one: Control | Copy) -> str:
    """A picture's prompt and seed in words."""
    return f"“{told['prompts'][one['prompt']]['text']}”, seed {told['seeds'][one['seed']]}"
