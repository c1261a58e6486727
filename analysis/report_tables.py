"""The numbers of a report as files for other programs: scores.csv, and scores.parquet.

A row is a picture; the base model's own pictures are those of epoch 0 at strength 0. Texts are
written as they are.
"""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.report_file import Cell, Control, Told, as_cell
from trainer.core.files import write_atomically

_HEADS = ("epoch", "strength", "prompt", "kind", "seed", "picture", "status", "reason", "unscored")


def write_tables(folder: Path, told: Told) -> None:
    """Write scores.csv, and scores.parquet when pyarrow is installed.

    Raises:
        ResourceError: The folder cannot be written.
    """
    names = [metric["name"] for metric in told["metrics"] if _is_scored(told, metric["name"])]
    heads = [*_HEADS, *names]
    lines = [_line(told, cell, names) for cell in told["cells"]]
    base = map(as_cell, told["controls"])
    lines += [_line(told, cell, names) for cell in base]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows(lines)
    write_atomically(folder / "scores.csv", text.getvalue())
    if importlib.util.find_spec("pyarrow") is not None:
        write_atomically(folder / "scores.parquet", _parquet(heads, lines))


def _is_scored(told: Told, name: str) -> bool:
    """Whether pictures have this number; the model's own judgements are of settings instead."""
    shots: Sequence[Control] = [*told["cells"], *told["controls"]]
    return any(name in one["scores"] for one in shots)


def _line(told: Told, cell: Cell, names: Sequence[str]) -> list[Any]:
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
        "; ".join(f"{metric}: {why}" for metric, why in cell["unscored"].items()),
        *(cell["scores"].get(name) for name in names),
    ]


def _parquet(heads: Sequence[str], lines: Sequence[Sequence[Any]]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    kinds = {"epoch": pyarrow.int64(), "seed": pyarrow.int64()}
    words = ("prompt", "kind", "picture", "status", "reason", "unscored")
    columns = {
        head: pyarrow.array(
            [line[i] for line in lines],
            pyarrow.string() if head in words else kinds.get(head, pyarrow.float64()),
        )
        for i, head in enumerate(heads)
    }
    sink = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), sink)
    return sink.getvalue()
