"""Finished pictures from whatever program, ranked like a sweep's: no model is asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis import words
from analysis.findings import Findings, Spot, facts_of, write_findings
from analysis.metrics.base import metrics
from analysis.ranking import rank
from analysis.report import write as write_report
from analysis.scoring import Item, Scored, score
from analysis.summary import summary
from analysis.table import Column, Prompt, Setting, Table
from analysis.vetoes import Facts, Rules
from trainer.core.errors import COMPLETED, UNDECIDED, DatasetError
from trainer.core.work import make_folder
from trainer.weights.metadata import versions

if TYPE_CHECKING:
    from analysis.pictures import Folder, Found

_MEASURED = ("ssim", "brisque", "burn")
"""What needs nothing but the pictures and their controls."""


def analyse_folder(
    folder: Folder, *, rule: str, to: Path | None
) -> tuple[list[dict[str, Any]], dict[str, Any] | None, list[str], int]:
    """Score and rank a folder's pictures.

    Args:
        folder: The pictures and their controls.
        rule: How to choose.
        to: A new folder for the report; None writes none.

    Returns:
        Rows, the choice, the verdict in words, the exit code.
    """
    usable = [found for found in folder.pictures if not found.problem]
    configs = {name: metrics[name].model_validate({}) for name in _MEASURED}
    scored = dict(zip(usable, score(configs, [_item(f) for f in usable]), strict=True))
    table = _table(usable, scored, list(configs))
    facts = [Facts(n, c.axis, c.better, c.counts) for n, c in configs.items()]
    found = rank(table, facts, Rules(rule), {})
    verdict = words.told(table, found, rule, [])
    rows = [_row(picture, scored.get(picture), list(configs)) for picture in folder.pictures]
    rows += [
        {"image": name, "status": "strange", "reason": "its name says no epoch or strength"}
        for name in folder.strange
    ]
    if to is not None:
        _report(to, table, scored, verdict, configs)
    told = [verdict["headline"], *verdict["sentences"], *filter(None, [verdict["thin"]])]
    if found.state == "nothing scored" and not any(f.control for f in usable):
        told.append(
            "This rule compares with the base model's pictures: name them with --control, or take "
            "--rule ancestor."
        )
    if found.state == "nothing scored":
        return rows, None, told, DatasetError.exit_code
    code = COMPLETED if found.state == "chosen" else UNDECIDED
    return rows, verdict["choice"], told, code


def _item(found: Found) -> Item:
    group = hash((found.epoch, found.strength, found.prompt))
    return Item(found.path, found.control, str(found.prompt), group)


def _table(usable: list[Found], scored: dict[Found, Scored], names: list[str]) -> Table:
    settings = sorted({Setting(f.epoch, f.strength) for f in usable})
    prompts = sorted({f.prompt for f in usable})
    seeds = sorted({f.seed for f in usable})
    shape = (len(settings), len(prompts), len(seeds))
    values = {name: np.full(shape, np.nan) for name in names}
    for picture, found in scored.items():
        place = (
            settings.index(Setting(picture.epoch, picture.strength)),
            prompts.index(picture.prompt),
            seeds.index(picture.seed),
        )
        for name, value in found.values.items():
            values[name][place] = value
    common, own = _controls(usable, (settings, prompts, seeds), names)
    return Table(
        tuple(settings),
        tuple(Prompt(f"prompt {p}") for p in prompts),
        tuple(seeds),
        {name: Column(values[name], common[name], own.get(name)) for name in names},
        {},
    )


def _controls(
    usable: list[Found], axes: tuple[list[Setting], list[int], list[int]], names: list[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The scores of the base model's pictures: by prompt and seed, and by setting too.

    The second is empty when all settings share their controls.
    """
    settings, prompts, seeds = axes
    configs = {n: metrics[n].model_validate({}) for n in names if "control" not in metrics[n].needs}
    paths = list(dict.fromkeys(f.control for f in usable if f.control))
    scored = dict(zip(paths, score(configs, [Item(path) for path in paths]), strict=True))
    shape = (len(settings), len(prompts), len(seeds))
    own = {name: np.full(shape, np.nan) for name in configs}
    common = {name: np.full(shape[1:], np.nan) for name in names}
    for f in usable:
        if f.control is None:
            continue
        shot = prompts.index(f.prompt), seeds.index(f.seed)
        for name, value in scored[f.control].values.items():
            own[name][settings.index(Setting(f.epoch, f.strength)), *shot] = value
            common[name][shot] = value
    return common, own if _differ(usable) else {}


def _differ(usable: list[Found]) -> bool:
    """Whether settings have controls of their own."""
    shared: dict[tuple[int, int], set[Path]] = {}
    for found in usable:
        if found.control is not None:
            shared.setdefault((found.prompt, found.seed), set()).add(found.control)
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


def _report(
    to: Path, table: Table, scored: dict[Found, Scored], verdict: dict[str, Any], configs: Any
) -> None:
    """A report beside which nothing else is needed but the pictures where they are."""
    folder = make_folder(to.absolute().parent, to.name, ())
    spots: dict[tuple[int, int, int], Spot] = {}
    own: dict[tuple[int, int, int], str] = {}
    prompts = sorted({f.prompt for f in scored})
    for picture, found in scored.items():
        prompt, seed = prompts.index(picture.prompt), table.seeds.index(picture.seed)
        setting = table.settings.index(Setting(picture.epoch, picture.strength))
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
            recipe={"pictures": f"{len(scored)} finished pictures"},
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
            references={"training": [], "held_out": []},
            own_controls=own if _differ(list(scored)) else {},
        ),
    )
    write_report(folder)
