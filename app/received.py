"""What a person gave to be taken in: a preset in one of its forms, or another trainer's settings.

It comes as bytes with a name, from anywhere. Nothing of it is run, and it is written nowhere but
to a folder that is deleted when it was read.
"""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath

from app.preset_card import MOST_BYTES as MOST_OF_A_CARD
from app.preset_card import read_card
from trainer.core import toml
from trainer.core.errors import ConfigError
from trainer.core.trees import Tree
from trainer.job.collection import is_collection
from trainer.job.config import JobConfig
from trainer.job.importers.account import Imported
from trainer.job.importers.base import import_config
from trainer.job.preset import Preset, from_values, parse_preset, read_text
from trainer.job.sharing import from_string, is_string

MOST_BYTES = MOST_OF_A_CARD
"""Of anything that is given."""
MOST_OF_SETTINGS = 5_000_000
"""Of a text."""
_START = 4096
"""Bytes of a text in which a string begins; what was written before it in a chat is passed over."""
_PNG = b"\x89PNG\r\n\x1a\n"


def received(name: str, content: bytes) -> Preset | Imported:
    """What the file is, by what it holds; its name only helps to tell of it.

    Raises:
        ConfigError: It is empty, too large, damaged, or nothing that is known.
    """
    called = _file_name(name)
    if not content.strip():
        raise ConfigError("it is empty", where=called)
    if len(content) > MOST_BYTES:
        raise ConfigError(f"it is larger than {MOST_BYTES // 2**20} MiB", where=called)
    if is_string(content[:_START].decode("utf-8", "ignore")):
        return from_string(content.decode("utf-8", "ignore"))
    with tempfile.TemporaryDirectory(prefix="sweetspot-") as folder:
        path = Path(folder) / called
        path.write_bytes(content)
        try:
            return read_card(path) if content.startswith(_PNG) else _settings(path)
        except ConfigError as error:
            where = error.where.replace(f"{folder}/", "").replace(f"{folder}\\", "")
            raise ConfigError(error.problem, where=where, hint=error.hint) from None


def _settings(path: Path) -> Preset | Imported:
    """A preset, part of a job, or another trainer's file."""
    values = _as_ours(path)
    if values is None:
        return import_config(path)
    if is_collection(values):
        raise ConfigError(
            "this is a collection of presets, and not one",
            where=path.name,
            hint="put it into a folder and add that as a library",
        )
    if "preset" in values:
        return parse_preset(read_text(path), path.name, name=path.stem)
    return from_values(values, path.name, name=path.stem)


def _as_ours(path: Path) -> Tree | None:
    """The file's values when it is a preset, a collection, or has the sections of a job only."""
    if path.suffix.lower() not in (".toml", ".txt") or path.stat().st_size > MOST_OF_SETTINGS:
        return None
    try:
        values = toml.parse_text(path.read_text(encoding="utf-8-sig"), path.name)
    except (ConfigError, UnicodeDecodeError):
        return None  # the importers say what is wrong with it
    known = {*JobConfig.model_fields, "version"}
    ours = any(isinstance(values.get(name), dict) for name in known) and set(values) <= known
    return values if "preset" in values or is_collection(values) or ours else None


def _file_name(name: str) -> str:
    """The last part of a name, as a file of a temporary folder may be called."""
    last = PurePosixPath(name.replace("\\", "/")).name
    kept = "".join(c for c in last if c.isalnum() or c in "._- ()[]")[-100:].strip(" .")
    return kept if any(c.isalnum() for c in kept) else "pasted.txt"
