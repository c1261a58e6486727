"""What a value from a file may be: numbers and texts that are neither damaged nor beyond JSON."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

_Test = Callable[[Any], bool]
_OUTCOMES = ("completed", "stopped", "failed")
_MOST = 2**53
"""Whole numbers from here on are damage: no reader of JSON has to hold them exactly."""


def _is_whole(value: Any) -> bool:
    return type(value) is int and abs(value) < _MOST


def is_real(value: Any) -> bool:
    """A number, or the null that stands for one that JSON does not have."""
    return value is None or _is_whole(value) or (type(value) is float and math.isfinite(value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


TESTS: dict[str, _Test] = {
    "int": _is_whole,
    "int | None": lambda value: value is None or _is_whole(value),
    "float": is_real,
    "float | None": is_real,
    "str": _is_text,
    "Status": lambda value: value in _OUTCOMES,
    "dict[str, float]": lambda value: (
        isinstance(value, dict) and all(v is not None and is_real(v) for v in value.values())
    ),
    "dict[str, str]": lambda value: isinstance(value, dict) and all(map(_is_text, value.values())),
}
"""Whether a value from a file is what a field of this annotation holds."""
