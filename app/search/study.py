"""The worker of a search: it takes trial after trial, beside others that do the same."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

import psutil

from app.alive import host, lives
from app.search.axis import Value
from app.search.first import firsts
from app.search.folder import COPY, Search
from app.search.space import Space, key_of
from app.search.trial import Stop, StoppedError, Told, run_trial

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial


def work(search: Search, tell: Told, stop: Stop) -> None:
    """Do trials until the search has as many as it asks for, or somebody stops it.

    Several workers may do this at once, on several machines that see the folder.

    Raises:
        RunError: The study is gone.
    """
    _first_trials(search)
    _tell_of_few(search, tell)
    while (trial := _take(search) or _take_again(search)) is not None:
        try:
            run_trial(search, trial, tell, stop)
        except StoppedError:
            trial.set_user_attr("worker", {})  # whoever comes next may go on with it
            tell("stopped; `sweetspot search --resume` goes on with the trial")
            return


def _first_trials(search: Search) -> None:
    """Put what is to be tried first into a new study: the job as it stands, then the presets."""
    with search.lock():
        study = search.study()
        if study.trials:
            return
        for values in firsts(search.config.presets, search.space, search.job):
            study.enqueue_trial(values, skip_if_exists=True)


def _tell_of_few(search: Search, tell: Told) -> None:
    settings, trials = search.space.count(), search.config.trials
    if settings is not None and settings < trials:
        tell(f"the space holds {settings} settings: the search ends when the whole space is tried")


def _take(search: Search) -> Trial | None:
    """A trial that a dead worker of this machine left, else a new one; None when all are taken."""
    from optuna.samplers import TPESampler
    from optuna.trial import Trial, TrialState

    config, space = search.config, search.space
    with search.lock():
        study = search.study()
        for frozen in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if _left(frozen.user_attrs.get("worker", {})):
                trial = Trial(study, frozen._trial_id)
                if "values" in frozen.user_attrs or _begins(study, trial, space):
                    trial.set_user_attr("worker", _me())
                    return trial
        while not _all_taken(study, config.trials, space):
            # a seed of its own for each, else every worker would draw the same at random
            seed = config.seed + len(_counted(study))
            study.sampler = TPESampler(seed=seed, n_startup_trials=config.startup)
            trial = study.ask()
            if _begins(study, trial, space):
                return trial
            study.enqueue_trial(_untried(study, space, Random(seed)))
        return None


def _all_taken(study: Study, trials: int, space: Space) -> bool:
    settings = space.count()
    is_whole = settings is not None and len(_tried(study)) >= settings
    return is_whole or len(_counted(study)) >= trials


def _begins(study: Study, trial: Trial, space: Space) -> bool:
    """Give a trial its settings; False where they were tried, and the trial does not count.

    The sampler draws the same again in a small space. Trained with the same seed, the setting
    would score the same.
    """
    from optuna.trial import TrialState

    trial.set_user_attr("worker", _me())
    values = space.suggest(trial)
    if key_of(values) not in _tried(study):
        trial.set_user_attr("values", values)
        return True
    trial.set_user_attr(COPY, True)
    study.tell(trial, state=TrialState.FAIL)
    return False


def _untried(study: Study, space: Space, chance: Random) -> dict[str, Value]:
    tried = _tried(study)
    draws = (space.draw(chance) for _ in count())
    return next(values for values in draws if key_of(values) not in tried)


def _tried(study: Study) -> set[str]:
    """The settings of all trials that have some, as their keys."""
    told = (frozen.user_attrs.get("values") for frozen in _counted(study))
    return {key_of(values) for values in told if values}


def _counted(study: Study) -> list[FrozenTrial]:
    """The trials that were begun, without repetitions and copies."""
    trials = study.get_trials(deepcopy=False)
    begun = (frozen for frozen in trials if frozen.state.name != "WAITING")
    return [frozen for frozen in begun if not {"again", COPY} & set(frozen.user_attrs)]


def _take_again(search: Search) -> Trial | None:
    """One of the best settings, to be trained with another seed; None when all were.

    A single run's score owes much to chance, and the best of many owes it the most. Whoever ends
    the last trial goes on with these; other workers may help.
    """
    from optuna.trial import Trial, TrialState

    with search.lock():
        study = search.study()
        trials = study.get_trials(deepcopy=False)
        if any(t.state == TrialState.RUNNING and "again" not in t.user_attrs for t in trials):
            return None
        if not any("again" in frozen.user_attrs for frozen in trials):
            _enqueue(search, study, trials)
            trials = study.get_trials(deepcopy=False)
        waiting = [t for t in trials if t.state == TrialState.WAITING and "again" in t.user_attrs]
        if not waiting:
            return None
        chosen = waiting[0]._trial_id
        study._storage.set_trial_state_values(chosen, state=TrialState.RUNNING)
        trial = Trial(study, chosen)  # what `ask` does, which would take the first that waits
        search.space.suggest(trial)
        trial.set_user_attr("worker", _me())
        return trial


def _enqueue(search: Search, study: Study, trials: Sequence[FrozenTrial]) -> None:
    from optuna.trial import TrialState

    config = search.config
    done = [t for t in trials if t.state == TrialState.COMPLETE]
    best = sorted(done, key=lambda t: (-(t.value or 0.0), t.number))
    some: dict[str, FrozenTrial] = {}
    for frozen in best:
        if len(some) < config.finalists:
            some.setdefault(key_of(frozen.user_attrs["values"]), frozen)
    stood = search.space.of(search.job.job)
    for frozen in done:
        if some and frozen.user_attrs["values"] == stood:
            some.setdefault(key_of(frozen.user_attrs["values"]), frozen)
    for shift in range(1, config.again + 1):
        for frozen in some.values():
            told = {"again": frozen.number, "shift": shift, "values": frozen.user_attrs["values"]}
            study.enqueue_trial(frozen.params, user_attrs=told)


def _me() -> dict[str, Any]:
    process = psutil.Process()
    return {"host": host(), "pid": process.pid, "born": process.create_time()}


def _left(worker: dict[str, Any]) -> bool:
    """Whether a trial's worker let go of it, or was one of this machine and is gone."""
    if not worker:
        return True
    return worker["host"] == host() and not lives(worker["pid"], worker["born"])
