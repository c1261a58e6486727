"""Scoring: every metric's number for every picture, each file decoded once.

Files are decoded, and pictures that can be scored apart are scored, in worker processes, a few
at a time; what compares pictures with one another is scored here, whole groups at a time.
However many there are, some tens of pictures are in memory. It knows no sweeps and no verdicts.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from analysis.metrics.base import Company, Eye, MetricConfig, Picture, Unscored, Value
from analysis.metrics.measure_apart import in_order
from analysis.metrics.measure_sight import Sight
from trainer.core.errors import ConfigError, DatasetError
from trainer.data.image import header, read

Metrics = Mapping[str, MetricConfig]
"""By the name of their column."""
Progress = Callable[[int, int], None]
"""Told how many of how many pictures are done."""

_CHUNK = 8
_TOGETHER = 32
_MOST_PROCESSES = 8
_PAYS = 16.0
"""So many megapixels take longer to score than processes take to start."""
_NEEDS = {
    "training": "training picture",
    "held_out": "held-out picture",
    "reference": "reference picture",
    "eye": "model that sees what is in a picture",
}


@dataclass(frozen=True, slots=True)
class Item:
    """A picture to score.

    Attributes:
        picture: Its file.
        control: The base model's own picture of the same prompt and seed, where there is one.
        prompt: What it was asked for.
        group: Pictures of one setting and prompt share a number.
    """

    picture: Path
    control: Path | None = None
    prompt: str = ""
    group: int = 0


@dataclass(frozen=True, slots=True)
class References:
    """What all pictures are compared with.

    Attributes:
        training: The pictures that were trained on, decoded.
        held_out: Pictures of the same that were not.
        eye: A network that sees what is in a picture.
    """

    training: Sequence[Picture] = ()
    held_out: Sequence[Picture] = ()
    eye: Eye | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are read; the dataset's settings say the same.

    Attributes:
        background: What transparent parts are laid on, #rrggbb.
        max_megapixels: Larger pictures are refused.
    """

    background: str = "#ffffff"
    max_megapixels: float = 100.0


@dataclass(frozen=True, slots=True)
class Scored:
    """What was found of an item. Each metric's name is in `values` or in `unscored`.

    Attributes:
        values: Finite numbers, by metric.
        unscored: Why there is none, by metric.
        fault: Why the file itself cannot be read ("missing", "damaged"); None when it can.
        resized: Whether its control has another size, so that metrics bring it to the
            picture's. Known only where a metric needs the control.
    """

    values: dict[str, float]
    unscored: dict[str, Unscored]
    fault: Unscored | None = None
    resized: bool = False


@dataclass(slots=True)
class _Look:
    """An item as far as it is known; its picture stays while metrics are to come."""

    item: Item
    picture: Picture | None
    fault: Unscored | None
    values: dict[str, Value] = field(default_factory=dict)
    resized: bool = False


@dataclass(frozen=True, slots=True)
class _Task:
    """What a process is given at a time. `keep`: to hand the pictures back."""

    items: list[Item]
    metrics: Metrics
    reading: Reading
    keep: bool


def score(
    metrics: Metrics,
    items: Sequence[Item],
    references: References | None = None,
    *,
    reading: Reading | None = None,
    processes: int | None = None,
    progress: Progress = lambda done, total: None,
) -> list[Scored]:
    """Every metric's value of every item, in the items' order.

    A file that cannot be read is said so in its place and the rest goes on; an error of a
    metric is a bug, and raised. A metric that is not `alone` is called several times, each time
    with whole groups; all of them share one memory of what the eye saw.

    Args:
        metrics: What to measure, by name.
        items: The pictures.
        references: Pictures to compare with, for the metrics that ask for them.
        reading: How files are read.
        processes: How many decode and score; 0 for this one alone. Unless given, one a core
            where number and size of the pictures make that pay.
        progress: Called after every few pictures.

    Raises:
        ConfigError: A metric cannot be used on this machine.
        ResourceError: A process was ended from outside.
    """
    _refuse_absent(metrics)
    reading = reading or Reading()
    apart = {name: metric for name, metric in metrics.items() if metric.alone}
    together = {name: metric for name, metric in metrics.items() if not metric.alone}
    order = _in_order(items)
    chunks = [[items[i] for i in order[at : at + _CHUNK]] for at in range(0, len(order), _CHUNK)]
    tasks = [_Task(chunk, apart, reading, keep=bool(together)) for chunk in chunks]
    workers = _worth(items, reading) if processes is None else processes
    beside = references or References()
    sight = beside.eye and Sight(beside.eye)
    found: list[Scored] = []
    _control.cache_clear()
    for looks in _whole_groups(in_order(_look, tasks, processes=workers), wait=bool(together)):
        _measure(together, looks, replace(beside, eye=sight), reading)
        if sight:
            sight.forget([look.picture for look in looks if look.picture is not None])
        found += [_finished(look, metrics) for look in looks]
        progress(len(found), len(items))
    _control.cache_clear()
    return [found[place] for place in np.argsort(order)]


