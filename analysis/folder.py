"""Finished pictures from whatever program, ranked like a sweep's: no model is asked."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from analysis import words
from analysis.beside import Beside, copies_of, measures_of, references_of, shares_of
from analysis.findings import Findings, Spot, facts_of, write_findings
from analysis.pictures.seats import Seats, seats_of, seeds_of
from analysis.ranking import rank
from analysis.report import write as write_report
from analysis.scoring import Item, Progress, References, Scored, score
from analysis.summary import summary
from analysis.table import Column, Prompt, Setting, Table
from analysis.vetoes import Facts, Rules
from trainer.core.errors import COMPLETED, UNDECIDED, DatasetError
from trainer.core.work import make_folder
from trainer.weights.metadata import versions

if TYPE_CHECKING:
    from analysis.metrics.base import MetricConfig
    from analysis.pictures import Folder, Found


def analyse_folder(
    folder: Folder,
    *,
    rule: str,
    to: Path | None,
    beside: Beside | None = None,
    progress: Progress = lambda done, total: None,
) -> tuple[list[dict[str, Any]], dict[str, Any] | None, list[str], int]:
    """Score and rank a folder's pictures.

    Args:
        folder: The pictures and their controls.
        rule: How to choose.
        to: A folder for the report: a new one, or that of its work; None writes none.
        beside: What else they are measured by and compared with.
        progress: Told how many pictures are scored, of how many.

    Returns:
        Rows, the choice, the verdict in words, the exit code.

    Raises:
        ConfigError: A metric is asked for that does not exist.
        DatasetError: A folder to compare with has no pictures.
    """
    asked = beside or Beside()
    usable = [found for found in folder.pictures if not found.problem]
    notes: list[str] = []
    training, held_out = (
        references_of(place, usable, notes) for place in (asked.dataset, asked.held_out)
    )
    pixels = References([s.pixels for s in training], [s.pixels for s in held_out], None)
    configs = measures_of(asked, folder, pixels, notes)
    if rule == "sweetspot" and "brisque" in configs and not _one_size(usable):
        del configs["brisque"]
        notes.append("brisque is not measured: the pictures differ in size, and so would it.")
    items = [_item(found) for found in usable]
    scored = dict(zip(usable, score(configs, items, pixels, progress=progress), strict=True))
    seats = seats_of(usable)
    notes += _differing(usable)
    table = _table(seats, scored, configs, pixels)
    facts = [Facts(n, c.axis, c.better, c.counts) for n, c in configs.items()]
    copied = copies_of(seats, scored, training)
    found = rank(table, facts, Rules(rule, weights=asked.weights), shares_of(table, copied))
    verdict = words.told(table, found, rule, copied)
    rows = [_row(picture, scored.get(picture), list(configs)) for picture in folder.pictures]
    rows += [
        {"image": name, "status": "strange", "reason": "its name says no epoch or strength"}
        for name in folder.strange
    ]
    if to is not None:
        names = {"training": [s.name for s in training], "held_out": [s.name for s in held_out]}
        _report(to, table, _Scores(seats, scored), verdict, configs, names)
    told = [verdict["headline"], *verdict["sentences"], *filter(None, [verdict["thin"]]), *notes]
    if found.state == "nothing scored" and not any(f.control for f in usable):
        told.append(
            "This rule compares with the base model's pictures: name them with --control, or take "
            "--rule ancestor."
        )
    if found.state == "nothing scored":
        return rows, None, told, DatasetError.exit_code
    code = COMPLETED if found.state == "chosen" else UNDECIDED
    return rows, verdict["choice"], told, code


def _one_size(usable: list[Found]) -> bool:
    """Whether all pictures that can be opened have the same size."""
    sizes = set()
    for found in usable:
        with contextlib.suppress(OSError), Image.open(found.path) as opened:
            sizes.add(opened.size)  # what cannot be opened has a row with the reason
    return len(sizes) < 2


def _item(found: Found) -> Item:
    group = hash((found.epoch, found.strength, found.prompt))
    return Item(found.path, found.control, str(found.prompt), group)


def _differing(usable: list[Found]) -> list[str]:
    """A sentence where pictures of one prompt that are compared have different seeds."""
    each = Counter((f.epoch, f.strength, f.prompt) for f in usable)
    seeds = {(f.prompt, f.seed) for f in usable}
    prompts = {f.prompt for f in usable}
    if set(each.values()) == {1} and len(seeds) > len(prompts):
        return ["Settings were rendered with different seeds, so chance is part of what differs."]
    return []


def _table(
    seats: Seats,
    scored: Mapping[Found, Scored],
    configs: Mapping[str, MetricConfig],
    pixels: References,
) -> Table:
    names = list(configs)
    settings = sorted({Setting(f.epoch, f.strength) for f in seats})
    prompts = sorted({f.prompt for f in seats})
    seeds = seeds_of(seats)
    shape = (len(settings), len(prompts), len(seeds))
    values = {name: np.full(shape, np.nan) for name in names}
    for picture, found in scored.items():
        for name, value in found.values.items():
            values[name][seats[picture]] = value
    common, own = _controls(seats, shape, configs, pixels)
    return Table(
        tuple(settings),
        tuple(Prompt(f"prompt {p}") for p in prompts),
        seeds,
        {name: Column(values[name], common[name], own.get(name)) for name in names},
        {},
    )


def _controls(
    seats: Seats,
    shape: tuple[int, int, int],
    measured: Mapping[str, MetricConfig],
    pixels: References,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The scores of the base model's pictures: by prompt and seed, and by setting too.

    The second is empty when all settings share their controls.
    """
    configs = {n: metric for n, metric in measured.items() if "control" not in metric.needs}
    paths = list(dict.fromkeys(f.control for f in seats if f.control))
    scored = dict(zip(paths, score(configs, [Item(path) for path in paths], pixels), strict=True))
    own = {name: np.full(shape, np.nan) for name in configs}
    common = {name: np.full(shape[1:], np.nan) for name in measured}
    for f, seat in seats.items():
        if f.control is None:
            continue
        for name, value in scored[f.control].values.items():
            own[name][seat] = value
            common[name][seat[1:]] = value
    return common, own if _differ(seats) else {}


