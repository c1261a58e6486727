"""The findings as tables: for the page, as CSV and Parquet, and as one sheet of pictures."""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.sheet import Row, sheet
from trainer.core.files import write_atomically

if TYPE_CHECKING:
    from PIL.Image import Image

_SHEET_SIDE = 128
_MOST_ROWS = 200
"""Rows of the contact sheet; more would make a picture that nothing opens."""


def columns(told: Mapping[str, Any]) -> list[str]:
    """Headings of the table of settings."""
    titles = [metric["title"] for metric in told["metrics"]]
    return ["epoch", "strength", *titles, "chance best", "remarks"]


def rows(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The table of settings: `cells` with `text`, `value` to sort by, `words` for long ones."""
    verdict = told["verdict"]
    reasons = {_key(one): one["reasons"] for one in verdict["vetoed"]}
    chance = {_key(one): one["p"] for one in verdict["chance"]}
    tied = {_key(one) for one in verdict["tied"]}
    choice = _key(verdict["choice"]) if verdict["choice"] else None
    judged = {_key(one): one["metrics"] for one in told["judged"]}
    found = []
    for setting in told["summary"]:
        at = _key(setting)
        means = {**setting["metrics"], **judged.get(at, {})}
        cells = [_number(at[0]), _number(at[1])]
        cells += [_number((means.get(m["name"]) or {}).get("mean")) for m in told["metrics"]]
        cells.append(_number(chance.get(at)))
        remarks = ["the choice"] if at == choice else []
        remarks += ["cannot be told apart from the best"] if at in tied and at != choice else []
        remarks += [f"ruled out: {reason}" for reason in reasons.get(at, ())]
        words = "; ".join(remarks)
        cells.append({"text": words, "value": words, "words": True})
        found.append({"picked": at == choice, "cells": cells})
    return found


def failed(told: Mapping[str, Any]) -> list[dict[str, str]]:
    """Pictures that are not there, or that some metric has no number for."""
    found: list[dict[str, str]] = []
    for cell in told["cells"]:
        name = f"epoch {cell['epoch']} at {cell['strength']:g}, {_shot(told, cell)}"
        if cell["status"] not in ("ok", "not rendered"):
            found.append({"name": name, "why": cell["reason"] or cell["status"]})
        found += [
            {"name": name, "why": f"{metric}: {why}"}
            for metric, why in cell["unscored"].items()
            if cell["status"] == "ok"
        ]
    found += [
        {"name": f"the base model, {_shot(told, one)}", "why": one["reason"] or one["status"]}
        for one in told["controls"]
        if one["status"] != "ok"
    ]
    return found


def write(folder: Path, told: Mapping[str, Any]) -> None:
    """Write scores.csv, and scores.parquet when pyarrow is installed.

    Raises:
        ResourceError: The folder cannot be written.
    """
    names = [metric["name"] for metric in told["metrics"]]
    heads = ["epoch", "strength", "prompt", "kind", "seed", "picture", "status", "reason", *names]
    lines = [_line(told, cell, names) for cell in told["cells"]]
    lines += [_line(told, {**one, "epoch": 0, "strength": 0.0}, names) for one in told["controls"]]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows(["" if value is None else value for value in line] for line in lines)
    write_atomically(folder / "scores.csv", text.getvalue())
    if importlib.util.find_spec("pyarrow") is not None:
        write_atomically(folder / "scores.parquet", _parquet(heads, lines))


def contact_sheet(folder: Path, told: Mapping[str, Any]) -> Image | None:
    """All pictures: blocks of prompt and seed, a row an epoch, a column a strength."""
    strengths = sorted({setting["strength"] for setting in told["summary"]})
    epochs = sorted({setting["epoch"] for setting in told["summary"]})
    cells = {
        (c["epoch"], c["strength"], c["prompt"], c["seed"]): c["picture"] for c in told["cells"]
    }
    lines: list[Row] = []
    for control in told["controls"]:
        prompt, seed = control["prompt"], control["seed"]
        base = [Path()] * len(strengths)
        lines.append(Row(_shot(told, control), [_file(folder, control["picture"]), *base]))
        for epoch in epochs:
            pictures = [cells.get((epoch, s, prompt, seed)) for s in strengths]
            row = [Path(), *(_file(folder, picture) for picture in pictures)]
            lines.append(Row(f"epoch {epoch}", row))
    if not lines:
        return None
    titles = ["base model", *(f"strength {s:g}" for s in strengths)]
    return sheet(lines[:_MOST_ROWS], titles, side=_SHEET_SIDE)


def _file(folder: Path, name: str | None) -> Path:
    return folder / name if name else Path()


def _line(told: Mapping[str, Any], cell: Mapping[str, Any], names: Sequence[str]) -> list[Any]:
    prompt = told["prompts"][cell["prompt"]]
    return [
        cell["epoch"],
        cell["strength"],
        prompt["text"],
        prompt["kind"],
        told["seeds"][cell["seed"]],
        cell["picture"],
        cell["status"],
        cell["reason"],
        *(cell["scores"].get(name) for name in names),
    ]


def _parquet(heads: Sequence[str], lines: Sequence[Sequence[Any]]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table({head: [line[i] for line in lines] for i, head in enumerate(heads)})
    sink = io.BytesIO()
    parquet.write_table(table, sink)
    return sink.getvalue()


def _shot(told: Mapping[str, Any], cell: Mapping[str, Any]) -> str:
    return f"{told['prompts'][cell['prompt']]['text']}, seed {told['seeds'][cell['seed']]}"


def _key(setting: Mapping[str, Any]) -> tuple[int, float]:
    return setting["epoch"], setting["strength"]


def _number(value: float | None) -> dict[str, Any]:
    if value is None:
        return {"text": "-", "value": "", "words": False}
    text = str(value) if isinstance(value, int) else f"{value:.3f}".rstrip("0").rstrip(".")
    return {"text": text or "0", "value": value, "words": False}
