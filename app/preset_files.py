"""Files of presets in a folder. Knows no library and no name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from trainer.core import toml
from trainer.job.collection import expand, is_collection
from trainer.job.preset import Preset, from_values, read_text

MOST_FILES = 2000
"""Of one folder."""


def presets_of(path: Path) -> Iterable[Preset]:
    """The presets of a file: one, or those of a collection.

    Raises:
        ConfigError: It cannot be read, or holds none.
    """
    values = toml.parse_text(read_text(path), str(path))
    if is_collection(values):
        return list(expand(values, str(path)))
    return [from_values(values, str(path), name=path.stem)]


def files_in(folder: Path) -> list[Path]:
    """The files of presets in a folder and below; a link that leads out of it is none of them."""
    root = folder.resolve()
    found = []
    for path in sorted(folder.rglob("*.toml")) if folder.is_dir() else []:
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and path.resolve().is_relative_to(root) and path.is_file():
            found.append(path)
        if len(found) == MOST_FILES:
            break
    return found


def stamps(folder: Path) -> Iterator[tuple[str, int, int]]:
    """What changes when a file does."""
    for path in files_in(folder):
        with contextlib.suppress(OSError):  # taken away meanwhile
            told = path.stat()
            yield str(path), told.st_mtime_ns, told.st_size
