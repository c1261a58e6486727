"""Votes as people cast them, kept as CSV or as JSON lines.

A cell goes by the name of its picture as report.json has it. What a vote says of a setting is
`strengths`'.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from trainer.core.errors import RunError
from trainer.core.files import write_atomically

Winner = Literal["left", "right", "tie"]

COLUMNS = ("prompt", "seed", "left", "right", "winner", "when", "who")
"""Of a CSV file, and the keys of a JSON line; the last two may be missing."""
_OPTIONAL = ("when", "who")

Rows = Iterator[tuple[int, Mapping[Any, Any] | str]]
"""The number of each line, and what it says, or what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures of the same prompt and seed, side by side.

    Attributes:
        left: The cell shown on the left.
        right: The cell shown on the right.
    """

    left: str
    right: str
    prompt: str
    seed: int


@dataclass(frozen=True, slots=True)
class Vote:
    """What a person said of a pair.

    Attributes:
        when: With a time zone; None where the file does not tell.
        who: A name or pseudonym; may be empty.
    """

    pair: Pair
    winner: Winner
    when: datetime | None = None
    who: str = ""


@dataclass(frozen=True, slots=True)
class Ballot:
    """Votes as read from a file.

    Attributes:
        problems: One sentence for each line that is no vote: file, line, what.
    """

    votes: list[Vote] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_votes(path: Path) -> Ballot:
    """Read votes; a line that is none becomes a problem, and the rest goes on.

    Raises:
        RunError: There is no such file, it is no text, or of another kind.
    """
    ballot = Ballot()
    for number, row in _rows(path):
        try:
            vote = row if isinstance(row, str) else _vote(row)
        except ValueError as error:
            vote = str(error)
        if isinstance(vote, Vote):
            ballot.votes.append(vote)
        else:
            ballot.problems.append(f"{path.name}, line {number}: {vote}")
    return ballot


def write_votes(path: Path, votes: Iterable[Vote]) -> None:
    """Write votes as CSV or JSON lines, by the file's ending.

    Raises:
        RunError: It has another ending.
        ResourceError: The place cannot be written.
    """
    rows = [_row(vote) for vote in votes]
    if _ending(path) == ".csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(path, text.getvalue())
        return
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    write_atomically(path, "".join(lines))


def merged(*several: Iterable[Vote]) -> list[Vote]:
    """Votes from several places; what one place has that an earlier one had is counted once."""
    found: list[Vote] = []
    for votes in several:
        there = set(found)
        found += [vote for vote in votes if vote not in there]
    return found


def _rows(path: Path) -> Rows:
    ending = _ending(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise RunError("there is no such file", where=str(path), hint="a file of votes") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(
            f"the votes cannot be read: {error}", where=str(path), hint="a text file in UTF-8"
        ) from error
    return _csv_rows(text, path) if ending == ".csv" else _json_rows(text)


def _ending(path: Path) -> str:
    ending = path.suffix.lower()
    if ending not in (".csv", ".jsonl"):
        raise RunError(
            f"votes are kept as .csv or .jsonl, and this ends with {ending!r}",
            where=str(path),
            hint="votes.csv or votes.jsonl",
        )
    return ending


def _csv_rows(text: str, path: Path) -> Rows:
    """Rows with the number of their last line; semicolons are what some spreadsheets write."""
    header = text.partition("\n")[0]
    semicolons = header.count(";") > header.count(",")
    lines = io.StringIO(text, newline="")
    reader = csv.DictReader(lines, delimiter=";" if semicolons else ",", strict=True)
    absent = [c for c in COLUMNS if c not in (reader.fieldnames or ()) and c not in _OPTIONAL]
    if absent:
        raise RunError(
            f"its first line names no column {absent[0]!r}",
            where=str(path),
            hint=f"a first line of {','.join(COLUMNS)}",
        )
    while True:
        try:
            row = next(reader)
        except csv.Error as error:
            yield reader.reader.line_num, f"it is no CSV: {error}"
        except StopIteration:
            return
        else:
            yield reader.reader.line_num, row


def _json_rows(text: str) -> Rows:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError):
            row = None
        yield number, row if isinstance(row, dict) else "it is no JSON object"


def _vote(row: Mapping[Any, Any]) -> Vote:
    """A vote.

    Raises:
        ValueError: With a sentence for people.
    """
    if any(row.get(None) or ()):
        raise ValueError(f"it has more values than there are columns: {row[None]}")
    left, right, winner = (_text(row, key) for key in ("left", "right", "winner"))
    if left == right:
        raise ValueError(f"both sides are {left!r}")
    seed = _text(row, "seed")
    if not seed.isascii() or not seed.isdigit():
        raise ValueError(f"its seed is {seed!r}, and must be a whole number")
    pair = Pair(left, right, str(row.get("prompt") or ""), int(seed))
    return Vote(pair, _winner(winner), _when(row), str(row.get("who") or "").strip())


def _text(row: Mapping[Any, Any], key: str) -> str:
    value = row.get(key)
    text = "" if value is None else str(value).strip()
    if not text:
        raise ValueError(f"it has no {key!r}")
    return text


def _winner(text: str) -> Winner:
    for winner in get_args(Winner):
        if text.lower() == winner:
            found: Winner = winner
            return found
    raise ValueError(f"its winner is {text!r}, and must be left, right or tie")


def _when(row: Mapping[Any, Any]) -> datetime | None:
    """A time without a zone is taken as UTC."""
    text = str(row.get("when") or "").strip()
    if not text:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"its time is {text!r}, and must be like 2026-01-31T14:00:00Z") from None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _row(vote: Vote) -> dict[str, Any]:
    return {
        "prompt": vote.pair.prompt,
        "seed": vote.pair.seed,
        "left": vote.pair.left,
        "right": vote.pair.right,
        "winner": vote.winner,
        "when": vote.when.isoformat() if vote.when else "",
        "who": vote.who,
    }
