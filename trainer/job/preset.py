"""Presets: part of a job with a name, to be shared.

    preset = 1

    [about]
    name = "sdxl-character"
    sentence = "A character from 15 to 50 pictures."

    [job.adapter]
    rank = 32

A preset comes from anywhere, so it is data and nothing else: every setting is validated, what is
personal to a machine or a person is refused, and so is text that a terminal or a page could be
fooled with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tomlkit
from pydantic import AfterValidator, Field

from trainer.core import toml
from trainer.core.errors import ConfigError
from trainer.core.schema import Config
from trainer.core.trees import Tree, flat, merge, nested, require_shallow
from trainer.job.config import SCHEMA_VERSION, JobConfig
from trainer.job.migrate import migrate
from trainer.job.shareable import (
    MAY_NAME_FILES,
    ON_REQUEST,
    active,
    is_plain,
    is_public_base,
    names_a_file,
    require_shareable,
    shareable,
)

FORMAT = 1
"""Raised when a preset file written today would be read wrongly by an older Sweetspot."""
MOST_BYTES = 64 * 1024
"""Of a preset file; the largest that ships is a twentieth of it."""

_ALWAYS = (
    "model.kind",
    "model.resolution",
    "adapter.kind",
    "adapter.rank",
    "adapter.alpha",
    "optimizer.kind",
    "optimizer.learning_rate",
    "schedule.batch_size",
)
"""What a preset says even where it is the default, so that it can be read alone."""

_FILLER: Tree = {"dataset": {"folder": ".", "class_word": "thing"}}
"""What every job needs and no preset has."""


def _plain(text: str) -> str:
    if not is_plain(text):
        raise ValueError("holds characters that cannot be seen")
    return text.strip()


Line = Annotated[str, Field(max_length=100), AfterValidator(_plain)]
Sentence = Annotated[str, Field(max_length=600), AfterValidator(_plain)]
PresetName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class About(Config):
    """What a preset says of itself."""

    name: PresetName
    """Letters, digits, dots, dashes, underscores."""

    sentence: Sentence = ""
    """What it is for."""

    author: Line = ""
    """Who made it."""

    licence: Line = ""
    """Under which it may be used and changed, like CC0-1.0."""

    tested: Sentence = ""
    """What was run with it, and what was not."""

    tags: Annotated[tuple[Line, ...], Field(max_length=20)] = ()
    """Words to find it by."""

    sources: Annotated[tuple[Sentence, ...], Field(max_length=20)] = ()
    """Where its numbers come from."""


@dataclass(frozen=True, slots=True)
class Preset:
    """Part of a job with a name.

    Attributes:
        about: What it says of itself.
        settings: Nested plain values: part of a job, in today's version of the settings.
    """

    about: About
    settings: Tree

    @property
    def name(self) -> str:
        """Which it is called by."""
        return self.about.name

    @property
    def family(self) -> str:
        """The model family it is for; empty for any."""
        model = self.settings.get("model", {})
        return str(model.get("kind", ""))


def load_preset(path: Path) -> Preset:
    """Read a preset file.

    A file without `preset = ...` is a plain job, or part of one, and is called by its file's name.

    Raises:
        ConfigError: It cannot be read, is too large, or is no preset.
    """
    return parse_preset(read_text(path), str(path), name=path.stem)


def read_text(path: Path) -> str:
    """A text file that is no larger than a preset can be.

    Raises:
        ConfigError: It is missing, too large, or no text.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise ConfigError("it is no plain file", where=str(path))
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError("there is no such file", where=str(path)) from None
    except OSError as error:
        raise ConfigError(f"it cannot be read: {error}", where=str(path)) from None
    if len(content) > MOST_BYTES:
        raise ConfigError(
            f"the file is larger than {MOST_BYTES // 1024} KiB, which no preset is",
            where=str(path),
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"the file is not UTF-8 text (byte {error.start})", where=str(path)
        ) from None


