"""The commands about runs: list, show, stop. Prints; decides nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from trainer.core.errors import RunError

runs_app = typer.Typer(help="List, show and stop runs.", no_args_is_help=True)
out = Console()

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
RunsFolder = Annotated[Path, typer.Option("--runs", help="Where run folders are.")]
RunFolder = Annotated[Path, typer.Argument(help="A run's folder, or its name in the runs folder.")]


@runs_app.command("list")
def runs_list(runs: RunsFolder = Path("runs"), as_json: Json = False) -> None:
    """List runs, newest first."""
    from app.watch import summary
    from trainer.job.run import runs_in

    rows = [summary(found) for found in runs_in(runs)]
    if as_json:
        out.print_json(json.dumps(rows))
        return
    if not rows:
        _plain(f"no runs in {runs.absolute()}; `sweetspot demo` makes one")
        return
    table = Table("run", "status", "step", "loss", "LoRA files", box=None)
    for row in rows:
        table.add_row(*(str(row[k]) for k in ("run", "status", "step", "loss", "files")))
    out.print(table)


@runs_app.command("show")
def runs_show(folder: RunFolder, runs: RunsFolder = Path("runs"), as_json: Json = False) -> None:
    """Tell a run's whole story from its folder."""
    from app.live import Screen
    from app.runner import as_json as line
    from app.watch import find

    found = find(folder, runs)
    if as_json:
        for told in found.events():
            out.print(line(told), markup=False, highlight=False, soft_wrap=True)
        return
    _plain(f"{found.name}: {found.status()}")
    with Screen(Console(file=sys.stdout, force_terminal=False)) as screen:
        for told in found.events():
            screen.show(told)


@runs_app.command("stop")
def runs_stop(folder: RunFolder, runs: RunsFolder = Path("runs")) -> None:
    """Ask a run, or an analysis (by its folder), to finish what it is at, save and end."""
    from app.watch import find_work

    found = find_work(folder, runs)
    if found.status() != "running":
        raise RunError(f"the {found.noun} is not running ({found.status()})", where=str(found.path))
    found.ask_to_stop()
    _plain(f"{found.name} was asked to stop; it saves first")


def _plain(line: str) -> None:
    """One line as it is: no markup, never broken, so that a path in it can be copied."""
    out.print(line, markup=False, highlight=False, soft_wrap=True)