def _differ(seats: Seats) -> bool:
    """Whether settings have controls of their own."""
    shared: dict[tuple[int, int], set[Path]] = {}
    for found, (_, prompt, seed) in seats.items():
        if found.control is not None:
            shared.setdefault((prompt, seed), set()).add(found.control)
    return any(len(paths) > 1 for paths in shared.values())


def _row(picture: Found, scored: Scored | None, names: list[str]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "image": picture.path.name,
        "epoch": picture.epoch,
        "strength": picture.strength,
    }
    row |= {name: scored.values.get(name) if scored else None for name in names}
    if scored is None:
        return {**row, "status": "missing", "reason": picture.problem}
    fault = scored.fault or next(iter(scored.unscored.values()), None)
    status, reason = (fault.status, fault.reason) if fault else ("ok", "")
    if scored.resized:
        reason = (reason + "; " if reason else "") + "its control has another size and was resized"
    return {**row, "status": status, "reason": reason}


@dataclass(frozen=True, slots=True)
class _Scores:
    """What pictures came to, and where they stand in the table."""

    seats: Seats
    scored: Mapping[Found, Scored]


def _report(
    to: Path,
    table: Table,
    scores: _Scores,
    verdict: dict[str, Any],
    configs: Mapping[str, MetricConfig],
    references: Mapping[str, Sequence[str]],
) -> None:
    """A report beside which nothing else is needed but the pictures where they are."""
    is_work = (to / "pictures.toml").is_file()
    folder = to if is_work else make_folder(to.absolute().parent, to.name, ())
    spots: dict[tuple[int, int, int], Spot] = {}
    own: dict[tuple[int, int, int], str] = {}
    for picture, found in scores.scored.items():
        setting, prompt, seed = scores.seats[picture]
        reasons = {name: value.reason for name, value in found.unscored.items()}
        fault = found.fault
        spot = Spot(str(picture.path.absolute()), unscored=reasons)
        if fault is not None:
            spot = replace(spot, picture=None, status=fault.status, reason=fault.reason)
        spots[setting, prompt, seed] = spot
        if picture.control is not None:
            spots[-1, prompt, seed] = Spot(str(picture.control.absolute()))
            own[setting, prompt, seed] = str(picture.control.absolute())
    write_findings(
        folder,
        Findings(
            made=datetime.now(UTC).isoformat(timespec="seconds"),
            title=to.name,
            source={"kind": "pictures", "name": to.name},
            recipe={"pictures": f"{len(scores.scored)} finished pictures"},
            versions=versions(),
            checkpoints=[
                {"epoch": e, "label": f"epoch {e}" if e else "pictures", "file": "", "step": None}
                for e in sorted({s.epoch for s in table.settings})
            ],
            metrics=[facts_of(name, kind) for name, kind in configs.items()],
            table=table,
            spots=spots,
            verdict=verdict,
            summary=summary(table),
            references=references,
            own_controls=own if _differ(scores.seats) else {},
        ),
    )
    write_report(folder)
