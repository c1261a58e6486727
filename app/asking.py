"""What a person asks for on the page that trains: values, where they come from, what they take.

The values of a form lie over a preset's or another run's, as a job file's do. `forecast` needs
torch and is sent as an errand.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.library import DEMOS
from app.recipes import find
from trainer.core import toml
from trainer.core.errors import ConfigError, DatasetError
from trainer.core.trees import Tree, flat, merge
from trainer.job.config import JobConfig
from trainer.job.file import parse_job
from trainer.job.rates import rate_in_words

if TYPE_CHECKING:
    from trainer.job.run import Run

BASICS = (
    "name",
    "model.kind",
    "model.base",
    "dataset.folder",
    "dataset.trigger",
    "dataset.class_word",
    "adapter.rank",
    "adapter.alpha",
    "optimizer.learning_rate",
    "schedule.epochs",
    "schedule.steps",
    "schedule.batch_size",
    "samples.prompts",
    "analysis.after_training",
)
"""What a person sees before all settings are asked for."""
_PER_RUN = ("runs", "cache", "version")
_PLACES = ("dataset.folder", "validation.folder", "prior.folder", "model.base", "runs")
_MOST_FILES = 60_000
"""Of a folder that is looked through while a person types; a run may have more."""
_POINTS = 160
"""Points of a curve."""
_SHOWN = 6
"""Pictures, and problems, of a folder that are shown."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What lies under a form.

    Attributes:
        values: By dotted path.
        source: "preset NAME", "run NAME"; empty when nothing lies there.
        family: Of a preset, which the form may not change.
        told: What the preset says of itself, in a sentence.
    """

    values: dict[str, Any]
    source: str = ""
    family: str = ""
    told: str = ""


def ground_of_preset(name: str) -> Ground:
    """A preset under a form.

    Raises:
        ConfigError: There is none, or it cannot be used.
    """
    preset = find(name)
    values = flat(preset.settings)
    values.pop("version", None)
    if preset.family:
        values["model.kind"] = preset.family
    return Ground(values, f"preset {preset.name}", preset.family, preset.about.sentence)


def ground_of_run(run: Run) -> Ground:
    """The job of a run under a form, to ask for the same again.

    Raises:
        ConfigError: Its job cannot be read.
    """
    values = {
        path: value
        for path, value in flat(run.job.model_dump(mode="json")).items()
        if path not in _PER_RUN and value is not None
    }
    values.pop("schedule.seed", None)
    return Ground(values, f"run {run.name}")


def whole(values: Tree, below: Ground, runs: Path) -> Tree:
    """What the form says, over what lies below it; runs go to `runs` unless it says otherwise."""
    from trainer.core.trees import nested

    return merge(merge({"runs": str(runs)}, nested(dict(below.values))), values)


def job_of(tree: Tree) -> JobConfig:
    """The job, ready to be started.

    Raises:
        ConfigError: For the first setting that is impossible, or a folder that is not there.
    """
    _refuse_network(tree)
    toml.anchor(JobConfig, tree, Path.cwd())
    job = parse_job(tree)
    if not job.dataset.folder.is_dir():
        raise ConfigError(
            f"there is no folder {str(job.dataset.folder)!r}",
            where="dataset.folder",
            hint="choose the folder that holds your pictures",
        )
    job.require_apart()
    return job


def _refuse_network(tree: Tree) -> None:
    for path, value in flat(tree).items():
        if isinstance(value, str) and value.startswith(("\\\\", "//")):
            raise ConfigError(
                "network paths are not opened", where=path, hint="map it to a drive, or copy it"
            )


def at_field(told: dict[str, str], tree: Tree) -> dict[str, str]:
    """A problem with a folder or a file, moved to the field that names it."""
    values, place = flat(tree), told["where"]
    for field in _PLACES:
        named = str(values.get(field) or "")
        if named and place and Path(place).is_relative_to(named):
            rest = "" if place == named else f" ({Path(place).relative_to(named)})"
            return {**told, "where": field, "problem": told["problem"] + rest}
    return told


def words_of(tree: Tree) -> dict[str, str]:
    """What can be said of values at once, without looking at pictures or models."""
    try:
        job = parse_job(tree)
    except ConfigError:
        return {}
    return {"rate": rate_in_words(job)}


def steps_in_words(job: JobConfig, numbers: Mapping[str, float]) -> str:
    """How the steps come about: pictures x repeats x epochs / batch."""
    schedule, shown = job.schedule, round(numbers["shown"])
    steps, an_epoch = round(numbers["steps"]), round(numbers["an_epoch"])
    pictures = _count(round(numbers["pictures"]), "picture")
    if shown != round(numbers["pictures"]):
        pictures += f", shown {shown:,} times an epoch"
    batch = schedule.batch_size * schedule.accumulate
    taken = f"{batch:,} at a time" if batch > 1 else "one at a time"
    if schedule.accumulate > 1:
        taken += f" ({schedule.batch_size} x {schedule.accumulate} added up)"
    whole = steps % an_epoch == 0
    epochs = _count(steps // an_epoch, "epoch") if whole else f"{steps / an_epoch:.3g} epochs"
    return f"{pictures}, {taken}: {_count(an_epoch, 'step')} an epoch, {steps:,} in {epochs}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def demo_tree(kind: str) -> tuple[Path, list[str]]:
    """The demo's job file and what is said of it on the page: it ends with an analysis.

    Raises:
        ConfigError: There is no such demo.
    """
    names = sorted(path.stem.removeprefix("demo-") for path in DEMOS.glob("demo-*.toml"))
    if kind not in names:
        raise ConfigError(f"there is no demo {kind[:40]!r}", hint=f"one of {', '.join(names)}")
    return DEMOS / f"demo-{kind}.toml", ["analysis.after_training=true"]


def glance(folder: Path, trigger: str) -> dict[str, Any]:
    """What of a folder of pictures matters before training; headers are read, and captions.

    Raises:
        DatasetError: There is no readable picture in it, or more files than a dataset has.
    """
    from trainer.data import image
    from trainer.data.folder import scan
    from trainer.data.wording import without_trigger

    def look(path: Path, most: float) -> tuple[int, int, str]:
        return (*image.header(path, max_megapixels=most), "")

    require_few_files(folder)
    job = JobConfig.model_validate({"dataset": {"folder": str(folder)}})
    found = scan(job.dataset, lenient=True, look=look)
    captions = sum(bool(picture.caption) for picture in found.pictures)
    word = trigger.strip()
    return {
        "path": str(folder),
        "pictures": len(found.pictures),
        "captions": captions,
        "uncalled": len(without_trigger(found.pictures, word)) if word and captions else 0,
        "problems": [str(problem) for problem in found.problems[:_SHOWN]],
        "faults": len(found.problems),
        "some": [str(picture.path) for picture in found.pictures[:_SHOWN]],
    }


def require_few_files(folder: Path) -> None:
    """Refuse to look through a whole disk, which is what half a path names while it is typed.

    Raises:
        DatasetError: There are too many files in the folder and those below it.
    """
    files = 0
    for _, _, names in os.walk(folder):
        files += len(names)
        if files > _MOST_FILES:
            raise DatasetError(
                f"there are more than {_MOST_FILES:,} files in this folder and those below it",
                where=str(folder),
                hint="choose the one that holds the pictures and nothing else",
            )


# Sent as an errand: it needs torch


def forecast(tree: Tree) -> dict[str, Any]:
    """What a run will do and need: sentences, numbers, curves.

    Raises:
        UserError: The job cannot run here.
    """
    from trainer.data.folder import scan
    from trainer.planning import plan_of
    from trainer.preflight import preflight

    job = job_of(tree)
    require_few_files(job.dataset.folder)
    plan = plan_of(job)
    found = preflight(job, plan, scan(job.dataset))
    steps = int(found.numbers["steps"])
    return {
        "facts": found.facts,
        "warnings": list(found.warnings),
        "numbers": found.numbers,
        "rate": _rates(job, steps),
        "times": _times(job),
        "words": {"rate": rate_in_words(job), "steps": steps_in_words(job, found.numbers)},
    }


def _rates(job: JobConfig, steps: int) -> list[list[float]]:
    """The learning rate over the steps, as two columns."""
    from trainer.engine.schedule import share_of_peak

    schedule, peak = job.schedule, job.optimizer.learning_rate
    share = functools.partial(
        share_of_peak, steps=steps, warmup=round(schedule.warmup * steps), kind=schedule.kind
    )
    numbers = sorted({1 + round(i * (steps - 1) / (_POINTS - 1)) for i in range(_POINTS)})
    return [[float(n) for n in numbers], [peak * share(n) for n in numbers]]


def _times(job: JobConfig) -> list[list[float]]:
    """How densely times are drawn, from picture (0) to noise (1), as two columns."""
    outline = job.model.outline(job.adapter.targets)
    count = len(outline.heights)
    return [[(i + 0.5) / count for i in range(count)], list(outline.heights)]


def differs(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two jobs would train something else."""
    left, right = (
        {path: value for path, value in flat(dict(job)).items() if path not in _PER_RUN}
        for job in (one, other)
    )
    return left != right
