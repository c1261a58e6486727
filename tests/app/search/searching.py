"""What tests of the search share: spaces, studies with scores, workers that are processes."""

from __future__ import annotations

import os
import subprocess
import sys

from app import library
from app.search.folder import Search
from app.search.space import SearchConfig
from trainer.job.preset import from_values

RATES = {"optimizer.learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}}


def made(job, space, **more):
    return Search.create(job, SearchConfig(space=space, **{"again": 0, **more}))


def keep_preset(name, job):
    library.save(from_values({"preset": 1, "about": {"name": name}, "job": job}, "x"))


WORK = (
    "import sys; from pathlib import Path; "
    "from app.search.study import Search, Stop, work; "
    "work(Search.open(Path(sys.argv[1])), print, Stop())"
)


def start_worker(search, *before):
    """A worker in a process of its own, which keeps to one core, as does each of its trials."""
    command = [*before, sys.executable, "-c", WORK, str(search.path)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)


def told_study(search, scores, values=None):
    """A study whose trials have these scores; the worker then takes what is to be done again."""
    import optuna

    study = search.study()
    for number, score in enumerate(scores):
        params = {"adapter.rank": (2, 4, 8)[number % 3]}
        study.add_trial(
            optuna.create_trial(
                params=params,
                distributions={
                    "adapter.rank": optuna.distributions.CategoricalDistribution((2, 4, 8))
                },
                value=score,
                user_attrs={"values": params, "kept": "epoch 1", "verdict": "Keep epoch 1."},
            )
        )
    return study


RANKS = {"adapter.rank": [2, 4, 8]}
