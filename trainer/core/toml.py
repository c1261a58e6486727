"""Settings files: TOML in and out, overrides from the command line, errors in plain words.

Works for any config class, which it calls `root`; knows no settings but `model.base` and
`model.parts_from`.
"""

from __future__ import annotations

import difflib
import json
import textwrap
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import tomlkit
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from trainer.core.errors import ConfigError
from trainer.core.schema import FieldSpec, describe
from trainer.core.trees import Tree, merge, require_shallow

_LONGEST = 200
"""Letters of a wrong value that an error shows."""
T = TypeVar("T", bound=BaseModel)


def load(root: type[T], path: Path, overrides: Iterable[str] = ()) -> T:
    """Read a file, with `section.field=value` overrides laid over it.

    Relative paths in the file are taken from the file's own folder, those in overrides from
    the current one.

    Raises:
        ConfigError: The file is unreadable, or a field is unknown, missing or impossible.
    """
    return override(root, layer(root, path), overrides)


def layer(root: type[BaseModel], path: Path) -> Tree:
    """The plain values of a file, not validated, with its relative paths made absolute.

    Raises:
        ConfigError: The file is unreadable.
    """
    values = read(path)
    anchor(root, values, path.absolute().parent)
    return values


def overrides_of(root: type[BaseModel], overrides: Iterable[str]) -> Tree:
    """What `section.field=value` overrides say, as plain values, not validated.

    Raises:
        ConfigError: One has no `=`, or gives a section a value.
    """
    changes = _overlay(root, overrides)
    anchor(root, changes, Path.cwd())
    return changes


def override(root: type[T], values: Tree, overrides: Iterable[str]) -> T:
    """Plain values with `section.field=value` overrides laid over them.

    Raises:
        ConfigError: A field is unknown, missing or impossible.
    """
    return parse(root, merge(values, overrides_of(root, overrides)))


def as_override(name: str, path: Path) -> str:
    """A path as an override says it, whatever letters it holds."""
    return f"{name}={json.dumps(str(path), ensure_ascii=False)}"


def parse(root: type[T], values: Tree) -> T:
    """Validate plain values, as a file or a form gives them.

    Raises:
        ConfigError: For the first field that is unknown, missing or impossible.
    """
    try:
        return root.model_validate(values)
    except ValidationError as error:
        details = error.errors(include_url=False)
        raise _in_plain_words(root, details[0], more=len(details) - 1) from None


def problems(root: type[BaseModel], values: Tree) -> list[ConfigError]:
    """Everything that is wrong with plain values, one error a field; nothing when all is well."""
    try:
        root.model_validate(values)
    except ValidationError as error:
        return [
            _in_plain_words(root, details, more=0) for details in error.errors(include_url=False)
        ]
    return []


def render(config: BaseModel, title: str) -> str:
    """The settings as TOML, every one above its help, below a line that says what they are."""
    specs = {spec.path: spec for spec in describe(type(config))}
    document = tomlkit.document()
    document.add(tomlkit.comment(title))
    _fill(document, config.model_dump(mode="json"), "", specs)
    return tomlkit.dumps(document)


def _fill(table: Any, values: Tree, prefix: str, specs: dict[str, FieldSpec]) -> None:
    plain = {k: v for k, v in values.items() if not isinstance(v, dict)}
    for name, value in plain.items():
        spec = specs.get(f"{prefix}{name}")
        if spec is not None:
            table.add(tomlkit.nl())
            for line in textwrap.wrap(spec.help, 88):
                table.add(tomlkit.comment(line))
        if value is None:
            table.add(tomlkit.comment(f"{name} ="))
        else:
            table.add(name, value)
    for name, value in values.items():
        if isinstance(value, dict):
            inner = tomlkit.table()
            _fill(inner, value, f"{prefix}{name}.", specs)
            table.add(tomlkit.nl())
            table.add(name, inner)


def read(path: Path) -> Tree:
    """A file's plain values; a byte order mark is passed over.

    Raises:
        ConfigError: It is missing, unreadable, not UTF-8 or not TOML.
    """
    try:
        return parse_text(path.read_text(encoding="utf-8-sig"), str(path))
    except FileNotFoundError:
        raise ConfigError("there is no such file", where=str(path)) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"the file is not UTF-8 text (byte {error.start})",
            where=str(path),
            hint="save it as UTF-8",
        ) from None
    except OSError as error:
        raise ConfigError(f"the file cannot be read: {error}", where=str(path)) from None


def from_json(text: str) -> Tree:
    """Plain values from JSON; a file's own form is TOML, this is for what a program kept."""
    values: Tree = json.loads(text)
    return values


