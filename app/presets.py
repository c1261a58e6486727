"""`sweetspot preset ...`: recipes to list, read, compare, share and take in."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from app import library
from app.authoring import of_run, of_settings, told_anew
from app.recipes import find, hidden_by, layered
from app.shelves import library_app
from trainer.core.errors import ConfigError, UserError
from trainer.core.files import write_atomically
from trainer.job.layers import DEFAULT, Layered, differences, job_of
from trainer.job.preset import Preset, render_preset
from trainer.job.rates import rate_in_words
from trainer.job.run import Run
from trainer.job.sharing import to_string

preset_app = typer.Typer(help="Recipes: list, read, compare, share.", no_args_is_help=True)
preset_app.add_typer(library_app, name="library")

PresetRef = Annotated[
    str, typer.Argument(help="A preset's name, file, card or string.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]

out = Console()
err = Console(stderr=True)


def print_origins(found: Layered, *, as_json: bool) -> None:
    """Where each value of a job comes from; those that no layer says are left out."""
    told = [origin for origin in found.origins if origin.source != DEFAULT]
    if as_json:
        rows = [
            {"setting": o.path, "value": o.value, "default": o.default, "from": o.source}
            for o in found.origins
        ]
        facts = {"settings": rows, "dropped": found.dropped, "rate": rate_in_words(found.job)}
        out.print_json(json.dumps(facts, default=str))
        return
    table = Table(box=None, pad_edge=False)
    for head in ("setting", "value", "default", "from"):
        table.add_column(head, no_wrap=head in ("setting", "from"))
    for origin in told:
        table.add_row(origin.path, _word(origin.value), _word(origin.default), origin.source)
    out.print(table)
    out.print(f"\n{len(found.origins) - len(told)} other settings are as docs/settings.md has them")
    for line in found.dropped:
        _plain(f"left out: {line}")
    _plain(rate_in_words(found.job))


@preset_app.command("list")
def preset_list(
    words: Annotated[
        list[str] | None, typer.Argument(help="Only those with all of these: sdxl 12gb")
    ] = None,
    as_json: Json = False,
) -> None:
    """List presets: your own, the libraries', those that ship."""
    problems: list[UserError] = []
    asked = [word.lower() for word in words or []]
    rows = []
    for entry in library.entries(problems):
        about = entry.preset.about
        text = " ".join((about.name, *about.tags, entry.preset.family, entry.shelf)).lower()
        if all(word in text for word in asked):
            facts = {"name": about.name, "family": entry.preset.family, "from": entry.shelf}
            rows.append({**facts, "sentence": about.sentence, "tested": about.tested})
    if as_json:
        told = [str(problem) for problem in problems]
        out.print_json(json.dumps({"presets": rows, "problems": told}))
        return
    table = Table(box=None, pad_edge=False)
    for head in ("preset", "family", "from", "what it is for"):
        table.add_column(head, no_wrap=head == "preset")
    for row in rows:
        table.add_row(*(row[key] for key in ("name", "family", "from", "sentence")))
    out.print(table if rows else "no such preset")
    for problem in problems:
        err.print(f"left out: {problem}", style="yellow", markup=False)


@preset_app.command("show")
def preset_show(ref: PresetRef, as_json: Json = False) -> None:
    """Tell what a preset says: of itself, and of each setting."""
    preset = find(ref)
    if as_json:
        facts = preset.about.model_dump(mode="json")
        out.print_json(json.dumps({"about": facts, "settings": preset.settings}))
        return
    about = preset.about
    _plain(f"{about.name}: {about.sentence}" if about.sentence else about.name)
    told = {"author": about.author, "licence": about.licence, "tested": about.tested}
    for name, value in {**told, "tags": ", ".join(about.tags)}.items():
        if value:
            _plain(f"  {name}: {value}")
    for source in about.sources:
        _plain(f"  source: {source}")
    print_changes({}, preset.settings, ("default", about.name))
    _plain(_rate(preset))


@preset_app.command("diff")
def preset_diff(one: PresetRef, other: PresetRef, as_json: Json = False) -> None:
    """Compare two presets, defaults included. Ends with 0 whether they differ or not."""
    left, right = find(one), find(other)
    if as_json:
        rows = [
            {"setting": spec.path, "one": a, "other": b}
            for spec, a, b in differences(left.settings, right.settings)
        ]
        out.print_json(json.dumps(rows, default=str))
        return
    print_changes(left.settings, right.settings, (left.name, right.name))
    for preset in (left, right):
        _plain(f"{preset.name}: {_rate(preset)}")


