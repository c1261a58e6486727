"""A config class as a form: what the browser draws it from, and reading back what it holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from trainer.core import toml
from trainer.core.errors import ConfigError, UserError
from trainer.core.schema import FieldSpec, describe
from trainer.core.trees import Tree, nested


def specs(config: type[BaseModel]) -> list[dict[str, Any]]:
    """Every setting of the class as `assets/ui/form.js` takes it."""
    return [_plain(spec) for spec in describe(config)]


def tree(values: Mapping[str, Any]) -> Tree:
    """Values by dotted path, as a form gives them, as a file holds them.

    Raises:
        ConfigError: A path is none.
    """
    for path in values:
        if not all(part.isidentifier() for part in path.split(".")):
            raise ConfigError("there is no such setting", where=path[:80])
    return nested(dict(values))


def problems(config: type[BaseModel], values: Tree) -> list[dict[str, str]]:
    """What is wrong with the values, for the form to show at its fields."""
    return [told(error) for error in toml.problems(config, values)]


def told(error: UserError) -> dict[str, str]:
    """A problem as the form takes it; what the command line would type is left out."""
    hint = "" if error.hint.startswith("--") else error.hint
    return {"problem": error.problem, "where": error.where, "hint": hint}


def _plain(spec: FieldSpec) -> dict[str, Any]:
    return {
        "path": spec.path,
        "kind": spec.kind,
        "label": spec.label,
        "help": spec.help,
        "unit": spec.knob.unit,
        "step": spec.knob.step,
        "why": spec.knob.why,
        "advanced": spec.knob.advanced,
        "default": plain_value(spec.default),
        "choices": list(spec.choices),
        "low": spec.low,
        "high": spec.high,
        "items": spec.items,
        "optional": spec.optional,
        "required": spec.required,
        "only_if": list(spec.only_if) if spec.only_if else None,
    }


def plain_value(value: Any) -> Any:
    """A default as JSON has it."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, list | tuple):
        return [plain_value(one) for one in value]
    return value if isinstance(value, str | int | float | bool | type(None)) else str(value)
