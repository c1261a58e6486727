"""A folder as its cards show it: each picture's exact cut, its words, and what to know of it.

Only headers are read, and each once for as long as its file stays as it is. What takes the
decoding of every picture (damage, duplicates) is found by `app.dataset.work`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.checks import spoken
from app.dataset.findings import Finding, of_pictures, refusals
from app.dataset.lens import SIZE_STEP, Lens
from trainer.core.errors import DatasetError
from trainer.core.files import hash_text
from trainer.data import image
from trainer.data.bucket import Frame, Framed, fit, framing
from trainer.data.folder import Picture, Progress, Scan, scan

OWN = ("txt", "metadata")
"""Sources of captions that a person wrote for the one picture."""


@dataclass(frozen=True, slots=True)
class Card:
    """A picture with all that is shown beside it.

    Attributes:
        size: Of the upright picture, px.
        frame: Its cut; None when it is too small to have one.
        number: Of its first showing in an epoch.
        own: The caption that was written for it; "" where another source speaks.
        caption: What training starts from.
        final: What the epoch says.
    """

    name: str
    path: str
    size: tuple[int, int]
    frame: Frame | None
    repeats: int
    number: int
    source: str
    own: str
    caption: str
    final: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class View:
    """A folder, looked at.

    Attributes:
        cards: Its pictures, in the order of their names.
        problems: Files that are not used, or not as one may think: `name`, `what`, `hint`.
        refusals: Why a run would not start, in sentences.
        shown: Pictures shown in an epoch, repeats counted.
        locked: Why captions cannot be written here; "" where they can.
    """

    folder: str
    cards: tuple[Card, ...]
    problems: tuple[dict[str, str], ...]
    refusals: tuple[str, ...]
    shown: int
    locked: str


@dataclass(slots=True)
class Headers:
    """What headers of picture files said, for as long as the files stay as they are."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _known: dict[str, tuple[tuple[int, int, float], tuple[int, int] | DatasetError]] = field(
        default_factory=dict
    )

    def look(self, path: Path, max_megapixels: float) -> tuple[int, int, str]:
        """As `scan` asks; the digest is left empty."""
        stat = path.stat()
        state = (stat.st_mtime_ns, stat.st_size, max_megapixels)
        with self._lock:
            known = self._known.get(str(path))
        if known is None or known[0] != state:
            known = (state, _header(path, max_megapixels))
            with self._lock:
                self._known[str(path)] = known
        if isinstance(known[1], DatasetError):
            raise known[1]
        return (*known[1], "")


def _header(path: Path, max_megapixels: float) -> tuple[int, int] | DatasetError:
    try:
        return image.header(path, max_megapixels=max_megapixels)
    except DatasetError as error:
        return error.with_traceback(None)


def glance(
    lens: Lens, headers: Headers, progress: Progress = lambda done, total: None, *, locked: str = ""
) -> View:
    """Look at the folder of the lens.

    Args:
        lens: The folder, and the settings to see it with.
        headers: What is known of files already.
        progress: Told how many pictures are dealt with.
        locked: Why captions may not be written, if for a reason that the disk does not know.

    Raises:
        DatasetError: There is no folder, no picture in it that can be used, or a damaged
            metadata file.
    """
    config = lens.dataset
    found = scan(config, progress=progress, lenient=True, look=headers.look)
    rules = framing(config, resolution=lens.resolution, size_step=SIZE_STEP)
    framed, small = fit(found.pictures, rules)
    frames = {one.picture.name: one.frame for one in framed}
    told = of_pictures(found, frames, small, config)
    problems = tuple(_problem(p, config.folder) for p in found.problems)
    return View(
        folder=str(config.folder),
        cards=tuple(_cards(found.pictures, framed, told, lens)),
        problems=problems,
        refusals=refusals(found, len(framed)),
        shown=sum(one.picture.repeats for one in framed),
        locked=locked or _locked(config.folder),
    )


def _cards(
    pictures: list[Picture],
    framed: list[Framed],
    told: dict[str, tuple[Finding, ...]],
    lens: Lens,
) -> Iterator[Card]:
    say = spoken(framed, lens.dataset, seed=lens.seed, epoch=lens.epoch)
    frames = {one.picture.name: one.frame for one in framed}
    number = 0
    for picture in pictures:
        frame = frames.get(picture.name)
        yield Card(
            picture.name,
            str(picture.path),
            (picture.width, picture.height),
            frame,
            picture.repeats,
            number,
            picture.source,
            picture.caption if picture.source in OWN else "",
            picture.caption,
            say(picture) if frame else picture.caption,
            told.get(picture.name, ()),
        )
        number += picture.repeats if frame else 0


def _problem(problem: Any, folder: Path) -> dict[str, str]:
    path = problem.path
    name = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
    return {"name": name, "what": problem.what, "hint": problem.hint}


def _locked(folder: Path) -> str:
    own = os.access in os.supports_effective_ids
    if os.access(folder, os.W_OK, effective_ids=own):
        return ""
    return "This folder cannot be written to, so captions can be read here and not changed."


def signature(folder: Path) -> str:
    """Another one whenever a file below the folder came, went or changed.

    Raises:
        DatasetError: The folder is gone.
    """
    if not folder.is_dir():
        raise DatasetError(
            "this folder is not there any more",
            where=str(folder),
            hint="put it back, or choose another one; unsaved captions are kept on this page",
        )
    return hash_text(*sorted(_states(folder, None)))


def pictures_signature(folder: Path) -> str:
    """The same of the pictures alone."""
    return hash_text(*sorted(_states(folder, image.SUFFIXES)))


def _states(folder: Path, suffixes: frozenset[str] | None) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if suffixes is None or os.path.splitext(name)[1].lower() in suffixes:  # noqa: PTH122
                try:
                    stat = os.stat(os.path.join(place, name))  # noqa: PTH116, PTH118
                except OSError:
                    continue
                yield f"{place}/{name}|{stat.st_mtime_ns}|{stat.st_size}"


def current(lens: Lens, headers: Headers) -> Scan:
    """The pictures and captions as they are on disk now."""
    return scan(lens.dataset, lenient=True, look=headers.look)
