"""A folder of the user's becomes a list of pictures with captions, and a list of problems.

Only headers and hashes are read. Nothing is skipped without a word, and nothing of the
user's is ever written. It does not know what pictures are cut to, nor what trains on them.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.core.errors import DatasetError
from trainer.data import image
from trainer.data.caption import METADATA, Captions, Source, Told
from trainer.data.repeats import MOST_REPEATS, begins_with_a_count, of_folders

if TYPE_CHECKING:
    from trainer.job.pictures import DatasetConfig

Progress = Callable[[int, int], None]
"""Told `(done, total)` as work goes on, a few times a second."""
Look = Callable[[Path, float], tuple[int, int, str]]
"""Of a picture file of at most so many megapixels: width and height, upright, and its digest."""

FOREIGN_CAPTIONS = frozenset({".caption", ".cap", ".captions"})
OTHER_PICTURES = frozenset({".gif", ".heic", ".heif", ".jxl", ".psd", ".svg", ".tga", ".exr"})
_SYSTEM = frozenset({"Thumbs.db", "desktop.ini", "__MACOSX"})
_ABOUT = re.compile(r"(readme|licen[cs]e|notice)(\.(.*\.)?md)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture file that can be trained on.

    Attributes:
        path: Where it is.
        name: Its path from the dataset's folder with forward slashes; unique.
        width: Upright, after EXIF rotation, px.
        height: The same.
        caption: As written by the user, on one line.
        repeats: How often it is shown in an epoch.
        digest: SHA-256 of the file's bytes, in hex.
        source: Where the caption comes from.
    """

    path: Path
    name: str
    width: int
    height: int
    caption: str
    repeats: int
    digest: str
    source: Source = "txt"


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that is not used, or not in the way one may think."""

    path: Path
    what: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.what}" + (f" ({self.hint})" if self.hint else "")


@dataclass(frozen=True, slots=True)
class Scan:
    """What a folder holds, pictures ordered by name.

    Attributes:
        pictures: What can be read.
        problems: What is not used, or not in the way one may think.
        bad_captions: How many of these are caption files on which a run would fail.
    """

    pictures: list[Picture]
    problems: list[Problem]
    bad_captions: int = 0


@dataclass(slots=True)
class Files:
    """Names below a dataset's folder, with forward slashes, by what they seem to be."""

    folder: Path
    pictures: list[str] = field(default_factory=list)
    texts: set[str] = field(default_factory=set)
    foreign: set[str] = field(default_factory=set)
    """Captions under suffixes that are not read, such as .caption."""
    metadata: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def note(self, name: str, what: str, hint: str = "") -> None:
        """Remember a problem with the file `name`."""
        self.problems.append(Problem(self.folder / name, what, hint))


def paced(progress: Progress, *, seconds: float = 0.3) -> Progress:
    """`progress`, told no more often than every so many seconds, and at the end."""
    last = 0.0

    def tell(done: int, total: int) -> None:
        nonlocal last
        if done == total or time.monotonic() - last >= seconds:
            last = time.monotonic()
            progress(done, total)

    return tell


