"""Settings as plain nested values, and by their dotted paths."""

from __future__ import annotations

from typing import Any

from trainer.core.errors import ConfigError

Tree = dict[str, Any]
_DEEPEST = 16
"""Levels of tables and lists that are read; settings have five."""


def merge(below: Tree, above: Tree) -> Tree:
    """Nested values with those of `above` laid over those of `below`."""
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[name] = merge(old, value)
        else:
            merged[name] = value
    return merged


def flat(values: Tree) -> dict[str, Any]:
    """Nested values by their dotted paths; an empty table stands for itself."""
    found: dict[str, Any] = {}
    stack = [("", values)]
    while stack:
        prefix, table = stack.pop()
        for name, value in table.items():
            if isinstance(value, dict) and value:
                stack.append((f"{prefix}{name}.", value))
            else:
                found[f"{prefix}{name}"] = value
    return found


def nested(values: dict[str, Any]) -> Tree:
    """Values by their dotted paths as a tree; the opposite of `flat`."""
    tree: Tree = {}
    for path, value in values.items():
        *sections, name = path.split(".")
        table = tree
        for section in sections:
            table = table.setdefault(section, {})
        table[name] = value
    return tree


def require_shallow(values: Any, where: str) -> None:
    """Refuse values that are nested deeper than any settings are.

    Raises:
        ConfigError: They are.
    """
    level = [values]
    for _ in range(_DEEPEST):
        inner = (v.values() if isinstance(v, dict) else v for v in level)
        level = [one for held in inner for one in held if isinstance(one, dict | list)]
        if not level:
            return
    raise ConfigError("its values are nested too deeply", where=where)