def parse_preset(text: str, where: str, *, name: str = "") -> Preset:
    """A preset from the TOML of its file.

    Args:
        text: From anywhere.
        where: What an error calls it.
        name: Of one that does not tell its own.

    Raises:
        ConfigError: It is no preset, of a newer kind, or holds what a preset may not.
    """
    return from_values(toml.parse_text(text, where), where, name=name)


def from_values(values: Tree, where: str, *, name: str = "") -> Preset:
    """A preset from plain values; see `parse_preset`."""
    _require_readable(values, where)
    if "preset" not in values:
        values = {"preset": FORMAT, "about": {"name": _as_name(name)}, "job": values}
    _require_format(values["preset"], where)
    odd = sorted(set(values) - {"preset", "about", "job"})
    if odd:
        raise ConfigError(
            f"a preset has no {odd[0]!r}", where=where, hint="settings stand below [job.…]"
        )
    for part in ("about", "job"):
        if not isinstance(values.get(part, {}), dict):
            raise ConfigError(f"its {part!r} is no table", where=where)
    about = _named(where, lambda: toml.parse(About, values.get("about", {})))
    settings = migrate(values.get("job", {}), where)
    _named(where, lambda: require_shareable(settings))
    _named(where, lambda: toml.parse(JobConfig, merge(_FILLER, settings)))
    return Preset(about, settings)


def _require_readable(values: Tree, where: str) -> None:
    require_shallow(values, where)
    for path in flat(values):
        if not is_plain(path):
            raise ConfigError(
                f"a name in it holds characters that cannot be seen: {path[:60]!r}", where=where
            )


def _require_format(number: Any, where: str) -> None:
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ConfigError(f"preset = {number!r} is not a whole number from 1", where=where)
    if number > FORMAT:
        raise ConfigError(
            f"it is of preset format {number}, this Sweetspot reads up to {FORMAT}",
            where=where,
            hint="update Sweetspot",
        )


def of_job(job: JobConfig, about: About, include: Iterable[str] = ()) -> Preset:
    """What of a job can be shared: its recipe, without what is personal.

    Args:
        job: Any.
        about: What the preset says of itself.
        include: Personal settings to put in all the same, of `ON_REQUEST`.

    Raises:
        ConfigError: One of `include` may not leave this machine.
    """
    asked = set(include)
    wrong = sorted(asked - set(ON_REQUEST))
    if wrong:
        raise ConfigError(
            f"{wrong[0]!r} cannot be put into a preset",
            where="--include",
            hint=f"one of {', '.join(ON_REQUEST)}",
        )
    values = flat(job.model_dump(mode="json"))
    chosen = {}
    for spec in active(values):
        value = values.get(spec.path)
        if value is None or not (shareable(spec) or spec.path in asked):
            continue
        if spec.path in MAY_NAME_FILES:
            value = [word for word in value if not names_a_file(word)]
        if value != plain(spec.default) or spec.path in (*_ALWAYS, *asked):
            chosen[spec.path] = value
    if chosen.get("model.base") and not is_public_base(str(chosen["model.base"])):
        raise ConfigError(
            f"the base model {chosen['model.base']!r} is a place on this machine",
            where="--include model.base",
            hint="leave it out, or train on a model by its name in the hub",
        )
    settings = nested({"version": SCHEMA_VERSION, **chosen})
    require_shareable(settings)
    return Preset(about, settings)


def render_preset(preset: Preset) -> str:
    """The preset as its file."""
    document = tomlkit.document()
    document.add(tomlkit.comment("A Sweetspot preset. `sweetspot train JOB --preset FILE`."))
    document.add("preset", tomlkit.item(FORMAT))
    about = preset.about.model_dump(mode="json", exclude_defaults=True)
    document.add("about", tomlkit.item(about))
    document.add("job", tomlkit.item(preset.settings))
    return tomlkit.dumps(document)


def plain(value: Any) -> Any:
    """A value as a file holds it."""
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _as_name(stem: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).lstrip("._-")[:64] or "preset"


def _named(where: str, check: Any) -> Any:
    """What `check` returns; an error of it tells the preset too."""
    try:
        return check()
    except ConfigError as error:
        place = f"{where}: {error.where}" if error.where else where
        raise ConfigError(error.problem, where=place, hint=error.hint) from None
