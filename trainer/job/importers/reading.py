"""A settings file becomes plain values, whatever it is written in, and without trust.

Nothing in it is run, followed or built: JSON, TOML and safe YAML give texts, numbers, lists and
tables. Knows no trainer.
"""

from __future__ import annotations

import json
import struct
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from trainer.core.errors import ConfigError

MOST_BYTES = 5_000_000
MOST_KEYS = 20_000
MOST_ALIASES = 50
MOST_DEPTH = 32
_LARGEST_HEADER = 100_000_000
"""Bytes; the safetensors library's own limit."""

Key = tuple[str, ...]
"""Where a value stands: names of tables, and numbers of lists' members."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a file holds.

    Attributes:
        tree: Its values.
        form: What it is written in; "header" is that of a safetensors file.
        repeated: Names that stand twice in one table, with what the first one said.
    """

    path: Path
    tree: Any
    form: str
    repeated: tuple[tuple[str, Any], ...] = ()


def read(path: Path) -> Source:
    """Read a JSON, TOML or YAML file, or the header of a safetensors file.

    Raises:
        ConfigError: It is none of these, damaged, too large, or made to fill the memory.
    """
    try:
        with path.open("rb") as file:
            start = file.read(16)
            if len(start) > 8 and start[8:9] == b"{" and start[:1] != b"{":
                return Source(path, _header(path, start[:8]), "header")
            content = start + file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError("there is no such file", where=str(path)) from None
    except IsADirectoryError:
        raise ConfigError(
            "this is a folder", where=str(path), hint="the settings file in it"
        ) from None
    except OSError as error:
        raise ConfigError(f"the file cannot be read: {error}", where=str(path)) from None
    if len(content) > MOST_BYTES:
        raise _none_of_them(path, f"it has more than {MOST_BYTES // 1_000_000} MB")
    return _parse(path, _text(path, content))


def leaves(tree: Any) -> Iterator[tuple[Key, Any]]:
    """Every value with its place; a list of plain values, or an empty table, is one value.

    Raises:
        ConfigError: There are too many, or they are nested too deeply.
    """
    count = 0
    waiting: list[tuple[Key, Any]] = [((), tree)]
    while waiting:
        key, value = waiting.pop()
        inner = _members(value)
        if not inner:
            count += 1
            if count > MOST_KEYS:
                raise ConfigError(f"it holds more than {MOST_KEYS:,} values, as no settings do")
            yield key, value
        elif len(key) >= MOST_DEPTH:
            raise ConfigError(f"its values are nested more than {MOST_DEPTH} deep")
        else:
            waiting.extend(((*key, name), member) for name, member in reversed(inner))


def _members(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(str(name), member) for name, member in value.items()]
    if isinstance(value, list) and any(isinstance(member, dict | list) for member in value):
        return [(str(index), member) for index, member in enumerate(value)]
    return []


def _header(path: Path, start: bytes) -> dict[str, Any]:
    """The metadata of a safetensors file; its tensors are not looked at."""
    (length,) = struct.unpack("<Q", start)
    if length > min(_LARGEST_HEADER, path.stat().st_size):
        raise _none_of_them(path, "it is cut off or damaged")
    with path.open("rb") as file:
        file.seek(8)
        content = file.read(length)
    try:
        header = json.loads(content)
    except (ValueError, RecursionError):
        raise _none_of_them(path, "its header is damaged") from None
    told = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(told, dict) or not told:
        raise ConfigError(
            "its header tells nothing of how it was made",
            where=str(path),
            hint="the trainer's own settings file",
        )
    return told


def _text(path: Path, content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _none_of_them(path, "it is not UTF-8 text") from None
    if "\0" in text:
        raise _none_of_them(path, "it is not text")
    if not text.strip():
        raise _none_of_them(path, "it is empty")
    return text


def _parse(path: Path, text: str) -> Source:
    forms = {".json": ["JSON"], ".toml": ["TOML"], ".yaml": ["YAML"], ".yml": ["YAML"]}
    asked = forms.get(path.suffix.lower(), ["JSON", "TOML", "YAML"])
    problem = ""
    for form in asked:
        repeated: list[tuple[str, Any]] = []
        try:
            tree = _READERS[form](text, repeated)
        except ConfigError as error:
            raise ConfigError(error.problem, where=str(path), hint=error.hint) from None
        except (ValueError, RecursionError, MemoryError) as error:
            problem = problem or f"it is not {form}: {_said(error)}"
            continue
        if isinstance(tree, dict | list) and tree:
            return Source(path, tree, form, tuple(repeated))
        problem = problem or "it holds no settings"
    raise _none_of_them(path, problem)


def _said(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "its values are nested too deeply"
    return " ".join(str(error).split())[:200]


def _none_of_them(path: Path, problem: str) -> ConfigError:
    return ConfigError(
        f"{problem}; what is read is the settings of other trainers (JSON, TOML, YAML), and LoRA "
        "files (safetensors)",
        where=str(path),
    )


def _json(text: str, repeated: list[tuple[str, Any]]) -> Any:
    def table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name, value in pairs:
            if name in made:
                repeated.append((name, made[name]))
            made[name] = value
        return made

    return json.loads(text, object_pairs_hook=table)


def _toml(text: str, repeated: list[tuple[str, Any]]) -> Any:
    return tomllib.loads(text)


def _yaml(text: str, repeated: list[tuple[str, Any]]) -> Any:
    """Safe YAML, without the repeated references that unpack to fill the memory."""
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen: dict[str, Any] = {}
            for name, value in node.value:
                if isinstance(name.value, str) and name.value != "<<":
                    if name.value in seen:
                        repeated.append((name.value, getattr(seen[name.value], "value", "")))
                    seen[name.value] = value
            return cast("dict[Any, Any]", super().construct_mapping(node, deep=deep))

    try:
        aliases = sum(isinstance(e, yaml.AliasEvent) for e in yaml.parse(text, Loader=base))
        if aliases > MOST_ALIASES:
            raise ConfigError(
                f"it refers back to its own values {aliases} times, which can fill the memory",
                hint="write the values out",
            )
        return yaml.load(text, Loader=Loader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    except (TypeError, AttributeError) as error:  # a list or a table as a name
        raise ValueError(str(error)) from None


_READERS: dict[str, Callable[[str, list[tuple[str, Any]]], Any]] = {
    "JSON": _json,
    "TOML": _toml,
    "YAML": _yaml,
}
