"""Facts about files, printed: datasets and LoRA files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from app.recipes import layered
from trainer.job.file import as_override

if TYPE_CHECKING:
    from trainer.data.bucket import Framed, Listed
    from trainer.data.check import Report
    from trainer.data.folder import Picture
    from trainer.job.config import JobConfig
    from trainer.job.pictures import DatasetConfig

_SHOWN = 12
"""Rows of a list before it is cut; --json has them all."""


def check_folder(job: JobConfig, console: Console) -> Report:
    """Check a job's pictures.

    Raises:
        DatasetError: Nothing in the folder can be read.
    """
    from trainer.data.check import check

    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("checking", total=None)
        return check(
            job.dataset,
            resolution=job.model.resolution,
            step=8,
            progress=lambda done, total: progress.update(bar, completed=done, total=total),
        )


def folder_job(folder: Path, job: Path | None, overrides: Sequence[str]) -> JobConfig:
    """The job file with this folder for its pictures, or the defaults with it."""
    asked = [*overrides, as_override("dataset.folder", folder.absolute())]
    return layered(job, "", asked).job


def shown(job: JobConfig, epoch: int) -> Iterator[Listed]:
    """Each picture's exact cut, and its caption as the epoch's first showing of it says it.

    Raises:
        ModelError: The base model's own sizes cannot be read.
    """
    from trainer.data.bucket import fit, framing, listing
    from trainer.data.folder import scan

    outline = job.model.outline(job.adapter.targets)
    rules = framing(job.dataset, resolution=job.model.resolution, size_step=outline.size_step)
    framed, _ = fit(scan(job.dataset).pictures, rules)
    return listing(framed, spoken(framed, job.dataset, seed=job.schedule.seed or 0, epoch=epoch))


def spoken(
    framed: Iterable[Framed], config: DatasetConfig, *, seed: int, epoch: int
) -> Callable[[Picture], str]:
    """What says the caption of a picture as the epoch's first showing of it will."""
    numbers, count = {}, 0
    for one in framed:
        numbers[one.picture.name] = count
        count += one.picture.repeats
    return lambda picture: said(
        picture.caption, config, seed=seed, epoch=epoch, number=numbers[picture.name]
    )


def said(caption: str, config: DatasetConfig, *, seed: int, epoch: int, number: int) -> str:
    """A caption as the showing of this number in the epoch says it."""
    from trainer.core.draws import chance
    from trainer.data.caption import final_caption

    luck = chance(seed, "showing", epoch, number)
    luck.random()  # the mirror's
    return final_caption(caption, config, chance=luck)


def print_report(report: Report, console: Console) -> None:
    """The report as sentences and short lists."""
    _line(console, f"{report.folder}", "bold")
    _line(console, f"{report.pictures} pictures can be trained on, {report.shown} shown an epoch")
    _line(console, f"captions from: {_counts(report.caption_sources)}")
    _line(console, f"buckets: {_counts(report.buckets)}")
    for problem in report.problems[:_SHOWN]:
        words = ": ".join(filter(None, (problem.get("path"), problem.get("what"))))
        _line(console, f"  {words}", "red")
        if problem.get("hint"):
            _line(console, f"    try: {problem['hint']}", "dim")
    _rest(console, len(report.problems))
    if not report.trigger:
        _line(
            console,
            "captions were not compared with a trigger word: give --job FILE, or "
            "--set dataset.trigger=WORD",
            "dim",
        )
    for words, names in _lists(report).items():
        if names:
            _line(console, f"{len(names)} {words}:", "yellow")
            for name in names[:_SHOWN]:
                _line(console, f"  {name}")
            _rest(console, len(names))
    for fault, cure in _refusals(report):
        _line(console, f"a run would be refused: {fault}", "red")
        _line(console, f"  try: {cure}", "dim")


def _refusals(report: Report) -> Iterator[tuple[str, str]]:
    """Why a run would not go through, and what helps."""
    if not report.pictures:
        yield "no picture is left to train on", "the cures above"
    if report.damaged:
        yield f"pictures are damaged ({len(report.damaged)})", "mend or remove those named above"
    if report.bad_captions:
        yield f"captions cannot be used ({report.bad_captions})", "mend the files named above"
    if report.no_caption:
        yield (
            "every picture needs a caption",
            "dataset.trigger and dataset.class_word make one caption for all; or add .txt files "
            "of the same names",
        )


def _lists(report: Report) -> dict[str, Sequence[str]]:
    return {
        "pictures lose more than a quarter of their area": report.much_cropped,
        "groups of the same file": [" = ".join(group) for group in report.duplicates],
        "of these have captions that differ": [" = ".join(g) for g in report.contradictions],
        "groups of near-duplicates": [" ~ ".join(group) for group in report.near_duplicates],
        "pictures have no caption": report.no_caption,
        "pictures have an empty caption": report.empty_captions,
        "captions are longer than the text encoder reads": report.long_captions,
        "captions lack the trigger word": report.without_trigger,
        "words hold the trigger word and more": [f"{w} ({n})" for w, n in report.glued.items()],
        "words look like a misspelt trigger": [f"{w} ({n})" for w, n in report.misspelt.items()],
        "phrases stand in nearly every caption and will belong to the trigger": [
            f"{w} ({share:.0%})" for w, share in report.constant_words.items()
        ],
    }


def print_listing(listed: Iterable[Listed], console: Console) -> None:
    """Each picture's cut and words."""
    table = Table("picture", "trained at", "resized to", "cut at", "kept", "caption", box=None)
    for one in listed:
        table.add_row(
            Text(one.name),
            f"{one.size[0]}x{one.size[1]}",
            f"{one.scaled[0]}x{one.scaled[1]}",
            f"{one.crop[0]},{one.crop[1]}",
            f"{one.kept:.0%}",
            Text(one.caption),
        )
    console.print(table)


def print_facts(facts: Mapping[str, Any], console: Console) -> None:
    """Label and value, one a line; longer values as JSON."""
    table = Table.grid(padding=(0, 2))
    for label, value in facts.items():
        shown = value if isinstance(value, str) else json.dumps(value, default=str)
        table.add_row(Text(label.replace("_", " "), style="bold"), Text(shown))
    console.print(table)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _rest(console: Console, count: int) -> None:
    if count > _SHOWN:
        _line(console, f"  and {count - _SHOWN} more; --json lists all", "dim")


def _line(console: Console, words: str, style: str = "") -> None:
    console.print(Text(words, style=style), soft_wrap=True)


def print_plan(job: JobConfig, console: Console, *, as_json: bool) -> None:
    """What a job will take, before anything is loaded."""
    from trainer.data.folder import scan
    from trainer.planning import plan_of
    from trainer.preflight import preflight

    plan = plan_of(job)
    job.require_apart()
    planned = preflight(job, plan, scan(job.dataset))
    facts: dict[str, Any] = {**planned.facts, "warnings": list(planned.warnings)}
    if as_json:
        console.print_json(json.dumps(facts))
    else:
        print_facts(facts, console)
