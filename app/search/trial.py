"""One trial: a training run and its analysis, and the score that comes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.drive import Cut, Hooks, drive
from app.search.folder import Search
from app.search.space import trial_layers
from trainer.core.errors import COMPLETED, STOPPED, UNDECIDED, RunError, UserError
from trainer.core.events import Event, Started, Validated
from trainer.core.work import WorkFolder
from trainer.job.run import Run

if TYPE_CHECKING:
    from optuna import Trial

Told = Callable[[str], None]
"""Told in sentences how the search goes on."""

_TENTHS = 10
_AT_ONCE = 3
"""Requests to stop after which the process is ended without saving."""


class StoppedError(Exception):
    """Somebody asked the search to stop; its trial goes on when it is resumed."""


@dataclass(slots=True)
class Stop:
    """A request to stop: the run or analysis that is going is asked to save and end.

    Attributes:
        asked: How often somebody asked; the third time ends the process that is going.
    """

    asked: int = 0

    def ask(self) -> None:
        """Ask once more."""
        self.asked += 1


def run_trial(search: Search, trial: Trial, tell: Told, stop: Stop) -> None:
    """Train and analyse, and tell the study what came out; a trial that fails is told of.

    Raises:
        StoppedError: Somebody asked the search to stop; the trial can be gone on with.
    """
    from optuna.trial import TrialState

    study, number = search.study(), trial.number
    values = trial.user_attrs["values"]
    said = ", ".join(f"{path} = {_short(value)}" for path, value in values.items())
    again = trial.user_attrs.get("again")
    tell(f"trial {number}: {said}" if again is None else f"trial {number}: trial {again} again")
    try:
        run = _run_of(search, trial, values)
        if _train(run, trial, stop):
            study.tell(trial, state=TrialState.PRUNED)
            tell(f"trial {number}: given up, its validation loss is worse than half of the others'")
            return
        told = _analyse(run, stop)
        score, kept = score_of(told)
    except UserError as error:
        trial.set_user_attr("problem", str(error))
        study.tell(trial, state=TrialState.FAIL)
        tell(f"trial {number}: failed: {error}")
        return
    trial.set_user_attr("kept", kept)
    trial.set_user_attr("verdict", told["verdict"]["headline"])
    study.tell(trial, score)
    tell(f"trial {number}: {score:.2f}% ({told['verdict']['headline']})")


def _run_of(search: Search, trial: Trial, values: dict[str, Any]) -> Run:
    """The trial's run: the one it began, else a new one."""
    job, number = search.job, trial.number
    called = f"{job.job.name[:50]}-t{number:03}"
    shift = trial.user_attrs.get("shift", 0)
    layers = trial_layers(job, search.space, values, called, shift)
    run = Run.create(layers.job, f"trial-{number}")
    trial.set_user_attr("run", run.name)
    return run


def _train(run: Run, trial: Trial, stop: Stop) -> bool:
    """Train, or go on; whether the trial was given up on the way.

    Raises:
        RunError: The run failed.
    """
    if run.status() == "completed":
        return False
    pruned, steps, reported = False, 1, 0

    def told(event: Event) -> None:
        nonlocal pruned, steps, reported
        if isinstance(event, Started):
            steps = event.steps
        if isinstance(event, Validated) and _TENTHS * event.step // steps > reported:
            reported = _TENTHS * event.step // steps
            trial.report(-event.loss, reported)
            if reported < _TENTHS and "again" not in trial.user_attrs and trial.should_prune():
                pruned = True
                run.ask_to_stop()

    _finish(run, stop, told, processes=run.job.compute.processes)
    return pruned


def _analyse(run: Run, stop: Stop) -> dict[str, Any]:
    """The run's report.

    Raises:
        RunError: The analysis failed.
    """
    from analysis.keep import read_report
    from analysis.sweep import Sweep, sweep_of_run
    from app.sweeps import find_sweep

    try:
        sweep = Sweep.open(find_sweep(run.path))
    except RunError:
        sweep = sweep_of_run(run, [])
    if sweep.status() != "completed":
        _finish(sweep, stop)
    return read_report(sweep.path)


def _finish(
    folder: WorkFolder,
    stop: Stop,
    told: Callable[[Event], None] = lambda event: None,
    processes: int = 1,
) -> None:
    """Bring a folder's work to its end, or wait for the process of a dead worker that does.

    Raises:
        RunError: It failed.
        StoppedError: It was asked to stop, and did.
    """
    asked = False

    def between() -> None:
        nonlocal asked
        if stop.asked and not asked:
            asked = True
            folder.ask_to_stop()
        if stop.asked >= _AT_ONCE:
            raise StoppedError

    word = drive(folder, None, Hooks(between=between, told=told), processes=processes)
    if stop.asked and (isinstance(word, Cut) or word.exit_code == STOPPED):
        raise StoppedError
    if word.exit_code not in (COMPLETED, STOPPED, UNDECIDED):
        how = f"its process ended {word.how}" if isinstance(word, Cut) else word.problem
        raise RunError(f"the {folder.noun} failed: {how}", where=str(folder.path))


def score_of(told: dict[str, Any]) -> tuple[float, str]:
    """A report's score in percent, and what the verdict keeps, in words.

    The score is how far the loss on held-out pictures falls from the base model's, at the kept
    epoch and strength; 0 where nothing is kept.

    Raises:
        RunError: The loss was not judged.
    """
    choice = told["verdict"]["choice"]
    if choice is None:
        return 0.0, "nothing"
    base = told.get("judged_base", {}).get("fit", {}).get("mean")
    spot = (choice["epoch"], choice["strength"])
    found = [
        row["metrics"]["fit"]["mean"]
        for row in told["judged"]
        if (row["epoch"], row["strength"]) == spot and "fit" in row["metrics"]
    ]
    if not base or not found or found[0] is None:
        raise RunError("the report has no loss on held-out pictures")
    return 100 * (base - found[0]) / base, f"epoch {spot[0]} at strength {spot[1]:g}"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
