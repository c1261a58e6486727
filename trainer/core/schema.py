"""Config classes, and the one reading of them that every face of the app shares.

A field is declared once: its type, bounds, default and docstring, plus a `Knob` for what
a type cannot say. The form, the command line, the job file and the reference page are all
drawn from `describe()`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from trainer.core.registry import Registry

Kind = Literal["flag", "whole", "real", "text", "path", "choice", "list", "table"]
Condition = tuple[str, str]
"""A field path and the value it must hold for another field to count."""


class Config(BaseModel):
    """Base of every section of a job: strict, immutable, documented by docstrings."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_flag_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Python takes true for 1; a person who writes it meant something else."""
        annotation = cls.model_fields[info.field_name or ""].annotation
        if isinstance(value, bool) and {int, float} & {annotation, *get_args(annotation)}:
            raise ValueError("needs a number, not true or false")
        return value


def _none_if_empty(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _not_empty(value: Any) -> Any:
    if _none_if_empty(value) is None:
        raise ValueError("needs a folder ('.' is the current one)")
    return value


Folder = Annotated[Path, BeforeValidator(_not_empty)]
"""A folder that must be named: an empty text would pass for the current one."""

MaybeFolder = Annotated[Path | None, BeforeValidator(_none_if_empty)]
"""A folder, or nothing; an empty text is nothing."""


@dataclass(frozen=True, slots=True)
class Knob:
    """What a person sees of a field beyond its type.

    Attributes:
        label: Short title; the field name in words when left out.
        unit: "px", "steps", "GiB"; shown after the value.
        step: Smallest useful change.
        advanced: Folded away until asked for.
        private: Personal to one machine or person (paths, prompts); never in a preset.
        recipe: Says how to train. False: says what is trained; not in a preset either.
        why: Where the default comes from.
    """

    label: str = ""
    unit: str = ""
    step: float | None = None
    advanced: bool = False
    private: bool = False
    recipe: bool = True
    why: str = ""


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One settable value, told without pydantic and without widgets.

    `items` is the kind of a list's values.
    """

    path: str
    kind: Kind
    label: str
    help: str
    default: Any
    knob: Knob = Knob()
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    optional: bool = False
    required: bool = False
    only_if: Condition | None = None
    items: Kind | None = None

    @property
    def group(self) -> str:
        """The section of the job that the field stands in."""
        return self.path.split(".", maxsplit=1)[0]


def describe(
    config: type[BaseModel], prefix: str = "", only_if: Condition | None = None
) -> Iterator[FieldSpec]:
    """Every settable field below `config`, depth first, in the order declared."""
    for name, info in config.model_fields.items():
        path = f"{prefix}{name}"
        registry = next((m for m in info.metadata if isinstance(m, Registry)), None)
        if registry is not None:
            yield from _describe_plugins(path, info, registry)
        elif (section := _section(info.annotation)) is not None:
            yield from describe(section, f"{path}.", only_if)
        else:
            yield _describe_field(path, name, info, only_if)


def _section(annotation: Any) -> type[BaseModel] | None:
    """The config class that a field holds, or may hold."""
    inner = [a for a in get_args(annotation) if a is not NoneType] or [annotation]
    found = inner[0]
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None


def _describe_plugins(path: str, info: FieldInfo, registry: Registry[Any]) -> Iterator[FieldSpec]:
    chosen = info.get_default(call_default_factory=True, validated_data={})
    kind = f"{path}.kind"
    yield FieldSpec(
        path=kind,
        kind="choice",
        label=registry.noun.capitalize(),
        help=info.description or "",
        default=getattr(chosen, "kind", registry.default),
        choices=tuple(registry),
    )
    for name in registry:
        for spec in describe(registry[name], f"{path}.", (kind, name)):
            if spec.path != kind:
                yield spec


def _describe_field(path: str, name: str, info: FieldInfo, only_if: Condition | None) -> FieldSpec:
    knob = next((m for m in info.metadata if isinstance(m, Knob)), Knob())
    kind, choices, optional = _classify(info.annotation)
    low, high = _bounds(info)
    return FieldSpec(
        path=path,
        kind=kind,
        label=knob.label or name.replace("_", " ").capitalize(),
        help=info.description or "",
        default=None if info.is_required() else info.get_default(call_default_factory=True),
        knob=knob,
        choices=choices,
        low=low,
        high=high,
        optional=optional,
        required=info.is_required(),
        only_if=only_if,
        items=_items(info.annotation) if kind == "list" else None,
    )


def _items(annotation: Any) -> Kind:
    """The kind of what a list holds."""
    inner = [a for a in get_args(annotation) if a is not NoneType]
    if get_origin(annotation) in (Union, UnionType):
        return _items(inner[0])
    return _classify(inner[0])[0] if inner else "text"


def _bounds(info: FieldInfo) -> tuple[float | None, float | None]:
    low: Any = None
    high: Any = None
    for mark in info.metadata:
        match mark:
            case Ge(ge=bound) | Gt(gt=bound):
                low = bound
            case Le(le=bound) | Lt(lt=bound):
                high = bound
    return low, high


def _classify(annotation: Any) -> tuple[Kind, tuple[str, ...], bool]:
    """The kind of a type, its choices, and whether it may be left empty."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _classify(get_args(annotation)[0])
    if origin in (Union, UnionType):
        inner = [a for a in get_args(annotation) if a is not NoneType]
        if len(inner) != 1:
            raise TypeError(f"a field holds one type, or one type or nothing; got {annotation}")
        kind, choices, _ = _classify(inner[0])
        return kind, choices, True
    if origin is Literal:
        return "choice", get_args(annotation), False
    if origin in (list, tuple):
        return "list", (), False
    if origin is dict:
        return "table", (), False
    plain: dict[Any, Kind] = {
        bool: "flag",
        int: "whole",
        float: "real",
        str: "text",
        Path: "path",
    }
    return plain[annotation], (), False
