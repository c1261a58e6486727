"""Captions: which source counts for a picture, and what chance does to the words in training.

It does not know pictures beyond their names, nor how the generator of chance was keyed.
"""

from __future__ import annotations

import csv
import io
import json
import posixpath
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from string import Formatter
from typing import TYPE_CHECKING, Any, Literal

from trainer.core.errors import DatasetError

if TYPE_CHECKING:
    from trainer.data.folder import Files
    from trainer.job.pictures import DatasetConfig


Source = Literal["metadata", "txt", "folder", "template", "none"]

METADATA = ("metadata.jsonl", "metadata.csv")


@dataclass(frozen=True, slots=True)
class Told:
    """A caption and where it comes from."""

    caption: str
    source: Source


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a metadata file; `caption` is None where the line holds none."""

    line: int
    name: str
    caption: str | None


class Captions:
    """Each picture's caption, from the first source that has one.

    First metadata.jsonl or .csv of the closest folder, then the .txt of the same name, then
    the words of a folder like `10_sks dog`, then the job's template.

    Raises:
        DatasetError: A metadata file is damaged, or says two things of one picture.

    Attributes:
        used: Names of the caption files that pictures took their words from.
        faults: Caption files that cannot be read, or belong to several pictures.
    """

    def __init__(self, config: DatasetConfig, files: Files) -> None:
        self._files = files
        blanks = any(name is not None for _, name, _, _ in Formatter().parse(config.template))
        fills = config.trigger or config.class_word or not blanks
        self._template = config.template_caption if fills else ""
        self._sharing = Counter(map(_stem, files.pictures))
        self._foreign = {_stem(name): name for name in files.foreign}
        self._tables = _tables(files)
        self.used: set[str] = set()
        self.faults: list[DatasetError] = []
        self._bare: list[str] = []

    def of(self, name: str, folder_words: str) -> Told | None:
        """The caption of the picture `name`; None is remembered for `require_all`."""
        row = self._row(name)
        if row is not None:
            return Told(row, "metadata")
        words = self._from_text(name) or self._from_job(name, folder_words)
        if words is None:
            self._bare.append(name)
            return None
        if self._tables and (table := self._table_of(name)):
            self._files.note(
                name, f"{table} has no caption for it; the one of its {words.source} counts"
            )
        return words

    def require_all(self) -> None:
        """Refuse to go on while a picture asked for has no caption that can be read.

        Raises:
            DatasetError: Naming the first such file, and how many there are.
        """
        if self.faults:
            first, count = self.faults[0], len(self.faults)
            more = f" (so are {count - 1} more caption files)" if count > 1 else ""
            raise DatasetError(f"{first.problem}{more}", where=first.where, hint=first.hint)
        if self._bare:
            raise DatasetError(
                f"{len(self._bare)} of {len(self._files.pictures)} pictures have no caption, "
                f"the first is {self._bare[0]!r}",
                where=str(self._files.folder),
                hint="set dataset.trigger and dataset.class_word to use one caption for all, or "
                "add .txt files of the same names beside the pictures",
            )

    def _row(self, name: str) -> str | None:
        table = self._table_of(name)
        return self._tables[table].get(name) if table else None

    def _table_of(self, name: str) -> str:
        """The metadata file that speaks for the picture: the closest one upwards."""
        place = name
        while self._tables and place:
            place = posixpath.dirname(place)
            for table in METADATA:
                if (full := posixpath.join(place, table)) in self._tables:
                    return full
        return ""

    def _from_text(self, name: str) -> Told | None:
        text = f"{_stem(name)}.txt"
        if text not in self._files.texts:
            return None
        self.used.add(text)
        path = self._files.folder / text
        if self._sharing[_stem(name)] > 1:
            self.faults.append(_ambiguous(path, name))
            return Told("", "txt")
        try:
            return Told(read_caption(path), "txt")
        except DatasetError as error:
            self.faults.append(error)
            return Told("", "txt")

    def _from_job(self, name: str, folder_words: str) -> Told | None:
        """The folder's words or the template, unless a caption lies there in the wrong clothes."""
        if (foreign := self._foreign.get(_stem(name))) is not None:
            self.faults.append(_foreign(self._files.folder / foreign))
            return Told("", "txt")
        if folder_words:
            return Told(folder_words, "folder")
        return Told(self._template, "template") if self._template else None


