"""A setting that varies: one of several values, or a range of numbers.

Knows nothing of the settings beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations
from random import Random
from typing import TYPE_CHECKING, Any, cast

from trainer.core.errors import ConfigError
from trainer.core.schema import FieldSpec

if TYPE_CHECKING:
    from optuna.trial import Trial

Value = int | float | str | bool
_OFF = 1e-8
"""Of a step: how far from its place a number may lie, which is Optuna's measure too."""


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
        return next((one for one in self.values if one == value), None)

    def count(self) -> int | None:
        """How many values there are."""
        return len(self.values)

    def draw(self, chance: Random) -> Value:
        """Any value, all as likely."""
        return chance.choice(self.values)


@dataclass(frozen=True, slots=True)
class Range:
    """Any number from one to another.

    Attributes:
        step: From a number to the next; None when all numbers between are meant.
    """

    path: str
    low: float
    high: float
    log: bool
    step: float | None
    whole: bool

    def suggest(self, trial: Trial) -> Value:
        """The trial's value."""
        if self.whole:
            step, low, high = int(self.step or 1), int(self.low), int(self.high)
            return trial.suggest_int(self.path, low, high, step=step, log=self.log)
        value = trial.suggest_float(self.path, self.low, self.high, step=self.step, log=self.log)
        return value if self.step is None else self._at(self._place(value))

    def probes(self) -> Sequence[Value]:
        """Values that a job must be able to have."""
        return [int(x) if self.whole else x for x in (self.low, self.high)]

    def nearest(self, value: Any) -> Value | None:
        """The value as the search can try it; None when it cannot."""
        if not _is_number(value) or not self.low <= value <= self.high:
            return None
        if self._stride is None:
            return float(value)
        found = self._at(self._place(value))
        return found if abs(found - value) <= _OFF * self._stride else None

    def count(self) -> int | None:
        """How many values there are; None when there is no end of them."""
        return None if self._stride is None else self._place(self.high) + 1

    def draw(self, chance: Random) -> Value:
        """Any value, all as likely; with `log`, all their logarithms."""
        count = self.count()
        if count is not None:
            return self._at(chance.randrange(count))
        if self.log:
            return math.exp(chance.uniform(math.log(self.low), math.log(self.high)))
        return chance.uniform(self.low, self.high)

    @property
    def _stride(self) -> float | None:
        return 1 if self.whole and self.step is None else self.step

    def _place(self, value: float) -> int:
        return round((_exact(value) - _exact(self.low)) / _exact(self._stride or 1))

    def _at(self, place: int) -> float:
        value = _exact(self.low) + place * _exact(self._stride or 1)
        return int(value) if self.whole else float(value)


def axis_of(spec: FieldSpec, words: Any) -> Choices | Range:
    """How a setting varies.

    Args:
        spec: The setting.
        words: A list of values, or a table of `low`, `high` and `log` or `step`. A range with a
            step ends at the last number that a step reaches.

    Raises:
        ConfigError: The words say no values of the setting, or only one.
    """
    where = f"search.space.{spec.path}"
    if isinstance(words, list):
        if len(words) < 2 or any(one == other for one, other in combinations(words, 2)):
            raise ConfigError("needs two or more different values", where=where)
        return Choices(spec.path, tuple(words))
    numeric, whole = spec.kind in ("whole", "real"), spec.kind == "whole"
    if not isinstance(words, dict) or not numeric or not {"low", "high"} <= set(words):
        hint = "a list, or { low = ..., high = ... }" if numeric else "a list of values"
        raise ConfigError(f"{words!r} says no values", where=where, hint=hint)
    _require_range(words, where, whole=whole)
    low, high, log = words["low"], words["high"], words.get("log", False)
    if "step" not in words:
        return Range(spec.path, low, high, log, None, whole)
    step = words["step"]
    last = (_exact(high) - _exact(low)) // _exact(step) * _exact(step) + _exact(low)
    return Range(spec.path, low, int(last) if whole else float(last), log, step, whole)


def _require_range(words: Mapping[str, Any], where: str, *, whole: bool) -> None:
    """Refuse a table whose numbers make no range."""
    odd = set(words) - {"low", "high", "log", "step"}
    numbers = [words[name] for name in ("low", "high", "step") if name in words]
    if odd or not all(_is_number(number) for number in numbers):
        raise ConfigError(
            f"{words!r} is no range", where=where, hint="low, high, and log = true or step"
        )
    log = words.get("log", False)
    if not isinstance(log, bool):
        raise ConfigError(
            f"log = {log!r} is neither true nor false", where=where, hint="log = true"
        )
    broken = [number for number in numbers if whole and number != int(number)]
    if broken:
        raise ConfigError(
            f"{broken[0]} is no whole number, which this setting needs",
            where=where,
            hint="whole numbers for low, high and step",
        )
    low, high = words["low"], words["high"]
    if not low < high or (log and low <= 0) or (log and "step" in words):
        raise ConfigError(
            f"a range from {low} to {high} cannot be drawn from",
            where=where,
            hint="low below high; with log, low above 0 and no step",
        )
    if "step" in words:
        _require_step(words["step"], low, high, where)


def _require_step(step: float, low: float, high: float, where: str) -> None:
    if step <= 0:
        raise ConfigError(
            f"a step of {step} is not above 0", where=where, hint="a step above 0, or none"
        )
    if _exact(step) > _exact(high) - _exact(low):
        raise ConfigError(
            f"a step of {step} is larger than the range from {low} to {high}",
            where=where,
            hint="a smaller step, or a list of values",
        )


def _is_number(value: Any) -> bool:
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return is_real and math.isfinite(value)


def _exact(number: float) -> Decimal:
    """As it is written, so that 0.1 and two steps of 0.1 make 0.3."""
    return Decimal(str(number))
