"""Blind votes on an analysis, one at a time: what to show next, casting, taking back, results.

Votes lie in the analysis's folder, in the file that `sweetspot votes` reads. A vote is appended at
once; lines that are none stay as they are.
"""

from __future__ import annotations

import json
import threading
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.core.errors import RunError
from trainer.core.files import plain_disk_errors, write_atomically

if TYPE_CHECKING:
    from analysis.votes.ballot import Vote

KEPT = "votes.jsonl"
"""Where an analysis's folder keeps its votes."""
_AHEAD = 3
"""Pairs that are told in advance, so that their pictures are there in time."""
_lock = threading.Lock()


def kept(folder: Path) -> list[Vote]:
    """The votes so far."""
    from analysis.votes.ballot import read_votes

    path = folder / KEPT
    return read_votes(path).votes if path.is_file() else []


def turn(folder: Path) -> dict[str, Any]:
    """The next pairs, and how far the voting is.

    Returns:
        `pairs`, `votes` (how many), `last` (the one that can be taken back), `settings`, and
        `enough`: so many votes link every setting with every other.

    Raises:
        RunError: There is no report.
    """
    from analysis.keep import read_report
    from analysis.votes.pairs import pairs, shown_in

    shown = shown_in(read_report(folder))
    votes = kept(folder)
    # The number of votes decides sides: the same pairs come again after a reload.
    found = pairs(shown, _AHEAD, seed=len(votes), before=[vote.pair for vote in votes])
    settings = len({one.setting for one in shown})
    return {
        "pairs": [asdict(pair) for pair in found],
        "votes": len(votes),
        "last": asdict(votes[-1].pair) if votes else None,
        "settings": settings,
        "enough": max(0, settings - 1),
    }


def cast(folder: Path, pair: dict[str, Any], winner: str, who: str = "") -> None:
    """Keep a vote.

    Raises:
        RunError: The pictures are none of the analysis's, or not of one prompt and seed.
        ResourceError: The folder cannot be written.
    """
    from analysis.keep import read_report
    from analysis.votes.pairs import shown_in

    places = {one.cell: (one.prompt, one.seed) for one in shown_in(read_report(folder))}
    left, right = str(pair.get("left")), str(pair.get("right"))
    if left == right or left not in places or places[left] != places.get(right):
        raise RunError("these two pictures are no pair of this analysis", where=str(folder))
    if winner not in ("left", "right", "tie"):
        raise RunError(f"{winner!r} is no vote", where=str(folder), hint="left, right or tie")
    prompt, seed = places[left]
    when = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = {"prompt": prompt, "seed": seed, "left": left, "right": right}
    line |= {"winner": winner, "when": when, "who": who}
    path = folder / KEPT
    with _lock, plain_disk_errors(path):
        _end_line(path)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def take_back(folder: Path) -> None:
    """Take back the last vote.

    Raises:
        RunError: There is none.
    """
    votes = kept(folder)
    if not votes:
        raise RunError("there is no vote to take back", where=str(folder))
    path = folder / KEPT
    with _lock:
        lines = path.read_text(encoding="utf-8-sig").splitlines(keepends=True)
        last = max(n for n, line in enumerate(lines) if _is_vote(line))
        write_atomically(path, "".join(lines[:last] + lines[last + 1 :]))


def results(folder: Path) -> dict[str, Any]:
    """What the votes say, and whether the metrics agree: in sentences and in numbers.

    Raises:
        RunError: There is no report.
    """
    from analysis.keep import read_report
    from analysis.votes.agreement import agreement, measured_in
    from analysis.votes.pairs import shown_in
    from analysis.votes.strengths import chance, score
    from app.votes import sentences

    report = read_report(folder)
    settings = {one.cell: one.setting for one in shown_in(report)}
    votes = kept(folder)
    scores = score(votes, settings)
    titles = {metric["name"]: metric["title"] for metric in report["metrics"]}
    return {
        "sentences": list(sentences(scores)),
        "standings": [
            {
                **asdict(standing),
                "epoch": standing.setting.epoch,
                "at": standing.setting.strength,
                "preferred": standing.preferred,
                "from": chance(standing.low),
                "to": chance(standing.high),
            }
            for standing in scores.standings
        ],
        "islands": len(scores.islands),
        "agreements": [
            {**asdict(found), "title": titles[found.metric]}
            for found in (
                agreement(metric, votes, scores, settings) for metric in measured_in(report)
            )
            if found.counted
        ],
    }


def _is_vote(line: str) -> bool:
    """Whether a line is what `read_votes` counts, as far as one that was cast here goes."""
    try:
        row = json.loads(line)
    except ValueError:
        return False
    return isinstance(row, dict) and row.get("winner") in ("left", "right", "tie")


def _end_line(path: Path) -> None:
    """Close a line that a killed process left half written."""
    if path.is_file() and path.stat().st_size:
        with path.open("rb+") as file:
            file.seek(-1, 2)
            if file.read(1) != b"\n":
                file.write(b"\n")
