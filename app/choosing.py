"""The commands about choosing: analyse, score, report, keep, votes. Prints; decides nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from trainer.core.errors import COMPLETED, UNDECIDED, RunError

if TYPE_CHECKING:
    from analysis.sweep import Sweep
    from app.scores import Scores
    from trainer.job.run import Run

commands = typer.Typer()
out = Console()
err = Console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Texts = list[str] | None
_LIKELIEST = 3
_SELDOM = 0.05
"""The share of draws below which a setting is not named among the likeliest."""
SweepFolder = Annotated[Path, typer.Argument(help="An analysis's folder, or its run's.")]


@commands.command()
def analyse(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            help="A run (its folder or name), LoRA files and folders of them, or a folder of "
            "finished pictures."
        ),
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this analysis.")] = None,
    prompt: Annotated[Texts, typer.Option(help="Ask for what was trained; repeatable.")] = None,
    plain: Annotated[Texts, typer.Option(help="Without the trigger word; repeatable.")] = None,
    strengths: Annotated[str, typer.Option(help="0.4,0.6,0.8 or 0.2:1.2:0.2.")] = "",
    seeds: Annotated[int, typer.Option(min=0, help="Pictures of each prompt.")] = 0,
    budget: Annotated[str, typer.Option(help="Time to render, like 10m: a race.")] = "",
    renders: Annotated[int, typer.Option(min=0, help="Pictures to spend: a race.")] = 0,
    rule: Annotated[str, typer.Option(help="sweetspot, ancestor or weights.")] = "",
    processes: Annotated[int, typer.Option(min=0, help="Share the work: one a device.")] = 0,
    base: Annotated[str, typer.Option(help="Base model of LoRA files.")] = "demo",
    family: Annotated[str, typer.Option(help="Its family; told from the model if left out.")] = "",
    parts: Annotated[str, typer.Option(help="A folder with a single file's missing parts.")] = "",
    dataset: Annotated[Path | None, typer.Option(help="Pictures they were trained on.")] = None,
    held_out: Annotated[Path | None, typer.Option(help="Pictures held back.")] = None,
    trigger: Annotated[str, typer.Option(help="Their trigger word.")] = "",
    class_word: Annotated[str, typer.Option(help="What the subject is.")] = "",
    override: Annotated[
        Texts, typer.Option("--set", metavar="analysis.FIELD=VALUE", help="Any setting.")
    ] = None,
    control: Annotated[
        Path | None, typer.Option(help="Of finished pictures: the base model's, or a folder.")
    ] = None,
    pattern: Annotated[str, typer.Option(help="Of finished pictures: how files are named.")] = "",
    to: Annotated[Path | None, typer.Option("--out", help="A new folder for the results.")] = None,
    runs: Annotated[Path, typer.Option("--runs", help="Where run folders are.")] = Path("runs"),
    plan: Annotated[bool, typer.Option("--plan", help="Say what it takes, and stop.")] = False,
    as_json: Json = False,
) -> None:
    """Say which epoch, at which strength: render, score, rank, explain.

    Ends with 0 when there is a choice, and with 10 when the pictures cannot tell.
    """
    from app.scores import asked_of_pictures, counting, scored
    from app.sweeps import Named, minutes, numbers, pictures_of, planned, quoted, resumed, sweep_of

    if (resume is None) == (not sources):
        raise typer.BadParameter("name a run or LoRA files, or --resume with an analysis's folder")
    pictures = pictures_of(sources or [])
    if pictures is None and (control or pattern):
        raise typer.BadParameter("--control and --pattern are for a folder of finished pictures")
    of_a_sweep = {"--prompt": prompt, "--plain": plain, "--strengths": strengths, "--seeds": seeds}
    of_a_sweep |= {"--budget": budget, "--renders": renders, "--trigger": trigger, "--plan": plan}
    of_a_sweep |= {"--base": base != "demo", "--family": family, "--parts": parts}
    if pictures is not None:
        more = {"--class-word": class_word, "--processes": processes}
        _refuse({**of_a_sweep, **more}, "for pictures that are finished")
        of_pictures = asked_of_pictures(
            pattern, to, (dataset, held_out), [*_rule(rule), *(override or [])]
        )
        with counting(err) as progress:
            told = scored(pictures, control, replace(of_pictures, progress=progress))
        _print_scores(told, as_json=as_json)
    if resume is not None:
        more = {"--rule": rule, "--set": override, "--dataset": dataset, "--held-out": held_out}
        _refuse({**of_a_sweep, **more, "--out": to}, "for an analysis that is resumed")
        raise typer.Exit(_analysed(resumed(resume, processes), as_json=as_json))
    changes = {
        "prompts": quoted(prompt),
        "plain_prompts": quoted(plain),
        "strengths": numbers(strengths) if strengths else "",
        "seeds": str(seeds or ""),
        "minutes": str(minutes(budget)) if budget else "",
        "renders": str(renders or ""),
        "rule": rule,
        "processes": str(processes or ""),
    }
    asked = [f"analysis.{name}={value}" for name, value in changes.items() if value]
    named = Named(
        base,
        family,
        dataset,
        held_out,
        trigger,
        class_word,
        [*asked, *(override or [])],
        parts_from=parts,
    )
    if plan:
        _facts(planned(sources or [], named, runs), as_json=as_json)
        return
    sweep = sweep_of(sources or [], named, to, runs)
    raise typer.Exit(_analysed(sweep, as_json=as_json))


@commands.command()
def score(
    folder: Annotated[Path, typer.Argument(help="A folder of finished pictures.")],
    control: Annotated[
        Path | None, typer.Option(help="The base model's picture, or a folder of them.")
    ] = None,
    rule: Annotated[str, typer.Option(help="sweetspot or ancestor.")] = "sweetspot",
    compat: Annotated[
        bool, typer.Option("--compat", help="The ancestor scripts' own numbers, to the digit.")
    ] = False,
    pattern: Annotated[
        str, typer.Option(help="How files are named, like 'e{epoch}_s{strength}_p{prompt}'.")
    ] = "",
    to: Annotated[
        Path | None, typer.Option("--out", help="Write a report in this new folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Score finished pictures, from whatever program, and choose among them."""
    from app.scores import Asked, counting, scored

    with counting(err) as progress:
        told = scored(folder, control, Asked(rule, compat, pattern, to, progress=progress))
    _print_scores(told, as_json=as_json)


