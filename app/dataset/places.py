"""Folders of this machine, to choose one from; files are counted and never named."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from trainer.core.errors import ConfigError
from trainer.data.image import SUFFIXES

MOST = 1000
"""Folders listed of one place."""
_COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class Place:
    """A folder and those in it.

    Attributes:
        above: The folder around it; "" at the top.
        folders: Names and paths of its folders, linked ones aside.
        pictures: How many picture files lie in it, without those of inner folders.
        more: How many folders were left out.
    """

    path: str
    above: str
    folders: tuple[tuple[str, str], ...]
    pictures: int
    more: int


def place(text: str) -> Place:
    """What is in a folder.

    Raises:
        ConfigError: It is no folder of this machine, or may not be read.
    """
    path = local(text or str(Path.home()))
    folders, pictures = [], 0
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if not entry.name.startswith(".") and _shown(entry.name):
                        folders.append((entry.name, str(path / entry.name)))
                elif pictures < _COUNTED and Path(entry.name).suffix.lower() in SUFFIXES:
                    pictures += 1
    except OSError as error:
        raise ConfigError(f"the folder cannot be read: {error.strerror}", where=str(path)) from None
    folders.sort(key=lambda found: found[0].casefold())
    above = "" if path.parent == path else str(path.parent)
    more = max(0, len(folders) - MOST)
    return Place(str(path), above, tuple(folders[:MOST]), pictures, more)


def local(text: str) -> Path:
    """A folder of this machine by its path; `~` is the person's own.

    Raises:
        ConfigError: It is on the network, or is none.
    """
    path = here(text)
    try:
        there = path.is_dir()
    except (OSError, ValueError):
        there = False
    if not there:
        raise ConfigError("there is no such folder", where=str(path), hint="choose one in the list")
    return path


def here(text: str) -> Path:
    """A path of this machine, whether or not anything is there; nothing is asked of the network.

    Raises:
        ConfigError: It is on the network.
    """
    named = text.strip().strip('"')
    if named.startswith(("\\\\", "//")):
        raise ConfigError(
            "network paths are not opened", where=named, hint="map it to a drive, or copy it"
        )
    return Path(os.path.normpath(Path(named).expanduser().absolute()))


def starts(opened: Iterable[str]) -> list[tuple[str, str]]:
    """Where to begin: own folders, drives, and those that were opened before, newest first."""
    own = [("Home", Path.home())]
    own += [(name, Path.home() / name) for name in ("Pictures", "Downloads", "Desktop")]
    own += [(drive, Path(drive)) for drive in getattr(os, "listdrives", list)()]
    known = [(label, str(path)) for label, path in own if path.is_dir()]
    before = [Path(text) for text in reversed(tuple(opened))]
    return known + [(path.name or str(path), str(path)) for path in before if path.is_dir()]


def _shown(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
