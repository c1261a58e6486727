"""The command that does many jobs, one after the other."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from app.queue.desk import (
    Analyse,
    Device,
    DryRun,
    Json,
    Most,
    Runs,
    Set,
    err,
    opened,
    plain,
    print_prices,
    print_summary,
    read,
    work,
)
from app.queue.holder import LEASE_SECONDS
from app.queue.matrix import MOST_RUNS
from trainer.core.errors import STOPPED

if TYPE_CHECKING:
    from app.queue.store import Asked

commands = typer.Typer()


@commands.command()
def batch(
    sources: Annotated[
        list[Path] | None, typer.Argument(help="Job files, matrix jobs, or folders of them.")
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this batch's folder.")] = None,
    override: Set = None,
    analyse: Analyse = False,
    runs: Runs = None,
    device: Device = "auto",
    most: Most = MOST_RUNS,
    report: Annotated[
        Path | None, typer.Option(help="Write the report here too, .html or .md.")
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Do many jobs, one after the other; one that fails does not stop the others.

    Ends with 0 when all are done, with 100 and the number that failed, or with 75 when stopped.
    """
    from app.queue.intake import Wishes
    from app.queue.summary import summary, write_report

    if (resume is None) == (not sources):
        raise typer.BadParameter("name job files or folders, or --resume with a batch's folder")
    if resume is None:
        asked = read(sources or [], Wishes(override or (), runs, analyse, most))
        if dry_run:
            raise typer.Exit(print_prices(asked, as_json=as_json))
        resume = _made_batch((sources or [Path()])[0], asked, runs)
    with opened(resume) as store:
        err.print(Text(f"batch folder: {resume.absolute()}"), soft_wrap=True)
        work(store, device, share=False, stay=False, lease=LEASE_SECONDS)
        told = summary(store)
    title = f"Batch {resume.absolute().name}"
    pages = [resume.absolute() / "report.html", *([report] if report else [])]
    for page in pages:
        write_report(told, page, title)
    print_summary(told, as_json=as_json)
    if not as_json:
        plain(f"report: {pages[0]}")
        if told.exit_code == STOPPED:
            plain(f"to go on: sweetspot batch --resume {resume}")
    raise typer.Exit(told.exit_code)


def _made_batch(source: Path, asked: list[Asked], runs: Path | None) -> Path:
    """A new folder with a queue of its own."""
    from app.queue.store import Store
    from trainer.core.work import make_folder

    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", source.absolute().stem).strip("-.") or "jobs"
    place = (runs or Path("runs")).absolute() / "batches"
    folder = make_folder(place, f"{date.today().isoformat()}-{stem[:64]}", ())
    with Store(folder) as store:
        store.add(asked)
    return folder
