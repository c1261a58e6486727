"""Pictures and texts that a person drops on the page, put into a new folder of their naming.

Nothing is taken for a picture by its name: its header is read. Only folders that were made here
receive anything, and no file of theirs is ever replaced.
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from app.dataset.places import local
from app.settings import home
from trainer.core.errors import ConfigError, DatasetError
from trainer.core.files import plain_disk_errors, require_space
from trainer.data import image
from trainer.data.caption import METADATA

MARK = ".sweetspot-received"
"""Lies in folders that were made here."""
MOST_PICTURE, MOST_TEXT = 64_000_000, 1_000_000
"""Bytes of one file."""
MOST_MEGAPIXELS = 100.0
MOST_FILES = 20_000
_DEPTH, _LONGEST_NAME, _LONGEST_SUFFIX = 4, 180, 12
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_FOREIGN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069]')
"""What some system refuses in a name, and signs that make a name look like another."""


@dataclass(frozen=True, slots=True)
class Received:
    """What became of a file: its name in the folder, or why it was left out."""

    name: str
    problem: str = ""


def default_place() -> Path:
    """Where new folders go unless another place is chosen."""
    return home() / "pictures"


def new_folder(name: str, place: str = "") -> Path:
    """Make a folder for pictures.

    Args:
        name: As the person calls it.
        place: The folder to make it in; the app's own for pictures when empty.

    Raises:
        ConfigError: The name is taken or cannot be one, or the place is none.
        ResourceError: The place cannot be written.
    """
    around = local(place) if place else default_place()
    clean = safe_part(name)
    if not clean:
        raise ConfigError("the new folder needs a name", where="name", hint="such as my-cat")
    path = around / clean
    with plain_disk_errors(path):
        around.mkdir(parents=True, exist_ok=True)
        try:
            path.mkdir()
        except FileExistsError:
            raise ConfigError(
                f"there is a folder {clean!r} already", where=str(around), hint="another name"
            ) from None
        (path / MARK).touch()
    return path


def receive(folder: Path, name: str, file: BinaryIO) -> Received:
    """Put a file into a folder that was made here.

    Args:
        folder: Which.
        name: As the browser tells it, perhaps with the folders it lay in.
        file: At its beginning.

    Raises:
        ConfigError: The folder was not made here.
        ResourceError: The disk is full or the folder cannot be written.
    """
    if not (folder / MARK).is_file():
        raise ConfigError("this folder was not made for pictures by Sweetspot", where=str(folder))
    inner = safe_name(name)
    try:
        data = _proven(inner, file)
    except DatasetError as error:
        return Received(name, error.problem)
    path = folder / inner
    require_space(folder, 2 * len(data), "this picture")
    with plain_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return _write_new(path, inner.as_posix(), data)


def copy_of(folder: Path, name: str) -> Path:
    """A copy of a folder's pictures and captions under a new name, to change captions in.

    Raises:
        ConfigError: The name is taken or cannot be one.
        ResourceError: The disk is full.
    """
    sizes = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    require_space(default_place(), sizes, "the copy")
    made = new_folder(name)
    with plain_disk_errors(made):
        for path in sorted(folder.iterdir()):
            if path.is_file() and not path.is_symlink() and path.name != MARK:
                shutil.copyfile(path, made / path.name)
    return made


def safe_name(name: str) -> PurePosixPath:
    """A relative path that is one on every system and leads nowhere else."""
    parts = [safe_part(part) for part in re.split(r"[/\\]", name)]
    kept = [part for part in parts if part]
    return PurePosixPath(*kept[-_DEPTH:]) if kept else PurePosixPath("unnamed")


def safe_part(name: str) -> str:
    """A file's or folder's name without what some system refuses; "" when nothing is left."""
    plain = unicodedata.normalize("NFC", name).encode("utf-8", "ignore").decode()
    plain = _FOREIGN.sub("_", plain).strip().strip(".").strip()
    if set(plain) <= {"_", "."}:
        return ""
    if _RESERVED.fullmatch(plain):
        plain = f"_{plain}"
    stem, dot, suffix = plain.rpartition(".")
    if not dot or len(suffix) > _LONGEST_SUFFIX:
        return _cut(plain, _LONGEST_NAME)
    return f"{_cut(stem, _LONGEST_NAME - len(suffix.encode()))}.{suffix}"


def _cut(text: str, most: int) -> str:
    """Its beginning of at most so many bytes of UTF-8."""
    return text.encode()[:most].decode(errors="ignore")


def _proven(name: PurePosixPath, file: BinaryIO) -> bytes:
    """The file's bytes once they are what the name says.

    Raises:
        DatasetError: They are not, or are too many.
    """
    suffix = name.suffix.lower()
    if suffix in image.SUFFIXES:
        data = _read(file, MOST_PICTURE)
        image.header_of(io.BytesIO(data), where=str(name), max_megapixels=MOST_MEGAPIXELS)
    elif suffix == ".txt" or name.name in METADATA:
        data = _read(file, MOST_TEXT if suffix == ".txt" else MOST_PICTURE)
        _require_text(data)
    else:
        raise DatasetError(f"{suffix or 'such'} files are neither pictures nor captions")
    return data


def _read(file: BinaryIO, most: int) -> bytes:
    data = file.read(most + 1)
    if len(data) > most:
        raise DatasetError(f"it is larger than {most / 1e6:g} MB")
    return data


def _require_text(data: bytes) -> None:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DatasetError("it is not UTF-8 text: save it as UTF-8") from None
    if "\0" in text:
        raise DatasetError("it is not text")


def _write_new(path: Path, name: str, data: bytes) -> Received:
    """Write a file that is not there yet; of a failed write nothing stays."""
    try:
        with path.open("xb") as file:
            try:
                file.write(data)
            except OSError:
                with contextlib.suppress(OSError):
                    path.unlink()
                raise
    except FileExistsError:
        same = path.is_file() and path.read_bytes() == data
        return Received(name, "" if same else "another file of this name is there already")
    return Received(name)
