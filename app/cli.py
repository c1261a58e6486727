"""The command line. Prints; decides nothing."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.choosing import analyse_run, commands, lora_spectrum, train_run
from app.voting import votes_app
from trainer.core.errors import DatasetError, ResourceError, RunError, UserError

if TYPE_CHECKING:
    from trainer.job.config import JobConfig

app = typer.Typer(
    help="Train LoRAs, and choose which epoch to keep. Exit codes: docs/exit-codes.md.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
dataset_app = typer.Typer(help="Look at a folder of pictures.", no_args_is_help=True)
lora_app = typer.Typer(help="Look into LoRA files.", no_args_is_help=True)
runs_app = typer.Typer(help="List, show and stop runs.", no_args_is_help=True)
app.add_typer(dataset_app, name="dataset")
app.add_typer(lora_app, name="lora")
app.add_typer(runs_app, name="runs")
app.add_typer(votes_app, name="votes")
lora_app.command("spectrum")(lora_spectrum)
for command in commands.registered_commands:
    app.registered_commands.append(command)

JobFile = Annotated[Path | None, typer.Argument(help="A job in TOML.", show_default=False)]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Override a setting; repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
RunsFolder = Annotated[Path, typer.Option("--runs", help="Where run folders are.")]
LoraFile = Annotated[Path, typer.Argument(help="A .safetensors file.")]
RunFolder = Annotated[Path, typer.Argument(help="A run's folder, or its name in the runs folder.")]

out = Console()
err = Console(stderr=True)


def run() -> int:
    """Run the command line; an error a person can mend is two lines, not a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not stream.isatty():
            stream.reconfigure(encoding="utf-8", errors="replace")
    for library in ("DIFFUSERS", "TRANSFORMERS"):
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    try:
        code = app(standalone_mode=False)
    except UserError as error:
        err.print(Text(f"error: {error}", style="red"), soft_wrap=True)
        return error.exit_code
    except typer.Abort:
        return 130
    except Exception as error:
        shown = getattr(error, "show", None)
        if shown is None:
            raise
        shown()
        return int(getattr(error, "exit_code", 2))
    return code if isinstance(code, int) else 0


