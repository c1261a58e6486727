"""What became of the jobs of a queue: as rows, JSON, Markdown, and a page that needs no network."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.queue import claims
from app.queue.holder import Holder
from app.queue.store import STATES, Entry, State, Store
from trainer.core.errors import STOPPED
from trainer.core.files import write_atomically

JOBS_FAILED = 100
"""A batch ends with this and the number of jobs that failed."""
_MOST_TOLD = 25
_UNDONE = ("queued", "running", "interrupted", "stopped")
_HEADINGS = ("job", "name", "kind", "state", "minutes", "why, or what it came to", "folder")
_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem;
  color: #1d1d1f; background: #fff }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .4rem .7rem;
  border-bottom: 1px solid #ccc }
td { overflow-wrap: anywhere }
.completed { color: #16653a } .failed { color: #a4161a } code { font-size: .85em }
@media (prefers-color-scheme: dark) {
  body { color: #eee; background: #161618 } th, td { border-color: #444 }
  .completed { color: #7ddba3 } .failed { color: #ff8a8a }
}
</style>
</head>
<body>
<h1>{{ title }}</h1>
<p>{{ told }}</p>
<table>
<thead><tr>{% for word in headings %}<th scope="col">{{ word }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in rows -%}
<tr><td>{{ row.job }}</td><td>{{ row.name }}</td><td>{{ row.kind }}</td>
<td class="{{ row.state }}">{{ row.state }}</td><td>{{ row.minutes }}</td>
<td>{{ row.why }}{% if row.hint %}<br><small>try: {{ row.hint }}</small>{% endif %}</td>
<td><code>{{ row.folder }}</code></td></tr>
{% endfor -%}
</tbody>
</table>
</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One job.

    Attributes:
        state: As in the queue; "interrupted" when its worker is gone, to be taken up by the next.
        stage: What a running one is at.
        why: Why it failed, or the verdict of its analysis.
        minutes: That processes worked on it, over all attempts.
        on: The machine and device of a running one.
    """

    job: int
    name: str
    kind: str
    state: str
    stage: str
    priority: int
    why: str
    hint: str
    minutes: float
    folder: str
    analysis: str
    exit_code: int | None
    on: str


@dataclass(frozen=True, slots=True)
class Summary:
    """All jobs, and how many are in which state."""

    rows: tuple[Row, ...]
    counts: dict[str, int]

    @property
    def total(self) -> int:
        """How many jobs there are, with or without a row."""
        return sum(self.counts.values())

    @property
    def told(self) -> str:
        """The counts in words."""
        return ", ".join(f"{count} {state}" for state, count in self.counts.items()) or "no jobs"

    @property
    def exit_code(self) -> int:
        """How a batch ends: all done, how many failed, or that some are still to be done."""
        return STOPPED if self.undone else failed_code(self.counts.get("failed", 0))

    @property
    def undone(self) -> int:
        """How many jobs are still to be done."""
        return sum(self.counts.get(state, 0) for state in _UNDONE)

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        rows = [asdict(row) for row in self.rows]
        return {"counts": self.counts, "exit_code": self.exit_code, "jobs": rows}


def failed_code(failed: int) -> int:
    """The exit code that says how many jobs failed."""
    return JOBS_FAILED + min(failed, _MOST_TOLD) if failed else 0


def summary(store: Store, states: Sequence[State] = STATES, most: int = -1) -> Summary:
    """What became of the jobs in these states.

    Args:
        store: The queue.
        states: Which jobs.
        most: Rows to make of them; negative is all. The counts are of all.
    """
    known = claims.holders(store)
    rows = [row_from(entry, known) for entry in store.entries(states, most)]
    counts: dict[str, int] = {s: n for s, n in store.counts().items() if s in states}
    cut = sum(_is_cut(entry, known) for entry in store.entries(("running",)))
    counts["interrupted"] = cut if "running" in states else 0
    counts["running"] = counts.get("running", 0) - counts["interrupted"]
    order = dict.fromkeys(("completed", "failed", "running", "interrupted", *STATES))
    return Summary(tuple(rows), {state: counts[state] for state in order if counts.get(state)})


def row_of(store: Store, entry: Entry) -> Row:
    """One job's row."""
    return row_from(entry, claims.holders(store))


def write_report(told: Summary, path: Path, title: str) -> None:
    """Write a page, or Markdown where the file's name ends in .md.

    Raises:
        ResourceError: The place cannot be written.
    """
    text = _markdown(told, title) if path.suffix.lower() == ".md" else _page(told, title)
    write_atomically(path, text)


def _is_cut(entry: Entry, known: dict[int, Holder]) -> bool:
    """Whether the job's worker is gone, as far as this machine can tell."""
    holder = known.get(entry.worker or 0)
    gone = holder is None or (holder.is_here and not holder.lives)
    return entry.state == "running" and gone


def row_from(entry: Entry, known: dict[int, Holder]) -> Row:
    """A job's row when its workers are known."""
    holder = known.get(entry.worker or 0)
    state = "interrupted" if _is_cut(entry, known) else entry.state
    place = f"{entry.place_of_problem}: " if entry.place_of_problem else ""
    return Row(
        job=entry.id,
        name=entry.name,
        kind=entry.kind,
        state=state,
        stage=entry.stage + (", to be stopped" if entry.wish else ""),
        priority=entry.priority,
        why=f"{place}{entry.problem}" if entry.problem else entry.verdict,
        hint=entry.hint,
        minutes=round(entry.seconds / 60, 2),
        folder=entry.folder or entry.sweep,
        analysis=entry.sweep,
        exit_code=entry.exit_code,
        on=f"{holder.host}, {holder.device}" if holder and state == "running" else "",
    )


def _page(told: Summary, title: str) -> str:
    from jinja2 import Environment, StrictUndefined

    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(_PAGE)
    made = f"{told.told}; written {time.strftime('%Y-%m-%d %H:%M')}"
    text: str = page.render(title=title, told=made, headings=_HEADINGS, rows=told.rows)
    return text


def _markdown(told: Summary, title: str) -> str:
    lines = [f"# {title}", "", told.told, ""]
    lines += [_line(_HEADINGS), _line(["---"] * len(_HEADINGS))]
    for row in told.rows:
        cells = (row.job, row.name, row.kind, row.state, row.minutes, row.why, row.folder)
        lines.append(_line([str(cell) for cell in cells]))
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[str]) -> str:
    escaped = (cell.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;") for cell in cells)
    return f"| {' | '.join(escaped)} |"
