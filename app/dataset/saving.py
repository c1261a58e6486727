"""Captions are written where they are read from: a text file beside the picture, or metadata.

All changes are looked at before the first is written; each file is replaced whole.
"""

from __future__ import annotations

import csv
import io
import json
import posixpath
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from app.dataset.glance import OWN, Headers, current
from app.dataset.lens import Lens
from trainer.core.errors import DatasetError
from trainer.core.files import write_atomically
from trainer.data.caption import METADATA, one_line, read_text
from trainer.data.folder import Picture, Scan

LONGEST = 100_000
"""Signs of a caption; a text encoder reads a few hundred."""


@dataclass(frozen=True, slots=True)
class Change:
    """A new caption for a picture.

    Attributes:
        was: The caption that the person saw when it was changed.
    """

    name: str
    text: str
    was: str


@dataclass(frozen=True, slots=True)
class Saved:
    """What was written, by picture, and what was not, with why."""

    written: tuple[str, ...]
    refused: dict[str, str]


def save(lens: Lens, headers: Headers, changes: Iterable[Change]) -> Saved:
    """Write captions into the folder.

    A picture whose caption on disk is not the one that the person saw is left alone.

    Raises:
        DatasetError: The folder is gone, or its metadata is damaged.
        ResourceError: A file cannot be written; those before it are.
    """
    folder = lens.dataset.folder
    found = current(lens, headers)
    reasons = _Reasons(found, folder)
    asked = {change.name: change for change in changes}
    refused = {n: why for n, change in asked.items() if (why := reasons.against(change))}
    texts = {n: one_line(change.text) for n, change in asked.items() if n not in refused}
    tables: dict[Path, dict[str, str]] = defaultdict(dict)
    for name, text in texts.items():
        if reasons.pictures[name].source == "metadata":
            tables[_table_of(folder, name)][name] = text
    for table, rows in tables.items():
        _write_table(table, table.parent.relative_to(folder).as_posix(), rows)
    for name, text in texts.items():
        if reasons.pictures[name].source != "metadata":
            write_atomically((folder / name).with_suffix(".txt"), f"{text}\n" if text else "")
    return Saved(tuple(texts), refused)


class _Reasons:
    """Why a caption must not be written."""

    def __init__(self, found: Scan, folder: Path) -> None:
        self.pictures: Mapping[str, Picture] = {p.name: p for p in found.pictures}
        self._folder = folder
        self._stems = Counter(posixpath.splitext(name)[0] for name in self.pictures)
        self._faulty = {p.path: p.what for p in found.problems[: found.bad_captions]}

    def against(self, change: Change) -> str:
        """The reason; "" for none."""
        picture = self.pictures.get(change.name)
        if picture is None:
            return "the picture is not there any more"
        text = picture.path.with_suffix(".txt")
        if len(change.text) > LONGEST:
            return f"the caption has {len(change.text):,} signs, and {LONGEST:,} are the most"
        if (picture.caption if picture.source in OWN else "") != change.was:
            return "its caption was changed by another program since it was shown here"
        if picture.source == "metadata":
            return ""
        if self._stems[posixpath.splitext(change.name)[0]] > 1:
            return "two pictures have this name and would share one caption file; rename one"
        if text in self._faulty:
            return f"its caption file was left as it is: {self._faulty[text]}"
        if text.is_symlink() or not text.resolve().is_relative_to(self._folder.resolve()):
            return "its caption file is a link, which is not written through"
        return ""


def _table_of(folder: Path, name: str) -> Path:
    """The metadata file that speaks for the picture: the closest one upwards."""
    place = posixpath.dirname(name)
    while True:
        for table in METADATA:
            if (folder / place / table).is_file():
                return folder / place / table
        if not place:
            raise DatasetError("its metadata file is gone", where=str(folder / name))
        place = posixpath.dirname(place)


def _write_table(table: Path, place: str, rows: Mapping[str, str]) -> None:
    """Change the captions of some rows; all else stays as it is.

    Args:
        table: metadata.jsonl or metadata.csv.
        place: Its folder, from the dataset's.
        rows: Captions by the picture's name, from the dataset's folder.
    """

    def caption_for(named: object) -> str | None:
        full = posixpath.normpath(posixpath.join(place, str(named)))
        return rows.get(full)

    text = read_text(table)
    edit = _edited_csv if table.suffix == ".csv" else _edited_lines
    write_atomically(table, edit(text, caption_for))


def _edited_lines(text: str, caption_for: Callable[[object], str | None]) -> str:
    lines = []
    for line in text.split("\n"):
        values = json.loads(line) if line.strip() else {}
        new = caption_for(values.get("file_name", ""))
        if new is not None:
            values["text" if "text" in values else "caption"] = new
            line = json.dumps(values, ensure_ascii=False)
        lines.append(line)
    return "\n".join(lines)


def _edited_csv(text: str, caption_for: Callable[[object], str | None]) -> str:
    header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    named = header.index("file_name")
    told = header.index("text" if "text" in header else "caption")
    for row in rows:
        new = caption_for(row[named] if len(row) > named else "")
        if new is not None:
            row[told] = new
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows([header, *rows])
    return out.getvalue()
