"""From what a person names (job files, folders of them, matrix jobs) to jobs for the queue.

Everything is checked before anything is added, and paths are made absolute, so that a job means
the same from anywhere and whatever becomes of its file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.sweep import SweepConfig
from app.queue.matrix import MOST_RUNS, TABLE, Variant, named, variants
from app.queue.store import Asked
from app.recipes import layer_of
from trainer.core import toml
from trainer.core.errors import ConfigError
from trainer.core.trees import Tree, flat, merge
from trainer.job.config import JobConfig
from trainer.job.file import as_override
from trainer.job.layers import Layer, override_layer, settle

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line says of all jobs.

    Attributes:
        overrides: `section.field=value`, laid over each.
        runs: Where run folders are made; each job's own setting when None.
        analyse: Analyse every run once it is trained.
        most: How many runs a matrix may make.
    """

    overrides: Sequence[str] = ()
    runs: Path | None = None
    analyse: bool = False
    most: int = MOST_RUNS


def jobs_in(sources: Iterable[Path], wishes: Wishes) -> list[Asked]:
    """The jobs of these files, and of the .toml files in these folders.

    Raises:
        ConfigError: A file is missing or no job; the first that is, and how many more.
    """
    asked: list[Asked] = []
    problems: list[ConfigError] = []
    for file in _files(sources):
        try:
            asked += jobs_of(file, wishes)
        except ConfigError as error:
            problems.append(_of_file(error, file))
    if problems:
        first = problems[0]
        others = [problem.where.partition(": ")[0] for problem in problems[1 : _SHOWN + 1]]
        more = f"; {len(problems) - 1} more have problems: {', '.join(others)}" if others else ""
        raise ConfigError(first.problem + more, where=first.where, hint=first.hint)
    return asked


def jobs_of(file: Path, wishes: Wishes) -> list[Asked]:
    """The jobs of one file: one, or as many as its matrix says.

    Raises:
        ConfigError: The file is missing, no job, or its matrix is impossible.
    """
    return jobs_of_values(toml.read(file), file.absolute().parent, wishes)


def jobs_of_values(values: Tree, folder: Path, wishes: Wishes) -> list[Asked]:
    """The same of what a file holds.

    Args:
        values: A job or a sweep; perhaps with a matrix.
        folder: What relative paths are relative to.
        wishes: Said of all jobs.

    Raises:
        ConfigError: It is no job, or its matrix is impossible.
    """
    values = dict(values)
    found = [Variant("", {})]
    if TABLE in values:
        found = variants(values.pop(TABLE), most=wishes.most)
    trees = [merge(values, variant.values) for variant in found]
    names = named(str(values.get("name", _default_name(values))), found)
    if len(found) > 1:
        trees = [tree | {"name": name} for tree, name in zip(trees, names, strict=True)]
    return [_asked(tree, folder, wishes) for tree in trees]


def varied(values: Tree, choices: Mapping[str, str]) -> Tree:
    """A job's values with a matrix of what a person typed for each setting.

    Args:
        values: The job.
        choices: Dotted setting -> its values, split by commas, or one a line.

    Raises:
        ConfigError: A setting has no value.
    """
    if not choices:
        return values
    matrix = {}
    for path, text in choices.items():
        words = [w.strip() for w in (text.splitlines() if "\n" in text else text.split(","))]
        said = [toml.overrides_of(JobConfig, [f"{path}={word}"]) for word in words if word]
        matrix[path] = [flat(tree)[path] for tree in said]
    return {**values, TABLE: {**dict(values.get(TABLE, {})), **matrix}}


def _asked(values: Tree, folder: Path, wishes: Wishes) -> Asked:
    if _is_sweep(values):
        return _sweep(values, folder, wishes)
    overrides = list(wishes.overrides)
    if wishes.runs is not None:
        overrides.append(as_override("runs", wishes.runs))
    if wishes.analyse:
        overrides.append("analysis.after_training=true")
    if isinstance(values.get("search"), dict):  # `sweetspot search` alone reads it
        values = {name: value for name, value in values.items() if name != "search"}
    named = values.pop("preset", "")
    if not isinstance(named, str):
        raise ConfigError(f"preset = {named!r} is no name", where="preset")
    toml.anchor(JobConfig, values, folder)
    below = [layer_of(named, folder)] if named else []
    job = settle([*below, Layer("the file", values), override_layer(overrides)]).job
    job.require_apart()
    runs, cache = job.runs.absolute(), job.cache_folder.absolute()
    job = job.model_copy(update={"runs": runs, "cache": cache})
    return Asked(job.name, "train", job.compute.device, str(runs), job.model_dump_json())


def _sweep(values: Tree, folder: Path, wishes: Wishes) -> Asked:
    toml.anchor(SweepConfig, values, folder)
    loras = values.get("loras")
    if isinstance(loras, list):
        values = values | {"loras": [str(folder / str(path)) for path in loras]}
    sweep = toml.override(SweepConfig, values, wishes.overrides)
    runs = (wishes.runs or Path("runs")).absolute()
    sweep = sweep.model_copy(update={"cache": sweep.cache.absolute()})
    return Asked(sweep.name, "analyse", sweep.device, str(runs), sweep.model_dump_json())


def _is_sweep(values: Tree) -> bool:
    return "run" in values or "loras" in values


def _default_name(values: Tree) -> str:
    kind = SweepConfig if _is_sweep(values) else JobConfig
    return str(kind.model_fields["name"].default)


def _files(sources: Iterable[Path]) -> list[Path]:
    files: list[Path] = []
    for source in sources:
        found = sorted(source.glob("*.toml")) if source.is_dir() else [source]
        if not found:
            raise ConfigError("there is no job file (*.toml) in this folder", where=str(source))
        files += found
    return files


def _of_file(error: ConfigError, file: Path) -> ConfigError:
    inside = "" if error.where == str(file) else f": {error.where}"
    return ConfigError(error.problem, where=f"{file}{inside}", hint=error.hint)
