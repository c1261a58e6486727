"""What a search varies: settings with lists or ranges of values, and the job of a trial.

    [search.space]
    "adapter.rank" = [4, 8, 16]
    "adapter.alpha" = "= adapter.rank"
    "optimizer.learning_rate" = { low = 1e-4, high = 1e-2, log = true }

The same on the command line: `--vary adapter.rank=4,8,16`,
`--vary optimizer.learning_rate=1e-4:1e-2:log`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, field_validator

from app.search.axis import Choices, Range, Value, axis_of
from trainer.core import toml
from trainer.core.errors import ConfigError
from trainer.core.schema import Config, describe
from trainer.core.trees import Tree, flat, nested
from trainer.job.config import JobConfig
from trainer.job.layers import Layer, Layered, settle
from trainer.job.shareable import shareable

if TYPE_CHECKING:
    from optuna.trial import Trial

_FOLLOWS = "="


class SearchConfig(Config):
    """The `[search]` of a file."""

    trials: Annotated[int, Field(ge=1, le=100_000)] = 12
    """Runs that try settings, over all workers."""

    finalists: Annotated[int, Field(ge=0, le=100)] = 2
    """The best of them that are trained again with other seeds, beside the job as it stood."""

    again: Annotated[int, Field(ge=0, le=100)] = 2
    """How often each; 0 trusts a single run."""

    startup: Annotated[int, Field(ge=0, le=1000)] = 4
    """Trials at random before the search learns from those that are done."""

    prune: bool = True
    """Stop a trial whose validation loss is worse than half of the others' at that point."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Of the search's own draws."""

    space: dict[str, Any]
    """What varies: lists of values, or tables of `low`, `high` and `log` or `step`."""

    presets: tuple[str, ...] = ()
    """Whose values are tried first, by name."""

    @field_validator("space")
    @classmethod
    def _something_varies(cls, space: dict[str, Any]) -> dict[str, Any]:
        if not space:
            raise ValueError("nothing varies")
        return space


@dataclass(frozen=True, slots=True)
class Space:
    """What varies, and what follows what varies.

    Attributes:
        axes: By the order they were written in.
        follows: A setting -> the one whose value it takes.
    """

    axes: tuple[Choices | Range, ...]
    follows: Mapping[str, str]

    def suggest(self, trial: Trial) -> dict[str, Value]:
        """A trial's settings by their paths, without those that follow."""
        return {axis.path: axis.suggest(trial) for axis in self.axes}

    def tree(self, values: Mapping[str, Value]) -> Tree:
        """A trial's settings as part of a job, those that follow among them."""
        more = {path: values[other] for path, other in self.follows.items()}
        return nested({**values, **more})

    def of(self, job: JobConfig) -> dict[str, Value] | None:
        """What a job has where the search varies; None when the search could not try it."""
        said = flat(job.model_dump(mode="json"))
        found = {axis.path: axis.nearest(said.get(axis.path)) for axis in self.axes}
        known = {path: value for path, value in found.items() if value is not None}
        return known if len(known) == len(found) else None

    def count(self) -> int | None:
        """How many settings there are to try; None when there is no end of them."""
        counts = [axis.count() for axis in self.axes]
        known = [count for count in counts if count is not None]
        return math.prod(known) if len(known) == len(counts) else None

    def draw(self, chance: Random) -> dict[str, Value]:
        """Any settings by their paths, without those that follow."""
        return {axis.path: axis.draw(chance) for axis in self.axes}


def key_of(values: Mapping[str, Value]) -> str:
    """The same for the same settings, and for no others."""
    return json.dumps(values, sort_keys=True)


def space_of(asked: Mapping[str, Any], job: Layered) -> Space:
    """The space of a file's or a command line's words.

    Args:
        asked: By setting: a list, a table, or `= other.setting`.
        job: What does not vary.

    Raises:
        ConfigError: A setting is none, cannot vary, or can never have such a value.
    """
    told = {spec.path: spec for spec in describe(JobConfig)}
    axes: list[Choices | Range] = []
    follows: dict[str, str] = {}
    for path, words in asked.items():
        spec = told.get(path)
        if spec is None or not shareable(spec):
            raise ConfigError(
                "there is no such setting" if spec is None else "this setting cannot vary",
                where=f"search.space.{path}",
                hint="docs/settings.md lists all settings",
            )
        if isinstance(words, str) and words.startswith(_FOLLOWS):
            follows[path] = words.removeprefix(_FOLLOWS).strip()
        else:
            axes.append(axis_of(spec, words))
    varied = {axis.path for axis in axes}
    for path, other in follows.items():
        if other not in varied:
            raise ConfigError(f"it follows {other!r}, which does not vary", where=path)
    space = Space(tuple(axes), follows)
    _require_possible(space, job)
    return space


def _require_possible(space: Space, job: Layered) -> None:
    """Each end and choice must make a job, with the first of the others."""
    first = {axis.path: axis.probes()[0] for axis in space.axes}
    for axis in space.axes:
        for value in axis.probes():
            trial = {**first, axis.path: value}
            settle([Layer("the job", _said(job)), Layer("search.space", space.tree(trial))])


def _said(job: Layered) -> Tree:
    """All values of a job, as a layer."""
    return nested({o.path: o.value for o in job.origins if o.value is not None})


def trial_layers(
    job: Layered, space: Space, values: Mapping[str, Value], name: str, shift: int = 0
) -> Layered:
    """The job of a trial.

    Args:
        job: What does not vary.
        space: What varies.
        values: A value for each setting of it.
        name: What the run is called.
        shift: Added to the job's seed.

    Raises:
        ConfigError: The values make no job together.
    """
    own: Tree = {"name": name}
    if shift:
        own["schedule"] = {"seed": ((job.job.schedule.seed or 0) + shift) % 2**31}
    return settle(
        [
            Layer("the job", _said(job)),
            Layer("search.space", space.tree(values)),
            Layer("the search", own),
        ]
    )


def words_of(asked: Iterable[str]) -> dict[str, Any]:
    """`--vary` options as a file's space.

    Raises:
        ConfigError: One is malformed.
    """
    found: dict[str, Any] = {}
    for option in asked:
        path, equals, words = option.partition("=")
        if not equals or not words.strip():
            raise ConfigError(
                f"{option!r} says no values",
                where="--vary",
                hint="adapter.rank=4,8,16 or optimizer.learning_rate=1e-4:1e-2:log",
            )
        found[path.strip()] = _words(words.strip())
    return found


def _words(words: str) -> Any:
    if words.startswith(_FOLLOWS):
        return words
    if ":" in words:
        low, high, *how = (toml.literal(part.strip()) for part in words.split(":"))
        if len(how) > 1:
            return words
        more = {"log": True} if how == ["log"] else {"step": how[0]} if how else {}
        return {"low": low, "high": high, **more}
    return [toml.literal(part.strip()) for part in words.split(",")]
