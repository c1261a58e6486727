"""The worker of a search: it takes trial after trial, beside others that do the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import psutil

from app import library
from app.alive import host, lives
from app.search.folder import Search
from app.search.trial import Stop, StoppedError, Told, run_trial
from trainer.core.trees import Tree, nested
from trainer.job.layers import Layer, Layered, preset_layer, settle

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
        space, job = search.space, search.job
        firsts = [job.job]
        for name in search.config.presets:
            layers = [preset_layer(library.find(name)), Layer("the job", _personal(job))]
            firsts.append(settle(layers).job)
        for one in firsts:
            values = space.of(one)
            if values is not None:
                study.enqueue_trial(values, skip_if_exists=True)


def _personal(job: Layered) -> Tree:
    """What a preset leaves open."""
    wanted = ("model.base", "dataset.folder", "dataset.trigger", "dataset.class_word")
    found = {o.path: o.value for o in job.origins if o.path in wanted and o.value is not None}
    return nested(found)


def _take(search: Search) -> Trial | None:
    """A trial that a dead worker of this machine left, else a new one; None when all are taken."""
    from optuna.samplers import TPESampler
    from optuna.trial import Trial, TrialState

    config = search.config
    with search.lock():
        study = search.study()
        for frozen in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if _left(frozen.user_attrs.get("worker", {})):
                trial = Trial(study, frozen._trial_id)
                trial.set_user_attr("worker", _me())
                return trial
        states = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        trials = study.get_trials(deepcopy=False, states=states)
        taken = sum("again" not in frozen.user_attrs for frozen in trials)
        if taken >= config.trials:
            return None
        # a seed of its own for each, else every worker would draw the same at random
        study.sampler = TPESampler(seed=config.seed + taken, n_startup_trials=config.startup)
        trial = study.ask()
        trial.set_user_attr("worker", _me())
        values = search.space.suggest(trial)
        trial.set_user_attr("values", values)
        return trial


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
            some.setdefault(json.dumps(frozen.user_attrs["values"], sort_keys=True), frozen)
    stood = search.space.of(search.job.job)
    for frozen in done:
        if some and frozen.user_attrs["values"] == stood:
            some.setdefault(json.dumps(stood, sort_keys=True), frozen)
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
