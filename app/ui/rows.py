"""Runs as lists show them, and which rows changed since a page asked last.

A page that shows a thousand runs and asks every few seconds is sent what changed, and no more.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.ui.now import row
from app.ui.shelf import Entry, Stamp, flat, stamp_of
from trainer.job.run import Run

if TYPE_CHECKING:
    from app.ui.desk import Desk

_Key = tuple[Any, ...]


class Rows:
    """A row for each run, made anew only when the run changed.

    Args:
        desk: Knows the runs.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._lock = threading.Lock()
        self._server = secrets.token_hex(4)
        self._count = itertools.count(1)
        self._rows: dict[Path, tuple[_Key, int, dict[str, Any]]] = {}
        self._pictures: dict[Path, tuple[Stamp, Path | None]] = {}

    def since(self, seen: str) -> dict[str, Any]:
        """The rows that changed since an earlier answer, and the names of all, newest first.

        Args:
            seen: What that answer called itself; all rows are told when it is none of this
                server's.
        """
        server, _, number = seen.partition("-")
        after = int(number) if server == self._server and number.isdigit() else 0
        rows = self._all()
        latest = max((version for version, _ in rows), default=0)
        return {
            "seen": f"{self._server}-{max(latest, after)}",
            "rows": [told for version, told in rows if version > after],
            "names": [told["name"] for _, told in rows],
            "folder": str(self._desk.runs),
        }

    def recent(self, count: int) -> list[dict[str, Any]]:
        """The newest runs."""
        entries = [entry for entry in self._desk.entries() if isinstance(entry.work, Run)]
        with self._lock:
            return [self._row(entry)[1] for entry in entries[:count]]

    def _all(self) -> list[tuple[int, dict[str, Any]]]:
        entries = self._desk.entries()
        runs = [entry for entry in entries if isinstance(entry.work, Run)]
        with self._lock:
            rows = [self._row(entry) for entry in runs]
            for path in self._rows.keys() - {entry.work.path for entry in runs}:
                del self._rows[path]
        self._desk.tails.keep_only({entry.work.path for entry in flat(entries)})
        return rows

    def _row(self, entry: Entry) -> tuple[int, dict[str, Any]]:
        key = _key(entry)
        known = self._rows.get(entry.work.path)
        if known is None or known[0] != key:
            known = (key, next(self._count), self._told(entry))
            self._rows[entry.work.path] = known
        return known[1:]

    def _told(self, entry: Entry) -> dict[str, Any]:
        work = entry.work
        told = row(self._desk, work, entry.status)
        told["made"] = entry.made
        if not told["sample"] or stamp_of(f"{work.path}/{told['sample']}") is None:
            told["sample"] = _newest_sample(work.path)
        told["analysis"] = self._analysis(entry)
        del told["facts"]
        return told

    def _analysis(self, entry: Entry) -> dict[str, Any] | None:
        """What the latest analysis that came to an end came to."""
        for each in reversed(entry.analyses):
            brief = self._desk.tails.brief(each.work, each.status)
            if brief.headline:
                report = stamp_of(f"{each.work.path}/report.json")
                return {
                    "name": self._desk.name_of(each.work),
                    "headline": brief.headline,
                    "best": brief.chosen is not None and report is not None,
                }
        return None

    def best(self, sweep: Path) -> Path | None:
        """The picture of the first prompt by what an analysis chose; None where there is none.

        Read when it is asked for: a report is large, and a list of runs is long.
        """
        stamp = stamp_of(f"{sweep}/report.json")
        if stamp is None:
            return None
        known = self._pictures.get(sweep)
        if known is None or known[0] != stamp:
            known = self._pictures[sweep] = (stamp, _chosen_picture(sweep))
        return known[1]


def _key(entry: Entry) -> _Key:
    """What a row is made from: as long as it is the same, so is the row."""
    work = entry.work
    inner = [(each.status, stamp_of(f"{each.work.path}/events.jsonl")) for each in entry.analyses]
    return (entry.status, entry.made, stamp_of(f"{work.path}/events.jsonl"), *inner)


def _newest_sample(run: Path) -> str:
    """The last sample picture by name, relative to the run: in the order of training."""
    try:
        with os.scandir(run / "samples") as found:
            names = [each.name for each in found if each.name.startswith("e")]
    except OSError:
        return ""
    return f"samples/{max(names)}" if names else ""


def _chosen_picture(sweep: Path) -> Path | None:
    try:
        told = json.loads((sweep / "report.json").read_text(encoding="utf-8"))
        choice = told["verdict"]["choice"]
        cells = [
            cell
            for cell in told["cells"]
            if (cell["epoch"], cell["strength"]) == (choice["epoch"], choice["strength"])
            and cell["status"] == "ok"
        ]
        found = sweep / min(cells, key=lambda c: (c["prompt"], c["seed"]))["picture"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if found.is_file() else None