def _refuse_absent(metrics: Metrics) -> None:
    for name, metric in metrics.items():
        if why := metric.absent():
            raise ConfigError(f"the metric {name!r} cannot be used here: {why}", where="metrics")


def _in_order(items: Sequence[Item]) -> list[int]:
    """Indices by group, then control; groups of the same controls follow one another."""
    names = [str(item.control or "") for item in items]
    controls: dict[int, list[str]] = defaultdict(list)
    for item, name in zip(items, names, strict=True):
        controls[item.group].append(name)
    ranked = {group: (sorted(found), group) for group, found in controls.items()}
    return sorted(range(len(items)), key=lambda i: (ranked[items[i].group], names[i]))


def _worth(items: Sequence[Item], reading: Reading) -> int:
    """How many processes are worth starting, as the first readable picture's size tells."""
    for item in items:
        with contextlib.suppress(DatasetError):  # which is told when it comes to be scored
            width, height = header(item.picture, max_megapixels=reading.max_megapixels)
            pays = len(items) * width * height >= _PAYS * 1e6
            return min(_MOST_PROCESSES, os.cpu_count() or 1) if pays else 0
    return 0


def _look(task: _Task) -> list[_Look]:
    """Decode a task's pictures and score them apart. Runs in a process of its own."""
    looks = [_Look(item, *_decoded(item.picture, task.reading)) for item in task.items]
    _measure(task.metrics, looks, References(), task.reading)
    if not task.keep:
        for look in looks:
            look.picture = None
    return looks


def _decoded(path: Path, reading: Reading) -> tuple[Picture | None, Unscored | None]:
    """The file's picture, or why there is none."""
    if not path.is_file():
        return None, Unscored("missing", f"there is no file {path.name!r}")
    try:
        image = read(path, background=reading.background, max_megapixels=reading.max_megapixels)
    except DatasetError as error:
        return None, Unscored("damaged", error.problem)
    return np.asarray(image), None


@lru_cache(maxsize=16)
def _control(path: Path | None, reading: Reading) -> tuple[Picture | None, Unscored | None]:
    """`_decoded`, remembered: many pictures have the same control, some have none."""
    return (None, None) if path is None else _decoded(path, reading)


def _whole_groups(batches: Iterable[list[_Look]], *, wait: bool) -> Iterator[list[_Look]]:
    """The looks as they come; with `wait`, some tens at a time and no group torn apart."""
    pending: list[_Look] = []
    for look in (look for batch in batches for look in batch):
        full = len(pending) >= (_TOGETHER if wait else _CHUNK)
        if full and not (wait and look.item.group == pending[-1].item.group):
            yield pending
            pending = []
        pending.append(look)
    if pending:
        yield pending


def _measure(
    metrics: Metrics, looks: Sequence[_Look], beside: References, reading: Reading
) -> None:
    """Let each metric add its values to the looks that have a picture."""
    pairs = [(look, look.picture) for look in looks if look.picture is not None]
    if not pairs or not metrics:
        return
    seen, pictures = [look for look, _ in pairs], [picture for _, picture in pairs]
    wanted = any("control" in metric.needs for metric in metrics.values())
    controls = [_control(look.item.control, reading)[0] if wanted else None for look in seen]
    for (look, picture), control in zip(pairs, controls, strict=True):
        look.resized |= control is not None and control.shape != picture.shape
    prompts, groups = [look.item.prompt for look in seen], [look.item.group for look in seen]
    company = Company(controls, prompts, groups, beside.training, beside.held_out, beside.eye)
    for name, metric in metrics.items():
        lacking = _lacking(metric, company)
        values = [lacking] * len(seen) if lacking else metric.score(pictures, company)
        for look, value in zip(seen, values, strict=True):
            look.values[name] = _explained(value, look.item, metric, reading)


def _lacking(metric: MetricConfig, company: Company) -> Unscored | None:
    """What a metric needs of all pictures' company and does not find there."""
    there = {
        "training": len(company.training),
        "held_out": len(company.held_out),
        "reference": len(company.references),
        "eye": company.eye is not None,
    }
    for need, name in _NEEDS.items():
        if need in metric.needs and not there[need]:
            return Unscored("missing", f"there is no {name} to compare with")
    return None


def _explained(value: Value, item: Item, metric: MetricConfig, reading: Reading) -> Value:
    """The value; where it lacks for a control that cannot be read, why that is."""
    if not isinstance(value, Unscored):
        if not math.isfinite(value):
            raise ArithmeticError(f"{metric.kind} says {value} of {item.picture}")
        return float(value)
    _, fault = _control(item.control, reading) if "control" in metric.needs else (None, None)
    return Unscored(fault.status, f"the base model's picture: {fault.reason}") if fault else value


def _finished(look: _Look, metrics: Metrics) -> Scored:
    if look.fault is not None:
        return Scored({}, dict.fromkeys(metrics, look.fault), look.fault)
    unscored = {name: value for name, value in look.values.items() if isinstance(value, Unscored)}
    values = {name: value for name, value in look.values.items() if isinstance(value, float)}
    return Scored(values, unscored, None, look.resized)
