"""What a search varies: settings with lists or ranges of values, and the job of a trial.

    [search.space]
    "adapter.rank" = [4, 8, 16]
    "adapter.alpha" = "= adapter.rank"
    "optimizer.learning_rate" = { low = 1e-4, high = 1e-2, log = true }

The same on the command line: `--vary adapter.rank=4,8,16`,
`--vary optimizer.learning_rate=1e-4:1e-2:log`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import Field, field_validator

from trainer.core import toml
from trainer.core.errors import ConfigError
from trainer.core.schema import Config, FieldSpec, describe
from trainer.core.trees import Tree, flat, nested
from trainer.job.config import JobConfig
from trainer.job.layers import Layer, Layered, settle
from trainer.job.shareable import shareable

if TYPE_CHECKING:
    from optuna.trial import Trial

Value = int | float | str | bool
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
class Choices:
    """One of several values."""

    path: str
    values: tuple[Value, ...]

    def suggest(self, trial: Trial) -> Value:
        """The trial's value."""
        found: Any = trial.suggest_categorical(self.path, self.values)
        return cast("Value", found)

    def probes(self) -> Sequence[Value]:
        """Values that a job must be able to have."""
        return self.values

    def nearest(self, value: Any) -> Value | None:
        """The value as the search can try it; None when it cannot."""
        return value if value in self.values else None


@dataclass(frozen=True, slots=True)
class Range:
    """Any number from one to another."""

    path: str
    low: float
    high: float
    log: bool
    step: float | None
    whole: bool

    def suggest(self, trial: Trial) -> Value:
        """The trial's value."""
        if self.whole:
            step = 1 if self.log else int(self.step or 1)
            low, high = int(self.low), int(self.high)
            return trial.suggest_int(self.path, low, high, step=step, log=self.log)
        return trial.suggest_float(self.path, self.low, self.high, step=self.step, log=self.log)

    def probes(self) -> Sequence[Value]:
        """Values that a job must be able to have."""
        return [int(x) if self.whole else x for x in (self.low, self.high)]

    def nearest(self, value: Any) -> Value | None:
        """The value as the search can try it; None when it cannot."""
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return value if is_number and self.low <= value <= self.high else None


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
            axes.append(_axis(spec, words))
    varied = {axis.path for axis in axes}
    for path, other in follows.items():
        if other not in varied:
            raise ConfigError(f"it follows {other!r}, which does not vary", where=path)
    space = Space(tuple(axes), follows)
    _require_possible(space, job)
    return space


def _axis(spec: FieldSpec, words: Any) -> Choices | Range:
    where = f"search.space.{spec.path}"
    if isinstance(words, list):
        if len(words) < 2 or len(set(map(repr, words))) < len(words):
            raise ConfigError("needs two or more different values", where=where)
        return Choices(spec.path, tuple(words))
    numeric = spec.kind in ("whole", "real")
    if not isinstance(words, dict) or not numeric or not {"low", "high"} <= set(words):
        hint = "a list, or { low = ..., high = ... }" if numeric else "a list of values"
        raise ConfigError(f"{words!r} says no values", where=where, hint=hint)
    odd = set(words) - {"low", "high", "log", "step"}
    numbers = [words[name] for name in ("low", "high", "step") if name in words]
    if odd or any(isinstance(n, bool) or not isinstance(n, int | float) for n in numbers):
        raise ConfigError(
            f"{words!r} is no range", where=where, hint="low, high, and log = true or step"
        )
    low, high, log = words["low"], words["high"], bool(words.get("log"))
    if not low < high or (log and low <= 0) or (log and "step" in words):
        raise ConfigError(
            f"a range from {low} to {high} cannot be drawn from",
            where=where,
            hint="low below high; with log, low above 0 and no step",
        )
    return Range(spec.path, low, high, log, words.get("step"), spec.kind == "whole")


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
        more = {"log": True} if how == ["log"] else {"step": how[0]} if how else {}
        return {"low": low, "high": high, **more}
    return [toml.literal(part.strip()) for part in words.split(",")]
