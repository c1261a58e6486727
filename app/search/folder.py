"""A search's folder, and the worker that does trial after trial.

    runs/search-2026-11-27-fox/
        search.toml       the job that does not vary, and what does
        study.log         Optuna's journal, which several workers and machines share
        lock              held while a worker takes a trial
        runs/             a run folder a trial, each analysed
        report.html       what came out, and which setting mattered

A trial is a training run and its analysis. Its score is by how much, in percent, the loss on
held-out pictures falls from the base model's at the epoch and strength that the verdict keeps; 0
when it keeps none. A worker that dies leaves its trial to whoever comes next on its machine, which
goes on with the run where it ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import tomlkit

from app.search.first import firsts
from app.search.space import SearchConfig, Space, space_of
from trainer.core import toml
from trainer.core.errors import ConfigError, RunError
from trainer.core.files import write_atomically
from trainer.core.trees import Tree
from trainer.core.work import make_folder
from trainer.job.config import JobConfig
from trainer.job.layers import Layer, Layered, settle

if TYPE_CHECKING:
    from optuna import Study

BELOW: Tree = {
    "validation": {"share": 0.2},
    "save": {"files": 4},
    "samples": {"every": 0},
    "analysis": {"fine": False},
}
"""What a search does unless the job says otherwise: it holds pictures back, and saves time."""
COPY = "copy"
"""Marks a trial that was drawn with the settings of an earlier one, and was not trained."""
_WARM_UP = 3
"""Tenths of a run before which no trial is stopped for its validation loss."""


@dataclass(frozen=True, slots=True)
class Search:
    """A search's folder."""

    path: Path

    @classmethod
    def create(cls, job: Layered, config: SearchConfig) -> Search:
        """Make a new folder. The job's seed is settled, so that all trials hold back the same.

        Raises:
            ConfigError: What varies cannot, a preset cannot be tried, or the job lets nothing be
                judged.
            ResourceError: The folder cannot be written.
        """
        require_judged(job.job)
        firsts(config.presets, space_of(config.space, job), job)
        stem = f"search-{date.today().isoformat()}-{job.job.name}"
        path = make_folder(job.job.runs.absolute(), stem, ("runs",))
        settled = job.job
        if settled.schedule.seed is None:
            schedule = settled.schedule.model_copy(update={"seed": 0})
            settled = settled.model_copy(update={"schedule": schedule})
        settled = settled.model_copy(update={"runs": path / "runs"})
        document = tomlkit.document()
        document.add(tomlkit.comment("A search. `sweetspot search --resume FOLDER` goes on."))
        document.add("search", tomlkit.item(config.model_dump(mode="json")))
        document.add("job", tomlkit.item(_without_none(settled.model_dump(mode="json"))))
        write_atomically(path / "search.toml", tomlkit.dumps(document))
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> Search:
        """A search that is there.

        Raises:
            RunError: The folder is no search.
        """
        if not (path / "search.toml").is_file():
            raise RunError(
                "this is no search: it has no search.toml",
                where=str(path),
                hint="a folder that `sweetspot search` made",
            )
        return cls(path.absolute())

    @property
    def config(self) -> SearchConfig:
        """What is asked for."""
        return toml.parse(SearchConfig, self._values()["search"])

    @property
    def job(self) -> Layered:
        """What does not vary."""
        return settle([Layer("the job", self._values()["job"])])

    @property
    def space(self) -> Space:
        """What varies."""
        return space_of(self.config.space, self.job)

    def _values(self) -> Tree:
        text = (self.path / "search.toml").read_text(encoding="utf-8")
        return toml.parse_text(text, str(self.path / "search.toml"))

    def study(self) -> Study:
        """Optuna's study, made if it is new.

        Raises:
            RunError: Its journal is gone, though trials were done, or is damaged.
        """
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        journal = self.path / "study.log"
        if not journal.exists() and any((self.path / "runs").glob("*/job.toml")):
            raise RunError(
                "the search's study.log is gone; its runs are all there",
                where=str(journal),
                hint="put it back, or start a new search",
            )
        config = self.config
        pruner = optuna.pruners.MedianPruner(
            n_startup_trials=config.startup, n_warmup_steps=_WARM_UP
        )
        try:
            return optuna.create_study(
                storage=JournalStorage(
                    # its other lock is a link, which Windows lets few people make
                    JournalFileBackend(str(journal), JournalFileOpenLock(str(journal)))
                ),
                study_name="search",
                direction="maximize",
                pruner=pruner if config.prune else optuna.pruners.NopPruner(),
                load_if_exists=True,
            )
        except (ValueError, KeyError, OSError) as error:
            raise RunError(
                f"the search's study.log is damaged: {error}",
                where=str(journal),
                hint="put a copy of it back; the runs are all there",
            ) from error

    def lock(self) -> filelock.FileLock:
        """Held while a worker takes a trial, so that no two take one and none is one too many."""
        return filelock.FileLock(self.path / "lock")


def require_judged(job: JobConfig) -> None:
    """A search needs pictures that are held back, and the model's own judgement of them.

    Raises:
        ConfigError: The job has none.
    """
    if not job.analysis.judge:
        raise ConfigError(
            "a search compares runs by their loss on held-out pictures",
            where="analysis.judge",
            hint="true",
        )
    if not job.validation.share and job.validation.folder is None:
        raise ConfigError(
            "a search compares runs by their loss on held-out pictures, and none are held back",
            where="validation.share",
            hint="0.2, or a validation.folder",
        )


def _without_none(values: Tree) -> Tree:
    return {
        name: _without_none(value) if isinstance(value, dict) else value
        for name, value in values.items()
        if value is not None
    }
