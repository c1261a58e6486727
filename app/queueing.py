"""The commands about the queue. Prints; decides nothing."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from app.queue.desk import (
    SHOWN,
    Analyse,
    Device,
    DryRun,
    Json,
    Most,
    Runs,
    Set,
    opened,
    out,
    plain,
    print_prices,
    print_summary,
    read,
    states,
    work,
)
from app.queue.holder import LEASE_SECONDS
from app.queue.matrix import MOST_RUNS
from trainer.core.errors import STOPPED, ConfigError, RunError

queue_app = typer.Typer(
    help="Jobs that wait, and whoever works on them (docs/batch.md).", no_args_is_help=True
)

_QUEUE = Path("runs/queue")
_MOST = 1_000_000_000
Sources = Annotated[list[Path], typer.Argument(help="Job files, matrix jobs, or folders of them.")]
Queue = Annotated[Path, typer.Option("--queue", help="The queue's folder.")]
Share = Annotated[bool, typer.Option("--share", help="Work beside another worker of the device.")]
JobNames = Annotated[list[str], typer.Argument(help="Numbers or names of jobs.")]
JobName = Annotated[str, typer.Argument(help="A job's number or name.")]


@queue_app.command("add")
def queue_add(
    sources: Sources,
    queue: Queue = _QUEUE,
    override: Set = None,
    analyse: Analyse = False,
    runs: Runs = None,
    priority: Annotated[int, typer.Option(min=-_MOST, max=_MOST, help="Higher goes first.")] = 0,
    first: Annotated[bool, typer.Option("--first", help="Before others of the priority.")] = False,
    most: Most = MOST_RUNS,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Put jobs into the queue, as they are now: a later change of the file changes nothing."""
    from app.queue.intake import Wishes
    from app.queue.store import Store

    asked = read(sources, Wishes(override or (), runs, analyse, most))
    if dry_run:
        raise typer.Exit(print_prices(asked, as_json=as_json))
    with Store(queue) as store:
        numbers = store.add(asked, priority=priority, first=first)
    if as_json:
        named = [{"job": n, "name": a.name} for n, a in zip(numbers, asked, strict=True)]
        out.print_json(json.dumps(named))
        return
    for number, one in list(zip(numbers, asked, strict=True))[:SHOWN]:
        plain(f"job {number}: {one.name}")
    if len(numbers) > SHOWN:
        plain(f"and {len(numbers) - SHOWN} more, up to job {numbers[-1]}")


@queue_app.command("list")
def queue_list(
    queue: Queue = _QUEUE,
    state: Annotated[list[str] | None, typer.Option(help="Only these; repeatable.")] = None,
    limit: Annotated[
        int, typer.Option(min=0, max=_MOST, help="Rows; 0 is 100, or all in JSON and reports.")
    ] = 0,
    report: Annotated[Path | None, typer.Option(help="Write .html or .md instead.")] = None,
    as_json: Json = False,
) -> None:
    """List the jobs: those that run, those that wait in their order, those that ended."""
    from app.queue.store import STATES
    from app.queue.summary import summary, write_report

    with opened(queue) as store:
        most = limit or (-1 if as_json or report else SHOWN)
        told = summary(store, states(state or STATES), most)
        pause = store.pause
    if report is not None:
        write_report(told, report, "Queue")
        plain(f"wrote {report}")
        return
    print_summary(told, as_json=as_json)
    if pause and not as_json:
        plain("the queue is paused; `sweetspot queue resume` goes on")


@queue_app.command("show")
def queue_show(job: JobName, queue: Queue = _QUEUE, as_json: Json = False) -> None:
    """Tell all of one job, and print its settings."""
    from app.checks import print_facts
    from app.queue.folders import as_toml
    from app.queue.summary import row_of

    with opened(queue) as store:
        entry = store.find(job)
        text = store.text(entry.id)
        row = asdict(row_of(store, entry))
    if as_json:
        out.print_json(json.dumps({**row, "settings": json.loads(text)}))
        return
    print_facts({name: str(value) for name, value in row.items() if value not in ("", None)}, out)
    plain("")
    plain(as_toml(entry, text).rstrip())


