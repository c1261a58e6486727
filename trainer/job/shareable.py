"""What of a job may be shared: a recipe's settings, and nothing of a person or a machine."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from trainer.core.errors import ConfigError
from trainer.core.schema import FieldSpec, describe
from trainer.core.trees import Tree, flat
from trainer.job.config import JobConfig

ON_REQUEST = (
    "model.base",
    "dataset.trigger",
    "dataset.class_word",
    "prior.prompt",
    "samples.prompts",
    "samples.negative",
    "analysis.prompts",
    "analysis.plain_prompts",
    "analysis.negative",
)
"""What is personal, and yet goes into a preset when its author asks for it."""

MAY_NAME_FILES = ("analysis.metrics",)
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w-]*(\.[\w-]+)*/[A-Za-z0-9][\w-]*(\.[\w-]+)*")
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode's categories of what is not seen, among it what turns the direction of writing."""
_JOINER = "\u200d"
"""Holds emoji of several parts together."""


def is_plain(text: str) -> bool:
    """Whether every character of it is seen, or a plain space."""
    return all(c == _JOINER or unicodedata.category(c) not in _INVISIBLE for c in text)


def shareable(spec: FieldSpec) -> bool:
    """Whether the setting is part of a recipe."""
    return spec.knob.recipe and not spec.knob.private and spec.kind != "path"


def is_public_base(base: str) -> bool:
    """Whether a base model is the one that ships, or is named as a hub names it."""
    return base == "demo" or bool(_HUB_NAME.fullmatch(base))


def require_shareable(settings: Tree) -> None:
    """Refuse settings that have no place in a preset.

    Raises:
        ConfigError: One is personal, names a file, or holds characters that cannot be seen.
    """
    told = {spec.path: spec for spec in describe(JobConfig)}
    for path, value in flat(settings).items():
        spec = told.get(path)
        if spec is not None and not shareable(spec) and path not in ON_REQUEST:
            raise ConfigError(
                "this setting is personal and has no place in a preset",
                where=path,
                hint="leave it out; whoever uses the preset sets it",
            )
        for word in _texts(value):
            if not is_plain(word):
                raise ConfigError(
                    f"it holds characters that cannot be seen: {word[:60]!r}", where=path
                )
            if path in MAY_NAME_FILES and names_a_file(word):
                raise ConfigError(f"{word!r} names a file of one machine", where=path)
        if path == "model.base" and not is_public_base(str(value)):
            raise ConfigError(
                f"{value!r} is neither 'demo' nor the name of a hub repository",
                where=path,
                hint="leave it out; whoever uses the preset sets it",
            )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)


def names_a_file(word: Any) -> bool:
    """Whether a metric's settings name a folder or a file."""
    return isinstance(word, str) and bool(re.search(r"[/\\~]|weights\s*=", word))


def active(values: dict[str, Any]) -> Iterator[FieldSpec]:
    """The settings that count in a job of these flat values: those of the kinds it chose."""
    for spec in describe(JobConfig):
        if spec.only_if is None or values.get(spec.only_if[0]) == spec.only_if[1]:
            yield spec
