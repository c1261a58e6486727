"""The commands about blind votes: which pairs to look at, votes in and out, what they say."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

votes_app = typer.Typer(help="Blind votes: pairs to look at, votes, scores.", no_args_is_help=True)
out = Console()

Folder = Annotated[Path, typer.Argument(help="An analysis's folder, or its run's.")]
_KEPT = "votes.jsonl"
"""Where an analysis's folder keeps its votes."""


@votes_app.command("pairs")
def votes_pairs(
    folder: Folder,
    count: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    seed: Annotated[int, typer.Option(help="Decides sides, and among equals.")] = 0,
) -> None:
    """Print pairs of pictures to vote on, one JSON object a line: the same prompt and seed."""
    from analysis.votes.pairs import pairs, shown_in

    report, place = _report(folder)
    before = [vote.pair for vote in _kept(place)]
    for pair in pairs(shown_in(report), count, seed=seed, before=before):
        out.print(json.dumps(asdict(pair), ensure_ascii=False), markup=False, soft_wrap=True)


@votes_app.command("import")
def votes_import(
    folder: Folder,
    files: Annotated[list[Path], typer.Argument(help="CSV or JSON lines.")],
) -> None:
    """Take votes into an analysis's folder; lines that are none are told."""
    from analysis.votes.ballot import merged, read_votes, write_votes
    from app.votes import print_problems

    _, place = _report(folder)
    ballots = [read_votes(file) for file in files]
    before = _kept(place)
    votes = merged(before, *(ballot.votes for ballot in ballots))
    write_votes(place / _KEPT, votes)
    print_problems([problem for ballot in ballots for problem in ballot.problems], out)
    out.print(f"{len(votes) - len(before)} new votes, {len(votes)} in all")


@votes_app.command("export")
def votes_export(
    folder: Folder,
    to: Annotated[Path, typer.Option("--out", help="A .csv or .jsonl file.")],
) -> None:
    """Write an analysis's votes to a file."""
    from analysis.votes.ballot import write_votes

    _, place = _report(folder)
    votes = _kept(place)
    write_votes(to, votes)
    out.print(f"wrote {len(votes)} votes to {to}", markup=False, soft_wrap=True)


@votes_app.command("show")
def votes_show(
    folder: Folder,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """What the votes say: strengths with intervals, and whether the metrics agree."""
    from analysis.votes.agreement import agreement, measured_in
    from analysis.votes.pairs import shown_in
    from analysis.votes.strengths import score
    from app.votes import print_scores

    report, place = _report(folder)
    settings = {one.cell: one.setting for one in shown_in(report)}
    votes = _kept(place)
    scores = score(votes, settings)
    agreements = [agreement(metric, votes, scores, settings) for metric in measured_in(report)]
    if as_json:
        told = {"scores": asdict(scores), "agreements": [asdict(one) for one in agreements]}
        out.print_json(json.dumps(told, default=str))
    else:
        print_scores(scores, agreements, out)


def _report(folder: Path) -> tuple[dict[str, Any], Path]:
    from analysis.keep import read_report
    from app.sweeps import find_sweep

    place = find_sweep(folder)
    return read_report(place), place


def _kept(place: Path) -> list[Any]:
    from analysis.votes.ballot import read_votes

    path = place / _KEPT
    return read_votes(path).votes if path.is_file() else []