def look_whole(path: Path, max_megapixels: float) -> tuple[int, int, str]:
    """What a picture's header says, and the hash of all its bytes.

    Raises:
        DatasetError: It is no picture we read, larger than allowed, or animated.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        size = image.header_of(file, where=str(path), max_megapixels=max_megapixels)
        return (*size, digest)


def scan(
    config: DatasetConfig,
    *,
    progress: Progress = lambda done, total: None,
    lenient: bool = False,
    look: Look = look_whole,
) -> Scan:
    """Find the folder's pictures and their captions.

    Args:
        config: The dataset.
        progress: Told how many of the pictures are dealt with.
        lenient: Keep pictures without a caption (their source is "none") and list damaged
            caption files among the problems, to report on a folder that cannot be trained on.
        look: What reads a picture file, for whoever knows some already or needs no digest.

    Raises:
        DatasetError: There is no folder, no readable picture in it, a damaged metadata file;
            unless lenient, a picture without a caption, or a caption file that is damaged or
            belongs to several pictures.
    """
    tell = paced(progress)
    files = _walk(config.folder)
    captions = Captions(config, files)
    pictures: list[Picture] = []
    for done, name in enumerate(files.pictures, start=1):
        picture = _look(name, config, captions, files, look)
        if picture is not None:
            pictures.append(picture)
        tell(done, len(files.pictures))
    bad = [Problem(Path(fault.where), fault.problem, fault.hint) for fault in captions.faults]
    if not lenient:
        captions.require_all()
    if not pictures:
        raise _nothing_readable(files)
    _note_unused(files, captions.used)
    return Scan(pictures, [*bad, *files.problems], len(bad))


def _walk(folder: Path) -> Files:
    if not folder.is_dir():
        raise DatasetError(
            "there is no such folder" if not folder.exists() else "it is not a folder",
            where=str(folder),
            hint="set dataset.folder to the folder that holds your pictures",
        )
    files = Files(folder)
    for path in _visible(folder, files.problems):
        _sort_in(path, path.relative_to(folder).as_posix(), files)
    if not files.pictures:
        raise DatasetError(
            "there is no picture in this folder",
            where=str(folder),
            hint=f"put pictures there ({', '.join(image.FORMATS)})",
        )
    files.pictures.sort()
    return files


def _visible(folder: Path, problems: list[Problem]) -> Iterator[Path]:
    """Every file that is not hidden. Linked folders are named, not followed: they may loop."""

    def unreadable(error: OSError) -> None:
        problems.append(Problem(Path(error.filename), f"it cannot be listed ({error.strerror})"))

    for place, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not _system(name))
        problems.extend(filter(None, (_oddity(Path(place, name)) for name in folders)))
        yield from (Path(place, name) for name in sorted(names) if not _hidden(name))


def _oddity(folder: Path) -> Problem | None:
    """A folder that is not what it may seem."""
    if folder.is_symlink():
        return Problem(folder, "it is a link to a folder, which is not followed", "copy it here")
    count = begins_with_a_count(folder.name)
    if count is not None and not 1 <= count <= MOST_REPEATS:
        return Problem(
            folder,
            f"{count} is not taken for a number of repeats",
            f"rename it if you meant one from 1 to {MOST_REPEATS}",
        )
    return None


def _hidden(name: str) -> bool:
    return _system(name) or bool(_ABOUT.fullmatch(name))


def _system(name: str) -> bool:
    return name.startswith(".") or name in _SYSTEM


def _sort_in(path: Path, name: str, files: Files) -> None:
    suffix = path.suffix.lower()
    if (fault := _fault_of_name(path, name)) is not None:
        files.problems.append(fault)
    elif suffix in image.SUFFIXES:
        files.pictures.append(name)
    elif suffix == ".txt":
        files.texts.add(name)
    elif suffix in FOREIGN_CAPTIONS:
        files.foreign.add(name)
    elif path.name in METADATA:
        files.metadata.append(name)
    elif suffix in OTHER_PICTURES:
        hint = f"save it as one of {', '.join(image.FORMATS)}"
        files.problems.append(Problem(path, f"{suffix} pictures are not read", hint))
    else:
        files.problems.append(Problem(path, "it is neither a picture nor a caption; ignored"))


def _fault_of_name(path: Path, name: str) -> Problem | None:
    try:
        name.encode()
    except UnicodeEncodeError:
        return Problem(path, f"its name {name!a} is not valid Unicode", "rename it")
    if not path.is_file():
        what = "it is a link to nothing" if path.is_symlink() else "it is not a regular file"
        return Problem(path, what)
    return None


def _look(
    name: str, config: DatasetConfig, captions: Captions, files: Files, look: Look
) -> Picture | None:
    """Size, digest and caption of one picture; a damaged one is noted."""
    path = config.folder / name
    try:
        width, height, digest = look(path, config.max_megapixels)
    except DatasetError as error:
        files.note(name, error.problem, error.hint)
        return None
    except OSError as error:
        files.note(name, f"it cannot be read ({error.strerror})")
        return None
    repeats, words = of_folders(name)
    told = captions.of(name, words) or Told("", "none")
    repeats = repeats or config.repeats
    return Picture(path, name, width, height, told.caption, repeats, digest, told.source)


def _note_unused(files: Files, used: set[str]) -> None:
    """Name the caption files that no picture took its words from."""
    stems = {name.rpartition(".")[0] for name in files.pictures}
    for name in sorted((files.texts | files.foreign) - used):
        if name.rpartition(".")[0] not in stems:
            files.note(name, "there is no picture of this name", "add the picture, or rename it")
        elif name in files.foreign:
            files.note(name, "this kind of caption file is not read", "rename it to .txt")
        else:
            files.note(name, "it is not used: metadata has the caption, or the picture is damaged")


def _nothing_readable(files: Files) -> DatasetError:
    tried = {str(files.folder / name) for name in files.pictures}
    first = next(problem for problem in files.problems if str(problem.path) in tried)
    return DatasetError(
        f"none of {len(tried)} pictures can be used, the first is {first.path.name!r}: "
        f"{first.what}",
        where=str(files.folder),
        hint=first.hint,
    )
