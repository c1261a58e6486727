"""report.json: everything that an analysis found, in plain values (docs/report.md).

The page, the tables and scripts are made from this file alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.core.files import write_atomically

if TYPE_CHECKING:
    from analysis.table import Array, Table

VERSION = 1
NAME = "report.json"


@dataclass(frozen=True, slots=True)
class Spot:
    """A picture of the sweep: where it is, or why it is not.

    Attributes:
        picture: Its file, relative to the folder; None when there is none.
        status: "ok", or a word for what is wrong.
        unscored: Metrics that have no number here, and why.
    """

    picture: str | None
    status: str = "ok"
    reason: str = ""
    unscored: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Findings:
    """What goes into the file.

    Attributes:
        made: When, as ISO 8601 in UTC.
        source: Kind ("run", "loras", "pictures") and name.
        recipe: How the pictures were made: label -> value.
        checkpoints: `epoch`, `label`, `file`, `step`, `digest` of each.
        metrics: `name`, `title`, `axis`, ... of each metric and judgement.
        spots: By (setting, prompt, seed) as indices; setting -1 is the control.
        verdict: `Verdict.as_dict()`.
        own_controls: By (setting, prompt, seed): the control's file where each setting has its own.
        summary: By setting, `metrics` and `difference` with mean, low and high.
        references: Names of the pictures that were compared with.
    """

    made: str
    title: str
    source: Mapping[str, str]
    recipe: Mapping[str, Any]
    versions: Mapping[str, str]
    checkpoints: Sequence[Mapping[str, Any]]
    metrics: Sequence[Mapping[str, Any]]
    table: Table
    spots: Mapping[tuple[int, int, int], Spot]
    verdict: Mapping[str, Any]
    summary: Sequence[Mapping[str, Any]]
    references: Mapping[str, Sequence[str]]
    own_controls: Mapping[tuple[int, int, int], str] = field(default_factory=dict)


def write_findings(folder: Path, findings: Findings) -> Path:
    """Write report.json.

    Raises:
        ResourceError: The folder cannot be written.
    """
    path = folder / NAME
    text = json.dumps(as_dict(findings), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(path, text + "\n")
    return path


def as_dict(findings: Findings) -> dict[str, Any]:
    """The findings as the file holds them."""
    table = findings.table
    shots = [(p, k) for p in range(len(table.prompts)) for k in range(len(table.seeds))]
    return {
        "version": VERSION,
        "made": findings.made,
        "title": findings.title,
        "source": dict(findings.source),
        "recipe": dict(findings.recipe),
        "versions": dict(findings.versions),
        "checkpoints": [dict(checkpoint) for checkpoint in findings.checkpoints],
        "strengths": sorted({setting.strength for setting in table.settings}),
        "prompts": [{"text": p.text, "kind": p.kind} for p in table.prompts],
        "seeds": list(table.seeds),
        "metrics": [dict(metric) for metric in findings.metrics],
        "controls": [_control(findings, p, k) for p, k in shots],
        "cells": [
            _cell(findings, s, p, k)
            for s in range(len(table.settings))
            for p, k in shots
            if (s, p, k) in findings.spots
        ],
        "summary": [dict(row) for row in findings.summary],
        "judged": _judged(table),
        "judged_base": {name: _spread(c.control) for name, c in table.judged.items()},
        "verdict": dict(findings.verdict),
        "references": {name: list(names) for name, names in findings.references.items()},
    }


def _control(findings: Findings, prompt: int, seed: int) -> dict[str, Any]:
    spot = findings.spots.get((-1, prompt, seed), Spot(None, "missing", "there is no control"))
    scores = {n: _plain(c.control[prompt, seed]) for n, c in findings.table.columns.items()}
    return {"prompt": prompt, "seed": seed, **_told(spot), "scores": scores}


def _cell(findings: Findings, setting: int, prompt: int, seed: int) -> dict[str, Any]:
    spot, table = findings.spots[setting, prompt, seed], findings.table
    epoch, strength = table.settings[setting]
    return {
        "epoch": epoch,
        "strength": strength,
        "prompt": prompt,
        "seed": seed,
        **_told(spot),
        "scores": {n: _plain(c.values[setting, prompt, seed]) for n, c in table.columns.items()},
        "unscored": dict(spot.unscored),
        **_own_control(findings, setting, prompt, seed),
    }


def _own_control(findings: Findings, setting: int, prompt: int, seed: int) -> dict[str, Any]:
    """A cell's `control`, where the settings' controls differ."""
    picture = findings.own_controls.get((setting, prompt, seed))
    if picture is None:
        return {}
    scores = {
        name: _plain(column.base[setting, prompt, seed])
        for name, column in findings.table.columns.items()
        if column.own is not None
    }
    return {"control": {"picture": picture, "scores": scores}}


def _told(spot: Spot) -> dict[str, Any]:
    return {"picture": spot.picture, "status": spot.status, "reason": spot.reason}


def _judged(table: Table) -> list[dict[str, Any]]:
    """Each setting's judgements: means over pictures and draws, with their spread."""
    return [
        {
            "epoch": setting.epoch,
            "strength": setting.strength,
            "metrics": {
                name: _spread(column.values[index]) for name, column in table.judged.items()
            },
        }
        for index, setting in enumerate(table.settings)
        if table.judged
    ]


def _spread(values: Array) -> dict[str, float | None]:
    """Mean and an interval of one standard error to both sides, over pictures."""
    pictures = [float(np.nanmean(row)) for row in values if np.isfinite(row).any()]
    if not pictures:
        return {"mean": None, "low": None, "high": None}
    mean = float(np.mean(pictures))
    error = float(np.std(pictures, ddof=1) / math.sqrt(len(pictures))) if len(pictures) > 1 else 0.0
    return {"mean": mean, "low": mean - error, "high": mean + error}


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def facts_of(name: str, kind: Any) -> dict[str, Any]:
    """What a metric, or a judgement's class, says of itself, for the page."""
    return {
        "name": name,
        "title": getattr(kind, "heading", kind.title),
        "axis": kind.axis,
        "better": getattr(kind, "better", "lower"),
        "limits": list(getattr(kind, "limits", (None, None))),
        "counts": getattr(kind, "counts", "all"),
        "meaning": kind.meaning,
        "distrust": kind.distrust,
    }


__all__ = ["NAME", "VERSION", "Findings", "Spot", "as_dict", "facts_of", "write_findings"]
