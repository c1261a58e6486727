"""What the commands about many jobs share: options, opening a queue, working at it, printing."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.queue.database import FILE
from trainer.core.errors import ConfigError, RunError

if TYPE_CHECKING:
    from app.queue.intake import Wishes
    from app.queue.store import Asked, State, Store
    from app.queue.summary import Summary

SHOWN = 100
"""Rows that are printed unless more are asked for."""
out = Console()
err = Console(stderr=True)

Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Override a setting of every job."),
]
Runs = Annotated[
    Path | None, typer.Option(help="Where run folders are; each job's own setting unless given.")
]
Analyse = Annotated[bool, typer.Option("--analyse", help="Analyse each run when it is trained.")]
Most = Annotated[int, typer.Option(min=1, help="Runs that a matrix may make.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what it would take, and stop.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda:0, cuda:1, ... or mps.")]


def opened(folder: Path) -> Store:
    """The queue of this folder.

    Raises:
        RunError: There is none.
    """
    from app.queue.store import Store

    if not (folder / FILE).is_file():
        raise RunError(
            "there is no queue here",
            where=str(folder),
            hint="`sweetspot queue add JOB.toml` makes one; --queue names another folder",
        )
    return Store(folder)


def read(sources: Sequence[Path], wishes: Wishes) -> list[Asked]:
    """The jobs of these files and folders; names that stand twice are told.

    Raises:
        ConfigError: One of them cannot be used; then none is.
    """
    from app.queue.intake import jobs_in

    asked = jobs_in(sources, wishes)
    names = [one.name for one in asked]
    if len(set(names)) < len(names):
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        words = f"note: {names.count(twice[0])} jobs are called {twice[0]!r}"
        more = f", and {len(twice) - 1} more names stand there twice" if len(twice) > 1 else ""
        err.print(Text(f"{words}{more}; their run folders are numbered", style="yellow"))
    return asked


def work(store: Store, device: str, *, share: bool, stay: bool, lease: float) -> bool:
    """Work at the queue; False when somebody asked to stop before all was done.

    Raises:
        ConfigError: This machine has no such device.
        RunError: Another worker is on it.
    """
    from app.queue.worker import Worker

    def say(words: str) -> None:
        err.print(Text(f"{time.strftime('%H:%M:%S')} {words}"), soft_wrap=True)

    settled = settled_device(device)
    return Worker(store, settled, say=say, share=share, lease=lease).work(stay=stay)


def settled_device(device: str) -> str:
    """The device that a worker is on, with a card's number.

    Raises:
        ConfigError: This machine has no such device.
    """
    from trainer.core import device as devices

    settled = devices.plan(device, "auto").device
    return "cuda:0" if settled == "cuda" else settled


def require_devices(asked: Sequence[Asked]) -> None:
    """Refuse jobs that name a device which this machine has not.

    Raises:
        ConfigError: For the first of them.
    """
    known: set[str] = set()
    for one in asked:
        if one.device in known:
            continue
        known.add(one.device)
        try:
            settled_device(one.device)
        except ConfigError as error:
            raise ConfigError(
                error.problem,
                where=f"job {one.name!r}: device {one.device!r}",
                hint="--set compute.device=auto, or `sweetspot queue add` where that device's "
                "worker reads the queue",
            ) from None


def states(words: Sequence[str]) -> list[State]:
    """Names of states as a person writes them.

    Raises:
        ConfigError: One is none.
    """
    from app.queue.store import STATES

    for word in words:
        if word not in STATES:
            raise ConfigError(
                f"there is no state {word!r}", where="--state", hint="one of " + ", ".join(STATES)
            )
    return [state for state in STATES if state in words]


def print_summary(told: Summary, *, as_json: bool) -> None:
    """A row a job, and the counts."""
    if as_json:
        out.print_json(json.dumps(told.as_dict()))
        return
    colours = {"completed": "green", "failed": "red", "running": "bold", "interrupted": "yellow"}
    table = Table("job", box=None)
    for heading in ("name", "state", "minutes", "why, or what it came to", "folder"):
        table.add_column(heading, overflow="fold")
    for row in told.rows:
        state = row.state + (f" ({row.stage})" if row.stage else "")
        table.add_row(
            *(str(row.job), Text(row.name), Text(state, style=colours.get(row.state, ""))),
            *(f"{row.minutes:.1f}", Text(row.why), Text(row.folder and Path(row.folder).name)),
        )
    if told.rows:
        out.print(table)
    if len(told.rows) < told.total:
        plain(f"and {told.total - len(told.rows):,} more; --limit shows them")
    plain(told.told)


def print_prices(asked: Sequence[Asked], *, as_json: bool) -> int:
    """A table of what jobs will take, with the sum; the exit code that a batch would have."""
    from app.queue.costs import prices
    from app.queue.summary import failed_code

    found = prices(asked)
    refused = sum(bool(price.problem) for price in found)
    steps, disk = sum(price.steps for price in found), sum(price.disk for price in found)
    seconds = sum(price.seconds for price in found)
    if as_json:
        total = {"steps": steps, "seconds": seconds, "disk": disk, "refused": refused}
        out.print_json(json.dumps({"runs": [asdict(price) for price in found], "total": total}))
        return failed_code(refused)
    table = Table("name", "steps", "time", "disk", "memory", "problem", box=None)
    for price in found[:SHOWN]:
        figures = (_duration(price.seconds), _size(price.disk), _size(price.memory))
        known = (f"{price.steps:,}", *figures) if price.steps else ("",) * 4
        table.add_row(Text(price.name), *known, Text(price.problem))
    out.print(table)
    if len(found) > SHOWN:
        plain(f"and {len(found) - SHOWN} more; --json lists all")
    plain(f"{len(found)} jobs: {steps:,} steps, {_duration(seconds)}, {_size(disk)} of disk")
    if refused:
        plain(f"{refused} of them would be refused")
    return failed_code(refused)


def plain(line: str) -> None:
    """One line as it is: no markup, never broken, so that a path in it can be copied."""
    out.print(line, markup=False, highlight=False, soft_wrap=True)


def _duration(seconds: float) -> str:
    if not seconds:
        return "not known"
    if seconds < 90:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
