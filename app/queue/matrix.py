"""A matrix: a job in which settings have several values, and the runs that come of it.

    [matrix]
    "adapter.rank" = [8, 16, 32]
    "optimizer.learning_rate" = [1e-4, 5e-4]

are six runs, each named after what differs: `fox-r8-lr1e-4`. Knows no setting.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trainer.core.errors import ConfigError
from trainer.core.trees import Tree, merge

TABLE = "matrix"
MOST_RUNS = 200
_LONGEST_NAME = 64
_LONGEST_VALUE = 16


@dataclass(frozen=True, slots=True)
class Variant:
    """One run of a matrix.

    Attributes:
        suffix: What it is told apart by, to go behind the job's name; empty for a matrix of one.
        values: The settings that the matrix gives it.
    """

    suffix: str
    values: Tree


def variants(matrix: object, *, most: int = MOST_RUNS) -> list[Variant]:
    """Every mix of the matrix's values, the last setting changing fastest.

    Raises:
        ConfigError: A setting has no list of values, or the same twice, or the runs are too many.
    """
    axes = _axes(matrix)
    count = math.prod(len(values) for values in axes.values())
    if count > most:
        sizes = " x ".join(str(len(values)) for values in axes.values())
        raise ConfigError(
            f"{sizes} = {count:,} runs are more than {most:,}",
            where=TABLE,
            hint=f"fewer values, or --most {count}",
        )
    told = {path: _told(values) for path, values in axes.items()}
    short = _short([path for path, values in axes.items() if len(values) > 1])
    return [
        Variant(
            "".join(
                f"-{short[p]}{told[p][n]}" for p, n in zip(axes, mix, strict=True) if p in short
            ),
            _tree({p: axes[p][n] for p, n in zip(axes, mix, strict=True)}),
        )
        for mix in itertools.product(*(range(len(values)) for values in axes.values()))
    ]


def named(name: str, found: list[Variant]) -> list[str]:
    """The runs' names, each short enough for a file, and none twice."""
    suffixes = [variant.suffix for variant in found]
    fit = all(len(name + suffix) <= _LONGEST_NAME for suffix in suffixes)
    if not fit or len(set(suffixes)) < len(suffixes):
        width = len(str(len(found)))
        suffixes = [f"-{number:0{width}}" for number in range(1, len(found) + 1)]
    longest = max(map(len, suffixes))
    return [f"{name[: _LONGEST_NAME - longest]}{suffix}" for suffix in suffixes]


def _axes(matrix: object) -> dict[str, list[Any]]:
    axes: dict[str, list[Any]] = {}
    if not isinstance(matrix, dict) or not matrix:
        raise ConfigError(
            "there is no setting in it", where=TABLE, hint='like "adapter.rank" = [8, 16]'
        )
    for path, values in _leaves(matrix):
        if not isinstance(values, list) or not values:
            raise ConfigError(
                f"needs a list of values, and is {values!r}",
                where=f"{TABLE}.{path}",
                hint=f'"{path}" = [{values!r}, ...]' if values != [] else f'"{path}" = [8, 16]',
            )
        twice = next((v for n, v in enumerate(values) if v in values[:n]), None)
        if twice is not None:
            raise ConfigError(f"{twice!r} stands there twice", where=f"{TABLE}.{path}")
        if path in axes:
            raise ConfigError("stands there twice", where=f"{TABLE}.{path}")
        axes[path] = values
    return axes


def _leaves(tree: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted paths and what stands there; a table inside is a section."""
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _tree(values: Mapping[str, Any]) -> Tree:
    """Nested values of dotted ones."""
    tree: Tree = {}
    for path, value in values.items():
        for section in reversed(path.split(".")):
            value = {section: value}
        tree = merge(tree, value)
    return tree


def _short(paths: list[str]) -> dict[str, str]:
    """A short word for each setting: initials, else its name, else its whole path."""
    short: dict[str, str] = {}
    for path in paths:
        choices = [_initials(path), path.rsplit(".", maxsplit=1)[-1], path.replace(".", "-")]
        others = [other for other in paths if other != path]
        rivals = [
            {_initials(o) for o in others},
            {o.rsplit(".", maxsplit=1)[-1] for o in others},
            set[str](),
        ]
        short[path] = next(c for c, taken in zip(choices, rivals, strict=True) if c not in taken)
    return short


def _initials(path: str) -> str:
    return "".join(word[0] for word in path.rsplit(".", maxsplit=1)[-1].split("_") if word)


def _told(values: list[Any]) -> list[str]:
    """Each value as a file name may hold it; numbered where that does not tell them apart."""
    told = [_plain(value) for value in values]
    fits = len(set(told)) == len(told) and all(0 < len(text) <= _LONGEST_VALUE for text in told)
    return told if fits else [str(number) for number in range(1, len(values) + 1)]


def _plain(value: Any) -> str:
    match value:
        case bool():
            return "-on" if value else "-off"
        case int() | float():
            return _number(value)
        case list():
            return "x".join(_plain(inner) for inner in value)
    last = re.split(r"[/\\]", str(value).rstrip("/\\"))[-1]
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("-.")
    return f"-{cleaned}" if cleaned else ""


def _number(value: float) -> str:
    """8, 0.5, 1e-4."""
    if value == 0 or 0.01 <= abs(value) < 1e6:
        return f"{value:.10g}"
    mantissa, exponent = f"{value:.9e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
