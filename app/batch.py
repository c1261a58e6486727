"""The command that does many jobs, one after the other."""

from __future__ import annotations

import os
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
    require_devices,
    settled_device,
    work,
)
from app.queue.holder import LEASE_SECONDS
from app.queue.matrix import MOST_RUNS
from trainer.core.errors import STOPPED, ResourceError

if TYPE_CHECKING:
    from app.queue.store import Asked
    from app.queue.summary import Summary

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
    from app.queue.claims import in_words, left_waiting
    from app.queue.intake import Wishes
    from app.queue.summary import summary

    if (resume is None) == (not sources):
        raise typer.BadParameter("name job files or folders, or --resume with a batch's folder")
    if resume is None:
        asked = read(sources or [], Wishes(override or (), runs, analyse, most))
        if dry_run:
            raise typer.Exit(print_prices(asked, as_json=as_json))
        settled_device(device)
        require_devices(asked)
        _require_place(report)
        resume = _made_batch((sources or [Path()])[0], asked, runs)
    with opened(resume) as store:
        err.print(Text(f"batch folder: {resume.absolute()}"), soft_wrap=True)
        work(store, device, share=False, stay=False, lease=LEASE_SECONDS)
        told, left = summary(store), left_waiting(store, settled_device(device))
        waits = in_words(store, left)
    print_summary(told, as_json=as_json)
    page = resume.absolute() / "report.html"
    failed = _write_reports(told, [page, *([report] if report else [])])
    if not as_json:
        _print_end(told, page, waits, to_go_on=told.undone > sum(left.values()))
    raise typer.Exit(told.exit_code or failed)


def _require_place(report: Path | None) -> None:
    """Refuse a report's place before any work, as far as it can be told."""
    if report is None:
        return
    there = next(p for p in (report.absolute(), *report.absolute().parents) if p.exists())
    wrong = there.is_dir() if there == report.absolute() else not there.is_dir()
    if wrong or not os.access(there, os.W_OK):
        raise ResourceError(
            "the report cannot be written here", where=str(report), hint="another --report"
        )


def _write_reports(told: Summary, pages: list[Path]) -> int:
    """Write the pages, the first into the batch's folder; the exit code of one that cannot be."""
    from app.queue.summary import write_report

    failed = 0
    for page in pages:
        try:
            write_report(told, page, f"Batch {pages[0].parent.name}")
        except ResourceError as error:  # what the jobs came to is told all the same
            err.print(Text(f"the report was not written: {error}", style="yellow"), soft_wrap=True)
            failed = error.exit_code
    return failed


def _print_end(told: Summary, page: Path, waits: list[str], *, to_go_on: bool) -> None:
    if page.is_file():
        plain(f"report: {page}")
    for line in waits:
        plain(line)
    if told.exit_code == STOPPED and to_go_on:
        plain(f"to go on: sweetspot batch --resume {page.parent}")


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
