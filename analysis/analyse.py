"""A sweep, from what is asked to its report.

controls -> grid, or race -> scores -> the model's own judgement -> ranking -> finer strengths
around the choice -> ranking -> report. Every stage speaks in events; whoever watches reads the
folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from analysis import report, words
from analysis.budget import budget_of, require_enough, require_room
from analysis.crew import Crew, Stop, StoppedError
from analysis.findings import Findings, facts_of, write_findings
from analysis.hands import hire
from analysis.judgements.base import Shelf, judgements
from analysis.losses import Judge
from analysis.marks import Marks, lacking
from analysis.measures import asked_for
from analysis.preview import preview
from analysis.race import Racer, shots_of
from analysis.ranking import Ranking, finer, rank
from analysis.reference import ModelEye
from analysis.studio import Studio, open_studio
from analysis.summary import summary
from analysis.sweep import Sweep
from analysis.table import Column, Setting, Table
from analysis.vetoes import Facts, Rules
from trainer.core.errors import COMPLETED, UNDECIDED
from trainer.core.events import Decided, Emit, Planned, Preparing, Warned
from trainer.weights.metadata import versions


def analyse(sweep: Sweep, emit: Emit, stop: Stop) -> int:
    """Do what the sweep asks, rendering only what is missing; the exit code.

    Raises:
        StoppedError: Somebody asked to stop; what is rendered is kept.
        UserError: Whatever a person can mend.
    """
    config = sweep.config
    asked_for(config.analysis.metrics, config.analysis.weight_of)
    with hire(sweep, emit) as crew:
        return _analyse(sweep, open_studio(sweep, config, emit), crew, emit, stop)


def _analyse(sweep: Sweep, studio: Studio, crew: Crew, emit: Emit, stop: Stop) -> int:
    asked = sweep.config.analysis
    emit(Planned({k: str(v) for k, v in preview(studio.config, studio.checkpoints).items()}))
    require_enough(studio)
    require_room(sweep, studio)
    studio.gallery.take_in()
    began = time.perf_counter()
    new = [cell for cell in studio.controls if not studio.gallery.has(cell)]
    races = bool(asked.minutes or asked.renders)
    together = crew.portion(len(studio.controls), studio.together) if races else studio.together
    studio.renderer.fill(studio.controls, together, crew, emit, stop)
    took = time.perf_counter() - began
    work = _Work.begin(sweep, studio, crew, emit, stop)
    settings = list(studio.settings)
    budget = budget_of(sweep, studio, (len(new), took), emit)
    if budget:
        work.race(settings, budget)
    else:
        work.grid(settings)
    found = work.ranked(settings)
    between = finer(found, settings) if asked.fine and not budget else []
    if between:
        work.grid(between)
        settings = sorted([*settings, *between])
        found = work.ranked(settings)
    return work.report(settings, found)


@dataclass(slots=True)
class _Work:
    """A sweep in progress."""

    sweep: Sweep
    studio: Studio
    crew: Crew
    marks: Marks
    judge: Judge
    shelf: Shelf
    facts: list[Facts]
    rules: Rules
    emit: Emit
    stop: Stop
    judged: dict[Setting, dict[str, Any]]
    bases: dict[str, Any]
    dropped: frozenset[Setting] = frozenset()

    @classmethod
    def begin(cls, sweep: Sweep, studio: Studio, crew: Crew, emit: Emit, stop: Stop) -> _Work:
        """Gather what the pictures are compared with, and see what can be measured."""
        asked = studio.config.analysis
        there = studio.shelf(emit)
        kinds = [prompt.kind for prompt in studio.prompts]
        wanted = asked_for(asked.metrics, asked.weight_of)
        missing = lacking(wanted, there, kinds, len(studio.seeds))
        for name, why in missing.items():
            emit(Warned(f"{name} is not measured: {why}"))
        configs = {name: metric for name, metric in wanted.items() if name not in missing}
        marks = Marks(studio, configs, there, None)
        usual = [marks.picture(c) for c in studio.controls if studio.gallery.has(c)]
        marks.eye = ModelEye(studio.model, usual, studio.together)
        judge = studio.judge()
        facts = [Facts(n, c.axis, c.better, c.counts) for n, c in configs.items()]
        rules = Rules(asked.rule, weights=asked.weight_of)
        work = cls(sweep, studio, crew, marks, judge, there, facts, rules, emit, stop, {}, {})
        work.score(studio.controls)
        work.rules = replace(rules, allowances=work.allowances())
        return work

    def allowances(self) -> dict[str, float]:
        """The level of the person's own pictures: a style may be rougher than the base model."""
        from analysis.metrics.base import Company

        some = [shown.pixels for shown in (self.shelf.held_out or self.shelf.training)]
        found: dict[str, float] = {}
        for name, config in self.marks.configs.items():
            if some and config.axis == "quality" and not config.needs:
                values = [v for v in config.score(some, Company()) if isinstance(v, float)]
                if values:
                    found[name] = float(np.mean(values))
        return found

    def grid(self, settings: Sequence[Setting]) -> None:
        """Render, score and judge all of these settings."""
        cells = self.studio.cells(settings)
        self.studio.renderer.fill(cells, self.studio.together, self.crew, self.emit, self.stop)
        self.score(cells)
        self.ask(settings)

    def race(self, settings: Sequence[Setting], budget: int) -> None:
        """Render as far as the budget goes, dropping what cannot win."""
        studio = self.studio
        self.ask(settings)
        racer = Racer(
            budget,
            self.facts,
            self.rules,
            list(range(len(settings))),
            shots_of(len(studio.prompts), len(studio.seeds)),
        )
        while True:
            asked = racer.next(self.table(settings), self.marks.copies_of(settings))
            if asked is None:
                ran = {settings[i] for i in racer.alive}
                self.dropped = frozenset(settings) - ran
                return
            alive, (prompt, seed) = asked
            place = prompt * len(studio.seeds) + seed
            cells = [studio.cells([settings[i]])[place] for i in alive]
            together = self.crew.portion(len(cells), studio.together)
            studio.renderer.fill(cells, together, self.crew, self.emit, self.stop)
            self.score(cells)

    def score(self, cells: Sequence[Any]) -> None:
        """Score what is new."""
        self.marks.take(cells, self._progress("scores"))

    def _progress(self, phase: str) -> Callable[[int, int], None]:
        """Tells how far a phase is, and ends it where somebody asked to stop."""

        def tell(done: int, total: int) -> None:
            self.emit(Preparing(phase, done, total))
            if self.stop():
                raise StoppedError

        return tell

    def ask(self, settings: Sequence[Setting]) -> None:
        """Ask the model itself about settings it was not asked about yet."""
        new = [s for s in settings if s not in self.judged]
        if not self.studio.config.analysis.judge or not new:
            return
        for name in judgements:
            pictures = judgements[name].model_validate({}).pictures(self.shelf)
            if not pictures:
                continue
            column = self.judge.column(name, new, pictures, self.crew, self._progress("judgement"))
            self.bases[name] = column.control
            for setting, values in zip(new, column.values, strict=True):
                self.judged.setdefault(setting, {})[name] = values

    def table(self, settings: Sequence[Setting]) -> Table:
        """All numbers of these settings."""
        judged = {
            name: Column(np.stack([self.judged[s][name] for s in settings]), base)
            for name, base in self.bases.items()
        }
        return replace(self.marks.table(settings), judged=judged, dropped=self.dropped)

    def ranked(self, settings: Sequence[Setting]) -> Ranking:
        """The ranking of these settings."""
        copies = self.marks.copies_of(settings)
        return rank(self.table(settings), self.facts, self.rules, copies)

    def report(self, settings: Sequence[Setting], found: Ranking) -> int:
        """Write the report and tell the verdict; the exit code."""
        self.emit(Preparing("report"))
        table = self.table(settings)
        labels = {c.epoch: c.label for c in self.studio.checkpoints}
        verdict = words.told(table, found, self.rules.rule, self._copies(), labels)
        folder = self.sweep.path
        write_findings(folder, self._findings(table, verdict))
        page = report.write(folder)
        choice = verdict["choice"] or {"epoch": None, "strength": None}
        self.emit(
            Decided(
                found.state,
                verdict["headline"],
                choice["epoch"],
                choice["strength"],
                page.relative_to(folder).as_posix(),
            )
        )
        return COMPLETED if found.state == "chosen" else UNDECIDED

    def _copies(self) -> list[dict[str, Any]]:
        studio = self.studio
        texts = [prompt.text for prompt in studio.prompts]
        return [
            {
                "epoch": cell.epoch,
                "strength": cell.strength,
                "prompt": texts.index(cell.prompt),
                "seed": studio.seeds.index(cell.seed),
                "training": self.shelf.training[training].name,
                "similarity": similarity,
            }
            for cell, (training, similarity) in sorted(
                self.marks.copied.items(), key=lambda item: repr(item[0])
            )
            if not cell.is_control
        ]

    def _findings(self, table: Table, verdict: dict[str, Any]) -> Findings:
        studio, config = self.studio, self.studio.config
        told = [facts_of(name, config) for name, config in self.marks.configs.items()]
        told += [facts_of(name, judgements[name]) for name in self.bases]
        return Findings(
            made=datetime.now(UTC).isoformat(timespec="seconds"),
            title=config.name,
            source={
                "kind": "run" if config.run else "loras",
                "name": config.run.name if config.run else config.name,
            },
            recipe=studio.facts(),
            versions=versions(),
            checkpoints=[
                {
                    "epoch": c.epoch,
                    "label": c.label,
                    "file": c.path.name,
                    "step": c.step,
                    "digest": c.digest,
                }
                for c in studio.checkpoints
            ],
            metrics=told,
            table=table,
            spots=self.marks.spots(table.settings),
            verdict=verdict,
            summary=summary(table),
            references={
                "training": [shown.name for shown in self.shelf.training],
                "held_out": [shown.name for shown in self.shelf.held_out],
            },
        )