@queue_app.command("move")
def queue_move(
    job: JobName,
    queue: Queue = _QUEUE,
    first: Annotated[bool, typer.Option("--first", help="Before all of its priority.")] = False,
    last: Annotated[bool, typer.Option("--last", help="After all of its priority.")] = False,
    before: Annotated[str, typer.Option(help="Before this job, at its priority.")] = "",
    after: Annotated[str, typer.Option(help="After this job, at its priority.")] = "",
    priority: Annotated[
        int | None, typer.Option(min=-_MOST, max=_MOST, help="Another priority.")
    ] = None,
) -> None:
    """Move a waiting job."""
    from app.queue import order

    ways = [first, last, bool(before), bool(after), priority is not None]
    if sum(ways) != 1:
        raise typer.BadParameter("one of --first, --last, --before, --after and --priority")
    with opened(queue) as store:
        entry = store.find(job)
        if priority is not None:
            order.prioritise(store, entry, priority)
        elif before or after:
            side: order.Side = "before" if before else "after"
            order.beside(store, entry, store.find(before or after), side)
        else:
            order.to_edge(store, entry, last=last)
        waiting = [one.id for one in store.entries(("queued",))]
    plain(f"job {entry.id} {entry.name} is number {waiting.index(entry.id) + 1} of those waiting")


@queue_app.command("pause")
def queue_pause(
    queue: Queue = _QUEUE,
    now: Annotated[
        bool, typer.Option("--now", help="Stop what runs too; it saves, and goes on later.")
    ] = False,
) -> None:
    """Begin nothing new until `resume`; what runs goes on, unless --now."""
    with opened(queue) as store:
        store.pause = "now" if now else "later"
    plain("paused" + ("; what runs saves and stops" if now else "; what runs goes on"))


@queue_app.command("resume")
def queue_resume(queue: Queue = _QUEUE) -> None:
    """Go on after a pause."""
    with opened(queue) as store:
        store.pause = ""
    plain("the queue goes on")


@queue_app.command("cancel")
def queue_cancel(jobs: JobNames, queue: Queue = _QUEUE) -> None:
    """Take jobs out; one that runs saves and stops. Run folders stay."""
    from app.queue.claims import cancel

    with opened(queue) as store:
        for entry in [store.find(job) for job in jobs]:
            match cancel(store, entry):
                case "cancelled":
                    plain(f"job {entry.id} {entry.name}: cancelled")
                case "running":
                    plain(f"job {entry.id} {entry.name}: asked to stop; it saves first")
                case state:
                    raise RunError(f"job {entry.id} ({entry.name}) is {state} already")


@queue_app.command("retry")
def queue_retry(
    jobs: Annotated[list[str] | None, typer.Argument(help="Numbers or names of jobs.")] = None,
    queue: Queue = _QUEUE,
    failed: Annotated[bool, typer.Option("--failed", help="All that failed.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="From the start, in a new folder.")
    ] = False,
) -> None:
    """Put jobs that failed, were stopped or cancelled back in line; they go on where they were."""
    if failed == bool(jobs):
        raise typer.BadParameter("name jobs, or --failed")
    with opened(queue) as store:
        chosen = [store.find(job) for job in jobs or []] or store.entries(("failed",))
        if not chosen:
            plain("no job has failed")
        for entry in chosen:
            state = store.retry(entry, fresh=fresh)
            if state != "queued" or entry.state == "queued":
                raise RunError(f"job {entry.id} ({entry.name}) is {state}, not failed or stopped")
            plain(f"job {entry.id} {entry.name}: waits again")


@queue_app.command("clear")
def queue_clear(
    queue: Queue = _QUEUE,
    state: Annotated[
        list[str] | None, typer.Option(help="Which; completed and cancelled unless given.")
    ] = None,
) -> None:
    """Forget jobs that have ended, or wait; run folders are not touched."""
    chosen = states(state or ["completed", "cancelled"])
    if "running" in chosen:
        raise ConfigError("a running job cannot be cleared", where="--state", hint="cancel it")
    with opened(queue) as store:
        plain(f"{store.clear(chosen)} jobs forgotten")


@queue_app.command("share")
def queue_share(queue: Queue = _QUEUE) -> None:
    """Make a queue usable by several machines that share its folder; see docs/batch.md."""
    from app.queue.database import share

    with opened(queue) as store:
        share(store.database, store.path)
    plain("several machines can work at this queue")


@queue_app.command("work")
def queue_work(
    queue: Queue = _QUEUE,
    device: Device = "auto",
    share: Share = False,
    stay: Annotated[bool, typer.Option("--stay", help="Wait for further jobs.")] = False,
    lease: Annotated[
        float, typer.Option(min=15, help="Seconds until a silent machine's jobs are taken over.")
    ] = LEASE_SECONDS,
) -> None:
    """Work on the queue's jobs until none is left. Ctrl-C stops; the job goes on with the next."""
    with opened(queue) as store:
        done = work(store, device, share=share, stay=stay, lease=lease)
    raise typer.Exit(0 if done else STOPPED)