@preset_app.command("export")
def preset_export(
    ref: PresetRef,
    to: Annotated[
        Path | None,
        typer.Option("--out", help="A .toml file, a .txt with the string, or a .png card."),
    ] = None,
    string: Annotated[bool, typer.Option("--string", help="Print the string, not TOML.")] = False,
    run: Annotated[
        Path | None, typer.Option(help="A run whose before and after go onto the card.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where run folders are.")] = Path("runs"),
) -> None:
    """Share a preset: as a file, as a string for a chat, or as a picture."""
    from app.watch import find as find_run

    preset = find(ref)
    if run is not None and (to is None or to.suffix.lower() != ".png"):
        raise typer.BadParameter("--run is for a card: --out NAME.png")
    if to is None:
        text = to_string(preset) if string else render_preset(preset)
        sys.stdout.write(text.rstrip("\n") + "\n")
        return
    if to.exists():
        raise ConfigError("the file is there already", where=str(to), hint="another --out")
    match to.suffix.lower():
        case ".toml":
            write_atomically(to, render_preset(preset))
        case ".txt":
            write_atomically(to, to_string(preset) + "\n")
        case ".png":
            _write_card(preset, to, find_run(run, runs) if run else None)
        case other:
            raise ConfigError(
                f"a preset cannot be written as {other!r}", where="--out", hint=".toml, .txt, .png"
            )
    _plain(f"wrote {to}")


@preset_app.command("import")
def preset_import(
    source: Annotated[str, typer.Argument(help="A string, a file, a card, or - for input.")],
    name: Annotated[str, typer.Option("--as", help="Keep it under this name.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="In place of your own.")] = False,
    preview: Annotated[bool, typer.Option("--preview", help="Show, and keep nothing.")] = False,
    against: Annotated[str, typer.Option(help="Show what changes to this preset.")] = "",
) -> None:
    """Take in a preset that somebody shared, and say what it changes."""
    preset = find(sys.stdin.read() if source == "-" else source)
    if name:
        preset = told_anew(preset, {"name": name})
    other = find(against) if against else None
    below = other.settings if other else {}
    print_changes(below, preset.settings, (other.name if other else "default", preset.name))
    _plain(_rate(preset))
    _warn_of_the_name(preset)
    if not preview:
        _plain(f"kept as {preset.name!r}: {library.save(preset, replace=replace)}")


@preset_app.command("new")
def preset_new(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    from_run: Annotated[
        Path | None, typer.Option("--from-run", help="A run's folder or name.")
    ] = None,
    from_job: Annotated[Path | None, typer.Option("--from-job", help="A job file.")] = None,
    sentence: Annotated[str, typer.Option(help="What it is for.")] = "",
    author: Annotated[str, typer.Option(help="Who made it.")] = "",
    licence: Annotated[str, typer.Option(help="Such as CC0-1.0.")] = "",
    tested: Annotated[str, typer.Option(help="What was run with it; from the run if empty.")] = "",
    tags: Annotated[str, typer.Option(help="Words, split by commas.")] = "",
    include: Annotated[
        list[str] | None,
        typer.Option(help="A personal setting to put in all the same, such as samples.prompts."),
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where run folders are.")] = Path("runs"),
    replace: Annotated[bool, typer.Option("--replace", help="In place of your own.")] = False,
) -> None:
    """Make a preset of a run, or of a job file. Paths, and prompts unless asked, stay here."""
    from app.watch import find as find_run

    if (from_run is None) == (from_job is None):
        raise typer.BadParameter("give --from-run or --from-job")
    words = tuple(word.strip() for word in tags.split(",") if word.strip())
    about: dict[str, Any] = {
        "name": name,
        "sentence": sentence,
        "author": author,
        "licence": licence,
    }
    about |= {"tested": tested, "tags": words}
    if from_run is not None:
        preset = of_run(find_run(from_run, runs), about, include or ())
    else:
        assert from_job is not None, "one of the two is given"
        preset = of_settings(layered(from_job, "", []).job, about, include or ())
    print_changes({}, preset.settings, ("default", preset.name))
    _warn_of_the_name(preset)
    _plain(f"kept as {preset.name!r}: {library.save(preset, replace=replace)}")


def print_changes(below: Any, above: Any, names: tuple[str, str]) -> None:
    """The settings that differ, as a table."""
    table = Table("setting", *names, box=None, pad_edge=False)
    for spec, old, new in differences(below, above):
        table.add_row(spec.path, _word(old), _word(new))
    out.print(table if table.row_count else "no setting differs")


def _warn_of_the_name(preset: Preset) -> None:
    """Say it when a preset of one's own hides others of its name."""
    others = ", ".join(hidden_by(preset.name))
    if others:
        told = f"note: {preset.name!r} by itself means your own preset; the other is {others!r}"
        err.print(told, style="yellow", markup=False, highlight=False, soft_wrap=True)


def _write_card(preset: Preset, to: Path, run: Run | None) -> None:
    from app.preset_card import pairs_of, write_card

    pairs = pairs_of(run) if run else []
    if run and not pairs:
        raise ConfigError(
            "the run has no pictures of before and after",
            where=str(run.path),
            hint="analyse it, or train with samples.every above 0",
        )
    write_card(preset, to, pairs)


def _rate(preset: Preset) -> str:
    return rate_in_words(job_of(preset))


def _word(value: Any) -> str:
    if value is None or value in ("", []):
        return "-"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _plain(line: str) -> None:
    out.print(line, markup=False, highlight=False, soft_wrap=True)