def parse_text(text: str, where: str) -> Tree:
    """TOML as plain values.

    Args:
        text: Of any size and making.
        where: What an error calls it.

    Raises:
        ConfigError: It is no TOML, or nested deeper than any settings are.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"the file is not TOML: {error}", where=where) from None
    except RecursionError:
        raise ConfigError("its values are nested too deeply", where=where) from None
    require_shallow(values, where)
    return values


def _overlay(root: type[BaseModel], overrides: Iterable[str]) -> Tree:
    texts = {spec.path for spec in describe(root) if spec.kind in ("text", "path")}
    values: Tree = {}
    for override in overrides:
        dotted, equals, raw = override.partition("=")
        if not equals:
            raise ConfigError(
                f"the override {override!r} has no '='", hint="--set section.field=value"
            )
        *sections, field = dotted.strip().split(".")
        table = values
        for section in sections:
            table = table.setdefault(section, {})
            if not isinstance(table, dict):
                raise ConfigError(
                    f"it is given the value {table!r}, and settings of its own ({dotted.strip()})",
                    where=section,
                    hint=f"--set {section}.kind={table}",
                )
        value = literal(raw.strip())
        is_text = dotted.strip() in texts and not isinstance(value, str)
        table[field] = raw.strip() if is_text else value
    return values


def literal(raw: str) -> Any:
    """A TOML value where it is one, else the bare word itself."""
    try:
        return tomllib.loads(f"x = {raw}")["x"]
    except tomllib.TOMLDecodeError:
        return raw


def anchor(root: type[BaseModel], values: Tree, folder: Path) -> None:
    """Make the paths in `values` absolute, in place."""
    for spec in describe(root):
        *sections, name = spec.path.split(".")
        table: Any = values
        for section in sections:
            table = table.get(section, {}) if isinstance(table, dict) else {}
        value = table.get(name) if isinstance(table, dict) else None
        if not isinstance(value, str) or not value.strip():
            continue
        names_model = spec.path in ("model.base", "model.parts_from") and value != "demo"
        is_model = names_model and (folder / Path(value).expanduser()).exists()
        if spec.kind == "path" or is_model:
            table[name] = str(folder / Path(value).expanduser())


def _in_plain_words(root: type[BaseModel], detail: ErrorDetails, more: int) -> ConfigError:
    specs = list(describe(root))
    kinds = {choice for spec in specs if spec.path.endswith(".kind") for choice in spec.choices}
    where = ".".join(str(part) for part in detail["loc"] if part not in kinds)
    others = f" (and {more} more to mend)" if more else ""
    problem, hint = _problem(detail, where, specs)
    return ConfigError(problem + others, where=where or "the settings", hint=hint)


def _problem(detail: ErrorDetails, where: str, specs: list[FieldSpec]) -> tuple[str, str]:
    context: dict[str, Any] = detail.get("ctx", {})
    match detail["type"]:
        case "missing":
            return "needs a value", f"--set {where}=..."
        case "extra_forbidden":
            near = _nearest(where, list(dict.fromkeys(spec.path for spec in specs)))
            got = f" (got {_shown(detail['input'])})"
            return f"there is no such setting{got}", f"did you mean {near}?" if near else (
                "docs/settings.md lists all settings"
            )
        case "union_tag_invalid":
            choices = [c.strip(" '") for c in str(context["expected_tags"]).split(",")]
            return f"there is no kind {context['tag']!r}", _nearest(context["tag"], choices) or (
                "one of " + ", ".join(choices)
            )
        case "literal_error":
            spec = next((s for s in specs if s.path == where), None)
            choices = list(spec.choices) if spec else []
            near = _nearest(str(detail["input"]), choices)
            return f"{detail['input']!r} is not a choice", near or "one of " + ", ".join(choices)
    message = detail["msg"].removeprefix("Value error, ")
    got = "" if isinstance(detail["input"], dict) else f"; got {_shown(detail['input'])}"
    return f"{message[0].lower()}{message[1:]}{got}", _nearest_number(context, detail["input"])


def _shown(given: Any) -> str:
    """A value as an error shows it: whole unless it is very long."""
    shown = repr(given)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"


def _nearest_number(context: dict[str, Any], given: Any) -> str:
    """The possible number nearest to the one given, in words."""
    match context:
        case {"ge": bound} | {"le": bound}:
            return f"{bound}, the nearest that is possible"
        case {"gt": bound}:
            return f"a number above {bound}"
        case {"lt": bound}:
            return f"a number below {bound}"
        case {"multiple_of": step} if isinstance(given, int | float):
            return f"{max(1, round(given / step)) * step:g}, the nearest that is possible"
    return ""


def _nearest(given: str, known: list[str]) -> str:
    near = difflib.get_close_matches(given, known, n=1)
    if not near and "." in given:
        leaf = given.rsplit(".", maxsplit=1)[-1]
        near = [path for path in known if path.rsplit(".", maxsplit=1)[-1] == leaf][:1]
    return near[0] if near else ""
