"""Another trainer's settings as a job file, with an account of every key."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from trainer.job.importers.account import Imported, Line

_STYLES = {"suspicious": "yellow", "reported": "magenta", "mapped": "green", "explained": "dim"}
"""The kinds of lines, in the order they are shown."""

ForeignFile = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="Settings of kohya_ss, sd-scripts, ai-toolkit, OneTrainer or SimpleTuner, or a LoRA "
        "file.",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Override a setting; repeatable."),
]


def import_file(
    file: ForeignFile,
    out: Annotated[
        Path | None, typer.Option(help="Write the job here; an existing file is kept.")
    ] = None,
    override: Set = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Read another trainer's settings: what becomes of each key, and a job for --out.

    Nothing in the file is run. What is missing or cannot be trained is said; --set mends it.
    """
    from app.imported import as_job, facts, write
    from trainer.core.errors import ConfigError
    from trainer.job.importers.base import import_config

    console = Console()
    found = import_config(file)
    problem, job = "", None
    try:
        job = as_job(found, override or [])
    except ConfigError as error:
        problem = str(error)
    if as_json:
        console.print_json(json.dumps(facts(found, problem), default=str))
    else:
        show(found, console)
    if out is not None and job is not None:
        write(job, found, out)
        if not as_json:
            console.print(Text(f"wrote {out}"), soft_wrap=True)
    elif problem and out is not None:
        raise ConfigError("no job was written: " + problem)
    elif problem and not as_json:
        console.print(Text(f"not yet a job: {problem}", style="yellow"), soft_wrap=True)


def show(found: Imported, console: Console) -> None:
    """The account as a table, what needs a look first; then the counts."""
    files = " and ".join(path.name for path in found.files)
    console.print(Text(f"{files}: settings of {found.trainer}", style="bold"), soft_wrap=True)
    table = Table("", "key", "there", "here", box=None, pad_edge=False)
    table.columns[1].overflow = table.columns[2].overflow = "fold"
    for kind, style in _STYLES.items():
        for keys, value, told in _rows(found.account, kind):
            table.add_row(Text(kind, style=style), Text(keys), Text(value), Text(told))
    for line in found.assumed:
        row = (Text("assumed", style="cyan"), Text(""), Text(""), Text(f"{line.ours}; {line.told}"))
        table.add_row(*row)
    console.print(table)
    counts = ", ".join(f"{count} {kind}" for kind, count in found.counts.items())
    console.print(Text(f"{len(found.account)} keys: {counts}"), soft_wrap=True)


def _rows(lines: Iterable[Line], kind: str) -> Iterable[tuple[str, str, str]]:
    """Lines of a kind; keys that are explained by the same words share one row."""
    chosen = [line for line in lines if line.kind == kind]
    if kind != "explained":
        return [(line.key, line.value, line.told) for line in chosen]
    grouped: dict[str, list[Line]] = {}
    for line in chosen:
        grouped.setdefault(line.told, []).append(line)
    return [
        (", ".join(line.key for line in same), same[0].value if len(same) == 1 else "", told)
        for told, same in grouped.items()
    ]