@commands.command()
def report(folder: SweepFolder) -> None:
    """Write the report anew from report.json."""
    from analysis.report import write
    from app.sweeps import find_sweep

    _plain(f"wrote {write(find_sweep(folder))}")


@commands.command()
def keep(
    folder: SweepFolder,
    to: Annotated[Path | None, typer.Option("--out", help="A file or a folder.")] = None,
    epoch: Annotated[int, typer.Option(min=0, help="Another epoch than the chosen.")] = 0,
    strength: Annotated[float, typer.Option(help="Another strength than the chosen.")] = 0.0,
    bake: Annotated[
        bool, typer.Option("--bake", help="Multiply the strength in: use the file at 1.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file.")] = False,
) -> None:
    """Copy the chosen LoRA file out, with the verdict in its header."""
    from analysis.keep import keep as keep_file
    from analysis.sweep import Sweep
    from analysis.table import Setting
    from app.sweeps import find_sweep

    if bool(epoch) != bool(strength):
        raise typer.BadParameter("--epoch and --strength go together")
    chosen = Setting(epoch, strength) if epoch else None
    place = find_sweep(folder)
    if not (place / "sweep.toml").is_file():
        raise RunError("finished pictures have no LoRA file to keep", where=str(place))
    sweep = Sweep.open(place)
    kept = keep_file(sweep, to, chosen=chosen, into_alpha=bake, overwrite=overwrite)
    _plain(f"kept epoch {kept.setting.epoch} as {kept.path}; use it at strength {kept.strength:g}")


def _refuse(options: Mapping[str, Any], what: str) -> None:
    given = [option for option, value in options.items() if value]
    if given:
        raise typer.BadParameter(f"{given[0]} means nothing {what}")