def final_caption(caption: str, config: DatasetConfig, *, chance: Random) -> str:
    """The caption after caption dropout, tag dropout and tag shuffle, in this order.

    A caption without commas is one sentence: its words stay as they are. The first
    `config.keep_tags` tags neither move nor drop.
    """
    if chance.random() < config.caption_dropout:
        return ""
    if not config.captions_vary:
        return caption
    tags = [tag for part in caption.split(",") if (tag := part.strip())]
    if len(tags) < 2:
        return caption
    fixed, free = tags[: config.keep_tags], tags[config.keep_tags :]
    free = [tag for tag in free if chance.random() >= config.tag_dropout]
    if config.shuffle_tags:
        chance.shuffle(free)
    return ", ".join(fixed + free)


def read_caption(path: Path) -> str:
    """The text of a caption file on one line.

    Raises:
        DatasetError: See `read_text`.
    """
    return one_line(read_text(path))


def one_line(text: str) -> str:
    """The text without line breaks and outer spaces."""
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, with or without byte order mark. Nothing is guessed.

    Raises:
        DatasetError: It cannot be read, or is not UTF-8.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise DatasetError(f"it cannot be read ({error.strerror})", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise _not_utf8(path, data, error.start) from error
    if "\0" in text:
        raise _not_utf8(path, data, data.index(0))
    return text


def read_metadata(path: Path) -> Iterator[Row]:
    """The rows of an imagefolder's metadata.jsonl or metadata.csv.

    Raises:
        DatasetError: A line is damaged, or names no file.
    """
    lines = _csv_lines if path.suffix == ".csv" else _json_lines
    for number, values in lines(path):
        name = values.get("file_name")
        if not isinstance(name, str) or not name:
            raise DatasetError(
                f"line {number} has no 'file_name'",
                where=str(path),
                hint="each line needs file_name, and a caption in 'text' or 'caption'",
            )
        text = values.get("text", values.get("caption"))
        if text is not None and not isinstance(text, str):
            raise DatasetError(
                f"the caption in line {number} is not text: {text!r}", where=str(path)
            )
        yield Row(number, name, None if text is None else one_line(text))


def _stem(name: str) -> str:
    return posixpath.splitext(name)[0]


def _tables(files: Files) -> dict[str, dict[str, str | None]]:
    """Captions by picture for each metadata file; rows without a picture are noted."""
    places = [posixpath.dirname(name) for name in files.metadata]
    if len(set(places)) < len(places):
        raise DatasetError(
            "there are a metadata.jsonl and a metadata.csv in one folder",
            where=str(files.folder),
            hint="keep one of them",
        )
    pictures = set(files.pictures)
    return {name: _table(files, name, pictures) for name in files.metadata}


def _table(files: Files, metadata: str, pictures: set[str]) -> dict[str, str | None]:
    path = files.folder / metadata
    table: dict[str, str | None] = {}
    for row in read_metadata(path):
        name = posixpath.normpath(posixpath.join(posixpath.dirname(metadata), row.name))
        if name not in pictures:
            files.note(metadata, f"line {row.line} names {row.name!r}, which is no picture here")
        elif table.setdefault(name, row.caption) != row.caption:
            raise DatasetError(
                f"line {row.line} gives {row.name!r} another caption than a line before",
                where=str(path),
                hint="keep one line for each picture",
            )
    return table


def _ambiguous(path: Path, name: str) -> DatasetError:
    return DatasetError(
        f"it could belong to {name!r} and to another picture of the same name",
        where=str(path),
        hint="rename one of the pictures, or use a metadata.jsonl",
    )


def _foreign(path: Path) -> DatasetError:
    return DatasetError(
        f"captions in {path.suffix} files are not read", where=str(path), hint="rename it to .txt"
    )


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except ValueError as error:
            raise DatasetError(f"line {number} is not JSON ({error})", where=str(path)) from error
        if not isinstance(values, dict):
            raise DatasetError(f"line {number} is not a JSON object", where=str(path))
        yield number, values


def _csv_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        for values in reader:
            yield reader.line_num, values
    except csv.Error as error:
        raise DatasetError(
            f"line {reader.line_num} is not CSV ({error})", where=str(path)
        ) from error


def _not_utf8(path: Path, data: bytes, place: int) -> DatasetError:
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff") or 0 in data
    return DatasetError(
        f"it is not UTF-8: byte {place} is 0x{data[place]:02x}",
        where=str(path),
        hint=f"save it as UTF-8{'; it looks like UTF-16' if wide else ''}",
    )
