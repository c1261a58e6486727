"""What finished pictures are measured by and compared with: no base model is asked."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.measures import asked_for
from analysis.metrics.memorised import copies
from analysis.reference import pictures_in
from analysis.scoring import Reading, References
from trainer.core.errors import DatasetError
from trainer.core.events import Event, Warned
from trainer.data.image import header, read

if TYPE_CHECKING:
    from analysis.judgements.base import Shown
    from analysis.metrics.base import MetricConfig
    from analysis.pictures import Folder, Found
    from analysis.pictures.seats import Seats
    from analysis.scoring import Scored
    from analysis.table import Table


@dataclass(frozen=True, slots=True)
class Beside:
    """What finished pictures are measured by and compared with, besides their controls.

    Attributes:
        metrics: As a job lists them; empty for all that pictures alone allow.
        weights: For rule "weights", by column.
        dataset: Folder of the pictures that were trained on.
        held_out: Folder of pictures of the same that were not.
    """

    metrics: tuple[str, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    dataset: Path | None = None
    held_out: Path | None = None


_PLAIN = ("ssim", "brisque", "burn")
"""What needs nothing but the pictures and their controls."""


def measures_of(
    asked: Beside, folder: Folder, pixels: References, notes: list[str]
) -> dict[str, MetricConfig]:
    """The metrics that these pictures allow; of those that were named, why others are left out."""
    if not asked.metrics:
        return asked_for(_PLAIN)
    found: dict[str, MetricConfig] = {}
    seeds = len({(f.prompt, f.seed) for f in folder.pictures}) > len(
        {f.prompt for f in folder.pictures}
    )
    lacks = {
        "eye": "it looks with the base model's own eye, and there is no base model",
        "prompt": "finished pictures do not tell their prompts",
        "reference": ""
        if pixels.held_out or pixels.training
        else "--dataset or --held-out is needed",
        "training": "" if pixels.training else "--dataset is needed",
        "held_out": "" if pixels.held_out else "--held-out is needed",
        "seeds": "" if seeds else "there is one seed",
    }
    for name, metric in asked_for(asked.metrics, asked.weights).items():
        counts = "no prompt is known as plain" if metric.counts == "plain" else ""
        reasons = [metric.absent(), counts, *(lacks.get(need, "") for need in metric.needs)]
        why = next((reason for reason in reasons if reason), "")
        if why:
            notes.append(f"{name} is not measured: {why}.")
        else:
            found[name] = metric
    return found


def references_of(place: Path | None, usable: list[Found], notes: list[str]) -> list[Shown]:
    """The pictures of a folder, at the size of those they are compared with."""
    if place is None or not usable:
        return []

    def note(event: Event) -> None:
        if isinstance(event, Warned):
            notes.append(event.message)

    size = _first_size(usable)
    return pictures_in(place, size, note) if size else []


def _first_size(usable: Sequence[Found]) -> tuple[int, int] | None:
    """Width and height of the first picture that can be read."""
    reading = Reading()
    for found in usable:
        with contextlib.suppress(DatasetError):  # it has a row with the reason
            return header(found.path, max_megapixels=reading.max_megapixels)
    return None


def copies_of(
    seats: Seats, scored: Mapping[Found, Scored], training: Sequence[Shown]
) -> list[dict[str, Any]]:
    """Pictures that are copies of training pictures, as report.json lists them."""
    reading = Reading()
    found = []
    for picture, told in scored.items() if training else ():
        if told.fault is not None:
            continue
        image = read(
            picture.path, background=reading.background, max_megapixels=reading.max_megapixels
        )
        pixels = np.asarray(image)
        _, prompt, seed = seats[picture]
        (copy,) = copies([pixels], [shown.pixels for shown in training])
        if copy is not None:
            found.append(
                {
                    "epoch": picture.epoch,
                    "strength": picture.strength,
                    "prompt": prompt,
                    "seed": seed,
                    "training": training[copy.training].name,
                    "similarity": copy.similarity,
                }
            )
    return found


def shares_of(table: Table, copied: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """The share of copies among each setting's pictures, by index."""
    each = len(table.prompts) * len(table.seeds)
    counts = Counter((copy["epoch"], copy["strength"]) for copy in copied)
    return {
        i: counts[setting] / each for i, setting in enumerate(table.settings) if counts[setting]
    }