def lora_spectrum(
    file: Annotated[Path, typer.Argument(help="A .safetensors file.")],
    base: Annotated[
        str, typer.Option(help="Compare with this base model: demo, a folder, a file, a hub name.")
    ] = "",
    family: Annotated[str, typer.Option(help="Its family; told from the model if left out.")] = "",
    parts: Annotated[str, typer.Option(help="A folder with a single file's missing parts.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Look into every module.")] = False,
    as_json: Json = False,
) -> None:
    """Tell what a LoRA does to the weights: norms by block, ranks it uses, intruder dimensions."""
    from app.spectrum import looking, print_spectrum
    from trainer.families.finding import config_of
    from trainer.weights.intruders import STRONGEST
    from trainer.weights.spectrum import spectrum

    model = config_of(base, family, parts) if base else None
    with looking(err) as progress:
        told = spectrum(file, model, looked=None if every else STRONGEST, progress=progress)
    if as_json:
        out.print_json(json.dumps(told.as_dict(), default=str))
    else:
        print_spectrum(told, out)


def train_run(run: Run, *, as_json: bool, start: bool = True) -> int:
    """Train, and analyse afterwards where the job says so; the exit code.

    Without `start`, say how to start what is ready in the run's folder.
    """
    from app.fetching import fetched
    from app.watch import by_hand, watch

    if not start:
        told = by_hand(run)
        _plain(json.dumps(told) if as_json else "\n".join(f"{k}: {v}" for k, v in told.items()))
        return COMPLETED
    job = run.job
    fetched(job.model, err.print)
    code = watch(run, out, as_json=as_json, processes=job.compute.processes)
    if code == 0 and job.analysis.after_training:
        code = analyse_run(run, [], as_json=as_json)
    return code


def analyse_run(run: Run, overrides: list[str], *, as_json: bool = False) -> int:
    """Analyse a run that was just trained; the exit code."""
    from analysis.sweep import sweep_of_run

    sweep = sweep_of_run(run, overrides)
    code = _analysed(sweep, as_json=as_json)
    if not as_json and (sweep.path / "report.html").is_file():
        _plain(f"report:      {sweep.path / 'report.html'}")
    return code


def _rule(rule: str) -> list[str]:
    return [f"analysis.rule={rule}"] if rule else []


def _print_scores(told: Scores, *, as_json: bool) -> NoReturn:
    """Print a table of scores, and end."""
    from app.scores import print_scores

    if as_json:
        out.print_json(json.dumps(told.as_dict()))
    else:
        print_scores(told, out)
    raise typer.Exit(told.exit_code)


def _analysed(sweep: Sweep, *, as_json: bool) -> int:
    """Do the sweep, and say what its verdict rests on; the exit code."""
    from analysis.keep import read_report
    from app.fetching import fetched
    from app.watch import watch

    fetched(sweep.config.model, err.print)
    code = watch(sweep, out, as_json=as_json)
    if not as_json and code in (COMPLETED, UNDECIDED):
        verdict = read_report(sweep.path)["verdict"]
        for line in (*verdict["sentences"], verdict["thin"], _likely(verdict["chance"])):
            if line:
                _plain(f"  {line}")
    return code


def _likely(chances: list[dict[str, Any]]) -> str:
    """How often the likeliest settings come out best, in one sentence."""
    best = [c for c in sorted(chances, key=lambda c: -c["p"])[:_LIKELIEST] if c["p"] >= _SELDOM]
    told = ", ".join(f"epoch {c['epoch']} at {c['strength']:g} ({c['p']:.0%})" for c in best)
    return f"Most learned of all, when prompts and seeds are drawn again: {told}." if told else ""


def _facts(facts: dict[str, Any], *, as_json: bool) -> None:
    from app.checks import print_facts

    if as_json:
        out.print_json(json.dumps(facts))
    else:
        print_facts(facts, out)


def _plain(line: str) -> None:
    out.print(line, markup=False, highlight=False, soft_wrap=True)
