"""What other trainers write for a number, a switch or a size, read leniently."""

from __future__ import annotations

import json
import math
import reprlib
import shlex
from collections.abc import Callable, Mapping
from typing import Any

Reader = Callable[[Any], Any]
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 120
_SHORT.maxlevel = 3


class UnreadableError(ValueError):
    """A value that cannot mean what its key is about."""


def is_unset(value: Any) -> bool:
    """Whether it says nothing: forms and headers write that as an empty text or None."""
    if isinstance(value, str):
        return value.strip().lower() in ("", "none", "null")
    return value is None or value in ([], {})


def number(value: Any) -> float:
    """A finite number, from a text too.

    Raises:
        UnreadableError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise UnreadableError(f"{shown(value)} is no number")
    try:
        found = float(value)
    except (ValueError, OverflowError):
        raise UnreadableError(f"{shown(value)} is no number") from None
    if not math.isfinite(found):
        raise UnreadableError(f"{shown(value)} is no number")
    return found


def whole(value: Any) -> int:
    """A whole number; 64.0 is one.

    Raises:
        UnreadableError: It is none.
    """
    found = number(value)
    if not found.is_integer():
        raise UnreadableError(f"{shown(value)} is no whole number")
    return int(found)


def flag(value: Any) -> bool:
    """True or false, as words or digits too.

    Raises:
        UnreadableError: It is neither.
    """
    word = str(value).strip().lower()
    if word in ("true", "1", "1.0", "yes", "on"):
        return True
    if word in ("false", "0", "0.0", "no", "off", "none", ""):
        return False
    raise UnreadableError(f"{shown(value)} is neither true nor false")


def text(value: Any) -> str:
    """A text.

    Raises:
        UnreadableError: It is a list or a table.
    """
    if isinstance(value, dict | list):
        raise UnreadableError(f"{shown(value)} is no text")
    return str(value).strip()


def one_of(choices: Mapping[str, Any], *, otherwise: str = "") -> Reader:
    """A reader that takes a word for what it stands for, in any case.

    Args:
        choices: Their words, lower case -> ours.
        otherwise: What to say of a word that is none of them.
    """

    def read(value: Any) -> Any:
        word = text(value).lower()
        if word not in choices:
            raise UnreadableError(f"{shown(value)}: {otherwise or 'there is no such choice here'}")
        return choices[word]

    return read


def numbers(value: Any) -> list[float]:
    """One number or several, from `512,768`, `(0.9, 0.99)` or a list.

    Raises:
        UnreadableError: One of them is none.
    """
    if isinstance(value, str):
        parts = value.strip("()[] ").replace("x", ",").split(",")
        return [number(part.strip()) for part in parts if part.strip()]
    return [number(part) for part in value] if isinstance(value, list | tuple) else [number(value)]


def side(value: Any) -> int:
    """The side of the square of the same area, a multiple of 8 px; of several, the largest.

    Raises:
        UnreadableError: It is no size.
    """
    found = numbers(value)
    if not found or min(found) <= 0:
        raise UnreadableError(f"{shown(value)} is no size")
    area = math.sqrt(found[0] * found[1]) if len(found) == 2 else max(found)
    return max(8, round(area / 8) * 8)


def options(value: Any) -> dict[str, Any]:
    """`name=value` pairs, from a list of them or one text; words without `=` are names."""
    words = split(value) if isinstance(value, str) else [str(word) for word in value or []]
    made: dict[str, Any] = {}
    for word in words:
        name, equals, told = word.partition("=")
        _put(made, name.strip().strip("\"'"), told.strip().strip("\"'") if equals else True)
    return made


def switches(value: str) -> dict[str, Any]:
    """`--name value` and `--flag` of a command line, which is not run; loose words are names."""
    made: dict[str, Any] = {}
    name, told = "", list[str]()
    for word in [*split(value), "--"]:
        if not word.startswith("--"):
            told.append(word)
            continue
        if name:
            _put(made, name, (told[0] if len(told) == 1 else list(told)) if told else True)
        else:
            for loose in told:
                _put(made, loose, True)
        name, equals, first = word[2:].partition("=")
        told = [first] if equals else []
    return made


def split(value: str) -> list[str]:
    """The words of a line as a shell has them; at blanks alone where quotes do not close."""
    try:
        return shlex.split(value)
    except ValueError:
        return value.split()


def packed(value: Any) -> Any:
    """What a text of JSON holds; the text itself where it is none."""
    if not isinstance(value, str) or len(value) > 1_000_000:
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def shown(value: Any) -> str:
    """A value in a few words, for an account."""
    if isinstance(value, str):
        one = " ".join(value.split())
        return repr(one if len(one) <= 100 else one[:97] + "...")
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "nothing"}[value]
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        some = ", ".join(shown(member)[:60] for member in value[:4])
        return f"[{some}]" if len(value) <= 4 else f"[{some}, ...: {len(value)}]"
    return _SHORT.repr(value)


def _put(table: dict[str, Any], name: str, value: Any) -> None:
    """Under its name, or under the next free one where that stands there already."""
    count, free = 1, name or "?"
    while free in table:
        count += 1
        free = f"{name}#{count}"
    table[free] = value
