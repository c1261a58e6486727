"""Choosing from Python: a run is analysed in the process that asks for it.

`from analysis import analyse_run`; docs/python-api.md tells the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.keep import read_report
from analysis.sweep import Sweep, sweep_of_run
from trainer.core.errors import STOPPED
from trainer.core.events import Decided, Emit, Ended, Sampled, write_to
from trainer.core.here import Listeners, Watch, work_here
from trainer.job.run import Run

_WHEN_FULL = "fewer pictures at once (analysis.together), or smaller ones"


@dataclass(frozen=True, slots=True)
class Choice:
    """What to keep.

    Attributes:
        file: The epoch's LoRA file.
    """

    epoch: int
    strength: float
    file: Path


@dataclass(frozen=True, slots=True)
class Analysis:
    """What an analysis came to.

    Attributes:
        state: "chosen", "cannot tell apart", "nothing learned", ...; "stopped" before any verdict.
        headline: The verdict in one sentence.
        choice: None when there is none.
        folder: The analysis's own, with pictures, numbers and the page.
    """

    state: str
    headline: str
    choice: Choice | None
    folder: Path

    @property
    def report(self) -> Path:
        """The page."""
        return self.folder / "report.html"


def analyse_run(run: Run, overrides: Sequence[str] = (), *, watch: Watch | None = None) -> Analysis:
    """Render, score and rank the run's epochs here, as its job's `[analysis]` says.

    Ctrl-C (a notebook's interrupt) ends it with what is rendered kept; its state is then "stopped",
    and `resume_analysis(analysis.folder)` goes on.

    Args:
        run: With at least one LoRA file.
        overrides: Changes for this analysis, like "analysis.seeds=4".
        watch: Told of every event as it happens.

    Raises:
        UserError: Whatever a person can mend.
    """
    return _analyse(sweep_of_run(run, overrides), watch)


def resume_analysis(folder: Path, *, watch: Watch | None = None) -> Analysis:
    """Go on with an analysis that was stopped, rendering only what is missing.

    Raises:
        UserError: Whatever a person can mend.
    """
    return _analyse(Sweep.open(folder), watch)


def sample_grid(run: Run) -> Path:
    """The run's samples as one picture in its folder: a row an epoch, a column a prompt."""
    from analysis.sheet import Row, sheet
    from trainer.core.files import write_atomically
    from trainer.data.prior import as_png

    found: dict[int, dict[str, Path]] = {}
    for told in run.events():
        if isinstance(told.event, Sampled):
            event = told.event
            found.setdefault(event.epoch, {})[event.prompt] = run.path / event.path
    prompts = list(dict.fromkeys(prompt for row in found.values() for prompt in row))
    rows = [
        Row(f"epoch {epoch}" if epoch else "base model", [row.get(p, Path()) for p in prompts])
        for epoch, row in sorted(found.items())
    ]
    path = run.samples / "grid.png"
    write_atomically(path, as_png(sheet(rows, prompts)))
    return path


def _analyse(sweep: Sweep, watch: Watch | None) -> Analysis:
    def do(emit: Emit, stop: Callable[[], bool]) -> Ended:
        from analysis.analyse import analyse
        from analysis.crew import StoppedError

        try:
            code = analyse(sweep, emit, stop)
        except StoppedError:
            return Ended("stopped", exit_code=STOPPED)
        return Ended("completed", exit_code=code)

    began = sum(1 for _ in sweep.events())
    tell = Listeners(write_to(sweep.events_path), watch)
    work_here(sweep, do, tell, hint_when_full=_WHEN_FULL)
    told_now = (told.event for told in list(sweep.events())[began:])
    verdict = [event for event in told_now if isinstance(event, Decided)]
    if not verdict:
        return Analysis("stopped", "The analysis was stopped before a verdict.", None, sweep.path)
    (told,) = verdict
    return Analysis(told.state, told.headline, _choice(sweep, told), sweep.path)


def _choice(sweep: Sweep, told: Decided) -> Choice | None:
    run = sweep.config.run
    if told.epoch is None or told.strength is None or run is None:
        return None
    names = {c["epoch"]: c["file"] for c in read_report(sweep.path)["checkpoints"]}
    return Choice(told.epoch, told.strength, run / "lora" / names[told.epoch])
