"""`sweetspot search`: which settings learn best, over several runs. Prints; decides nothing."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from app import library
from app.recipes import layers_of
from app.search.folder import BELOW, Search
from app.search.report import Found, found, headline, mattered, shown, winner, write
from app.search.space import SearchConfig, words_of
from app.search.study import work
from app.search.trial import Stop
from trainer.core import toml
from trainer.core.errors import STOPPED, ConfigError
from trainer.core.trees import merge
from trainer.job.layers import Layer, settle
from trainer.job.preset import About

out = Console()
err = Console(stderr=True)


def search(
    job: Annotated[Path | None, typer.Argument(help=r"A job in TOML, with \[search].")] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(help="adapter.rank=4,8,16 or optimizer.learning_rate=1e-4:1e-2:log"),
    ] = None,
    preset: Annotated[str, typer.Option(help="Start from this preset.")] = "",
    also: Annotated[
        list[str] | None, typer.Option(help="A preset whose values are tried early; repeatable.")
    ] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="As in train.")
    ] = None,
    trials: Annotated[int, typer.Option(min=0, help="Settings to try; 12 unless told.")] = 0,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with this search, or help with it.")
    ] = None,
    keep: Annotated[str, typer.Option(help="Keep the winner as a preset of this name.")] = "",
    report: Annotated[bool, typer.Option("--report", help="Only write the report anew.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Try settings, and say which learn best: each trial is a run and its analysis.

    Several workers may take trials of one search: start `--resume FOLDER` again, here or on
    another machine that sees the folder. Ctrl-C lets the trial save; --resume goes on.
    """
    new = bool(job or preset or override)
    if (resume is None) != new or (resume and (vary or also or trials)):
        raise typer.BadParameter("give a job, or --resume with a search's folder and nothing else")
    if keep:
        _require_free(keep)
    asked = (
        Search.open(resume)
        if resume
        else _created(job, preset, override or [], _changes(vary, also, trials))
    )
    place = err if as_json else out
    _say(place, f"search folder: {asked.path}")
    stop = Stop()
    if not report:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.ask())
        work(asked, lambda told: _say(place, told), stop)
    page, told = write(asked), found(asked)
    _print(asked, told, page, as_json=as_json)
    if stop.asked:
        raise typer.Exit(STOPPED)
    if keep:
        _keep(asked, told, keep, place)


def _changes(vary: list[str] | None, also: list[str] | None, trials: int) -> dict[str, Any]:
    changes: dict[str, Any] = {"presets": list(also)} if also else {}
    if vary:
        changes["space"] = words_of(vary)
    return {**changes, "trials": trials} if trials else changes


def _created(
    job: Path | None, preset: str, overrides: list[str], changes: dict[str, Any]
) -> Search:
    more: dict[str, Any] = {}
    layers = layers_of(job, preset, overrides, more)
    asked = more.get("search", {})
    if not isinstance(asked, dict):
        raise ConfigError("[search] is no table", where=str(job))
    config = toml.parse(SearchConfig, merge({"space": {}}, asked) | changes)
    return Search.create(settle([Layer("the search's defaults", BELOW), *layers]), config)


def _require_free(name: str) -> None:
    """Refuse a name before the trials, not after them.

    Raises:
        ConfigError: It is no name for a preset, or one's own presets have it.
    """
    try:
        toml.parse(About, {"name": name})
    except ConfigError:
        raise ConfigError(
            f"{name!r} is no name for a preset",
            where="--keep",
            hint="letters, digits, dots, dashes and underscores, at most 64; the first no sign",
        ) from None
    if library.holds(name):
        raise ConfigError(
            f"you have a preset {name!r} already", where="--keep", hint="another name"
        )


def _keep(asked: Search, told: Found, name: str, place: Console) -> None:
    made = winner(asked, told, name)
    if made is None:
        raise ConfigError(
            f"there is no winner to keep. {headline(told)}",
            where="--keep",
            hint="other values in search.space, or a job with more steps",
        )
    _require_free(name)
    _say(place, f"kept the winner as preset {name!r}: {library.save(made)}")


def _print(asked: Search, told: Found, page: Path, *, as_json: bool) -> None:
    if as_json:
        out.print_json((asked.path / "trials.json").read_text(encoding="utf-8"))
        return
    paths = list(told.rows[0].values) if told.rows else []
    table = Table("trial", "score", *paths, "kept", box=None, pad_edge=False)
    for row in told.rows:
        score = f"{row.score:.2f}%" if row.score is not None else row.state
        if row.again is not None:
            table.add_row(str(row.number), score, f"trial {row.again} again")
            continue
        values = (shown(row.values.get(path, "")) for path in paths)
        table.add_row(str(row.number), score, *values, row.kept or row.told)
    out.print(table)
    for line in (headline(told), mattered(told), f"report: {page}"):
        _say(out, line)


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
