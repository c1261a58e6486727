"""The command line. Prints; decides nothing."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from app.batch import commands as many
from app.choosing import analyse_run, commands, lora_spectrum, train_run
from app.importing import import_file
from app.opening import app as open_app
from app.presets import preset_app
from app.queueing import queue_app
from app.running import runs_app
from app.searching import search
from app.voting import votes_app
from trainer.core.errors import DatasetError, ResourceError, UserError
from trainer.core.process import quiet_libraries

app = typer.Typer(
    help="Train LoRAs, and choose which epoch to keep. Exit codes: docs/exit-codes.md.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
dataset_app = typer.Typer(help="Look at a folder of pictures.", no_args_is_help=True)
lora_app = typer.Typer(help="Look into LoRA files.", no_args_is_help=True)
app.add_typer(dataset_app, name="dataset")
app.add_typer(lora_app, name="lora")
app.add_typer(runs_app, name="runs")
app.add_typer(votes_app, name="votes")
app.add_typer(preset_app, name="preset")
app.add_typer(queue_app, name="queue")
lora_app.command("spectrum")(lora_spectrum)
app.command("import")(import_file)
app.registered_commands += [*commands.registered_commands, *many.registered_commands]
app.command("search")(search)
app.command("app")(open_app)

JobFile = Annotated[Path | None, typer.Argument(help="A job in TOML.", show_default=False)]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Override a setting; repeatable."),
]
Base = Annotated[
    str, typer.Option(help="Base model: demo, a folder, a .safetensors file, a hub name.")
]
Parts = Annotated[
    str, typer.Option("--parts", help="Where a single file's missing parts are: a folder.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
RunsFolder = Annotated[Path, typer.Option("--runs", help="Where run folders are.")]
LoraFile = Annotated[Path, typer.Argument(help="A .safetensors file.")]

out = Console()
err = Console(stderr=True)


def run() -> int:
    """Run the command line; an error a person can mend is two lines, not a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not stream.isatty():
            stream.reconfigure(encoding="utf-8", errors="replace")
    quiet_libraries()
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


@app.callback()
def common(
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask the network for nothing; before the command.")
    ] = False,
) -> None:
    """Trains LoRAs, and measures which epoch to keep, at which strength."""
    from app.fetching import stay_offline

    if offline:
        stay_offline()


@app.command()
def train(
    job: JobFile = None,
    override: Set = None,
    preset: Annotated[
        str, typer.Option(help="Start from this preset: a name, a file, a card, a string.")
    ] = "",
    explain: Annotated[
        bool, typer.Option("--explain", help="Say where each value comes from, and stop.")
    ] = False,
    resume: Annotated[Path | None, typer.Option(help="Continue this run exactly.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Say what would be done, and stop.")] = False,
    start: Annotated[
        bool, typer.Option("--start/--no-start", help="Or only make the folder to start from.")
    ] = True,
    runs: Annotated[
        Path | None, typer.Option(help="Where run folders are; the job's own setting unless given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a LoRA as a job file says.

    Ctrl-C finishes the step, saves and ends; --resume goes on from there.
    """
    from app.checks import print_plan
    from app.fetching import fetched
    from app.presets import print_origins
    from app.recipes import layered
    from app.watch import resumable
    from trainer.job.file import as_override
    from trainer.job.run import Run

    if (job is None) == (resume is None) and not ((override or preset) and resume is None):
        raise typer.BadParameter("give a job file or --set, or --resume with a run's folder")
    overrides = list(override or [])
    if resume is not None:
        if plan or preset or explain:
            raise typer.BadParameter(
                "--plan, --preset and --explain are for a new run; --resume goes on with one"
            )
        found_run = resumable(resume, runs or Path("runs"), overrides)
        raise typer.Exit(train_run(found_run, as_json=as_json, start=start))
    if runs is not None:
        overrides.append(as_override("runs", runs))
    found = layered(job, preset, overrides)
    asked = found.job
    if explain:
        print_origins(found, as_json=as_json)
        return
    fetched(asked.model, _told)
    if plan:
        print_plan(asked, out, as_json=as_json)
        return
    raise typer.Exit(train_run(Run.create(asked), as_json=as_json, start=start))


@app.command()
def demo(
    subject: Annotated[bool, typer.Option("--subject", help="A character, not the style.")] = False,
    family: Annotated[str, typer.Option(help="Of the model: sd or flux.")] = "sd",
    runs: RunsFolder = Path("runs"),
    override: Set = None,
) -> None:
    """Train a small LoRA on a model that ships with Sweetspot, and say which epoch to keep."""
    from analysis import sample_grid
    from app.demo import demo_job
    from trainer.job.run import Run

    asked = [*(override or []), "analysis.after_training=false"]  # it is analysed below
    made = Run.create(demo_job(subject=subject, family=family, runs=runs, overrides=asked))
    code = train_run(made, as_json=False)
    if code == 0:
        _plain(f"sample grid: {sample_grid(made)}")
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
    base: Base = "demo",
    family: Annotated[str, typer.Option(help="Its family; told from the model if left out.")] = "",
    parts: Parts = "",
    negative: Annotated[str, typer.Option(help="What not to show.")] = "",
    steps: Annotated[int, typer.Option(min=1, max=1000, help="Denoising steps.")] = 25,
    guidance: Annotated[float | None, typer.Option(min=0, max=50, help="How strictly.")] = None,
    size: Annotated[int, typer.Option(min=0, help="Side in px; 0 is the model's own.")] = 0,
    to: Annotated[Path, typer.Option("--out", help="Where the PNG goes.")] = Path("sample.png"),
) -> None:
    """Render one picture, with a LoRA at a strength; the PNG carries its recipe."""
    from app.demo import Shot, render_shot
    from app.fetching import fetched
    from trainer.families.finding import config_of

    model = fetched(config_of(base, family, parts), _told)
    shot = Shot(prompt, lora, strength, seed, model, negative, steps, guidance, size)
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


def _told(line: str) -> None:
    """A line that is none of the command's answer."""
    err.print(Text(line), soft_wrap=True)