@app.command()
def train(
    job: JobFile = None,
    override: Set = None,
    resume: Annotated[Path | None, typer.Option(help="Continue this run exactly.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Say what would be done, and stop.")] = False,
    runs: Annotated[
        Path | None, typer.Option(help="Where run folders are; the job's own setting unless given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a LoRA as a job file says.

    Ctrl-C finishes the step, saves and ends; --resume goes on from there.
    """
    from app.watch import resumable
    from trainer.job.file import as_override, load_job, override_job
    from trainer.job.run import Run

    if (job is None) == (resume is None) and not (override and resume is None):
        raise typer.BadParameter("give a job file or --set, or --resume with a run's folder")
    overrides = list(override or [])
    if resume is not None:
        if plan:
            raise typer.BadParameter("--plan is for a new run; --resume goes on with one")
        raise typer.Exit(
            train_run(resumable(resume, runs or Path("runs"), overrides), as_json=as_json)
        )
    if runs is not None:
        overrides.append(as_override("runs", runs))
    asked = load_job(job, overrides) if job else override_job({}, overrides)
    if plan:
        _plan(asked, as_json=as_json)
        return
    raise typer.Exit(train_run(Run.create(asked), as_json=as_json))


@app.command()
def demo(
    subject: Annotated[bool, typer.Option("--subject", help="A character, not the style.")] = False,
    runs: RunsFolder = Path("runs"),
    override: Set = None,
) -> None:
    """Train a small LoRA on the model that ships with Sweetspot, and say which epoch to keep."""
    from app.demo import demo_job, draw_sheet
    from trainer.job.run import Run

    asked = [*(override or []), "analysis.after_training=false"]  # it is analysed below
    made = Run.create(demo_job(subject=subject, runs=runs, overrides=asked))
    code = train_run(made, as_json=False)
    if code == 0:
        _plain(f"sample grid: {draw_sheet(made)}")
        for file in sorted(made.lora.iterdir()):
            _plain(f"LoRA file:   {file} ({file.stat().st_size / 1e6:.2f} MB)")
        code = analyse_run(made, [])
    raise typer.Exit(code)


@app.command()
def sample(
    prompt: Annotated[str, typer.Argument(help="What to render.")],
    lora: Annotated[Path | None, typer.Option(help="A LoRA file.")] = None,
    strength: Annotated[float, typer.Option(help="How strongly the LoRA acts.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Fixes the picture.")] = 0,
    base: Annotated[str, typer.Option(help="Base model: demo, a folder, a hub name.")] = "demo",
    family: Annotated[str, typer.Option(help="Model family.")] = "sd",
    negative: Annotated[str, typer.Option(help="What not to show.")] = "",
    steps: Annotated[int, typer.Option(min=1, max=1000, help="Denoising steps.")] = 25,
    guidance: Annotated[float, typer.Option(min=0, max=50, help="How strictly.")] = 7.0,
    size: Annotated[int, typer.Option(min=0, help="Side in px; 0 is the model's own.")] = 0,
    to: Annotated[Path, typer.Option("--out", help="Where the PNG goes.")] = Path("sample.png"),
) -> None:
    """Render one picture, with a LoRA at a strength; the PNG carries its recipe."""
    from app.demo import Shot, render_shot

    shot = Shot(prompt, lora, strength, seed, base, family, negative, steps, guidance, size)
    _plain(f"wrote {render_shot(shot, to)}")


@dataset_app.command("check")
def dataset_check(
    folder: Annotated[Path, typer.Argument(help="A folder of pictures.")],
    job: Annotated[Path | None, typer.Option(help="Check it with this job's settings.")] = None,
    override: Set = None,
    listing: Annotated[
        bool, typer.Option("--list", help="Each picture's exact cut and final caption.")
    ] = False,
    epoch: Annotated[int, typer.Option(min=1, help="Whose captions --list shows.")] = 1,
    as_json: Json = False,
) -> None:
    """Report every file that cannot be used and why, duplicates, captions and buckets.

    Ends with 3 when a run would be refused.
    """
    from dataclasses import asdict

    from app.checks import check_folder, folder_job, print_listing, print_report, shown

    asked = folder_job(folder, job, override or [])
    report = check_folder(asked, err)
    rows = list(shown(asked, epoch)) if listing and report.trainable else []
    if listing and not report.trainable:
        err.print("the list is left out: a run would be refused, see why above", style="yellow")
    if as_json:
        facts = {**report.as_dict(), "listing": [asdict(row) for row in rows]}
        out.print_json(json.dumps(facts, default=str))
    else:
        print_report(report, out)
        if rows:
            print_listing(rows, out)
    raise typer.Exit(0 if report.trainable else DatasetError.exit_code)


@lora_app.command("inspect")
def lora_inspect(file: LoraFile, as_json: Json = False) -> None:
    """Tell what a LoRA file holds: layout, rank, alpha, what it was made for, what is broken."""
    from app.checks import print_facts
    from trainer.weights.inspect import inspect

    facts = inspect(file).as_dict()
    if as_json:
        out.print_json(json.dumps(facts, default=str))
    else:
        print_facts(facts, out)


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


@app.command()
def doctor(runs: RunsFolder = Path("runs"), as_json: Json = False) -> None:
    """Look at versions, device, precision, 8-bit optimizers and disk, and say what to mend."""
    from dataclasses import asdict

    from app.doctor import examine

    colours = {"good": "green", "note": "yellow", "bad": "red"}
    findings = []
    for finding in examine(runs):
        findings.append(asdict(finding))
        if not as_json:
            line = Text(f"{finding.state:5}", style=colours[finding.state])
            out.print(
                line.append(f"{finding.what:14}", style="bold").append(finding.words, style="")
            )
            if finding.fix:
                out.print(f"{'':19}try: {finding.fix}", markup=False)
    if as_json:
        out.print_json(json.dumps(findings))
    bad = any(finding["state"] == "bad" for finding in findings)
    raise typer.Exit(ResourceError.exit_code if bad else 0)


def _plain(line: str) -> None:
    """One line as it is: no markup, never broken, so that a path in it can be copied."""
    out.print(line, markup=False, highlight=False, soft_wrap=True)


def _plan(job: JobConfig, *, as_json: bool) -> None:
    from app.checks import print_facts
    from trainer.core import device
    from trainer.data.folder import scan
    from trainer.preflight import preflight

    plan = device.plan(
        job.compute.device,
        job.compute.precision,
        packed=job.compute.packed,
        checkpointing=job.compute.gradient_checkpointing,
    )
    job.require_apart()
    planned = preflight(job, plan, scan(job.dataset))
    facts: dict[str, Any] = {**planned.facts, "warnings": list(planned.warnings)}
    if as_json:
        out.print_json(json.dumps(facts))
    else:
        print_facts(facts, out)
