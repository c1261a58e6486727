"""`sweetspot search`: spaces, trials, several workers, and what goes wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from rich.console import Console

from app import cli, library
from app.search.axis import Range
from app.search.folder import BELOW, Search
from app.search.report import found, headline, mattered, winner, write
from app.search.space import SearchConfig, space_of, trial_layers, words_of
from app.search.study import _first_trials, _take, _take_again, _tell_of_few, work
from app.search.trial import Stop, score_of
from app.search.trial import _run_of as run_of
from app.searching import _keep
from app.searching import search as command
from trainer.core import toml
from trainer.core.errors import ConfigError, RunError
from trainer.core.trees import merge
from trainer.job.layers import Layer, settle
from trainer.job.preset import from_values


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SWEETSPOT_HOME", str(tmp_path / "home"))


@pytest.fixture
def make_job(tiny_sd, pictures, tmp_path):
    """Six steps on a tiny model, judged on held-out pictures, with one cell an epoch."""

    def make(**changes):
        values = {
            "name": "fox",
            "runs": str(tmp_path / "runs"),
            "model": {"base": str(tiny_sd), "resolution": 64},
            "dataset": {"folder": str(pictures(6)), "bucket_step": 16},
            "adapter": {"rank": 2, "alpha": 2.0},
            "schedule": {"epochs": 3, "batch_size": 2, "seed": 3},
            "compute": {"precision": "fp32", "device": "cpu"},
            "validation": {"share": 0.34},
            "analysis": {
                "prompts": ["a fox"],
                "strengths": [1.0],
                "seeds": 1,
                "steps": 1,
                "draws": 1,
                "metrics": ["ssim", "fidelity"],
            },
        }
        return settle([Layer("below", BELOW), Layer("job", merge(values, changes))])

    return make


RATES = {"optimizer.learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}}


def made(job, space, **more):
    return Search.create(job, SearchConfig(space=space, **{"again": 0, **more}))


def keep_preset(name, job):
    library.save(from_values({"preset": 1, "about": {"name": name}, "job": job}, "x"))


def test_a_search_ends_with_a_score_a_trial(make_job):
    space = {**RATES, "adapter.rank": [2, 4], "adapter.alpha": "= adapter.rank"}
    search = made(make_job(), space, trials=2, startup=1, prune=False)
    said = []
    work(search, said.append, Stop())
    told = found(search)
    assert [row.state for row in told.rows] == ["complete"] * 2, said
    assert told.first is None  # a learning rate of 1e-4 is outside the range
    for row in told.rows:
        text = (search.path / row.run / "job.toml").read_text(encoding="utf-8")
        rank = row.values["adapter.rank"]
        assert f"alpha = {float(rank)}" in text
    page = write(search).read_text(encoding="utf-8")
    assert "optimizer.learning_rate" in page
    assert page.count("<circle") == 4


@pytest.mark.slow
def test_the_job_as_it_stands_and_presets_are_tried_first(make_job, tmp_path):
    keep_preset("hot", {"optimizer": {"learning_rate": 0.05}})
    job = make_job(optimizer={"learning_rate": 2e-3})
    search = made(job, RATES, trials=2, presets=("hot",))
    work(search, lambda told: None, Stop())
    rates = [row.values["optimizer.learning_rate"] for row in found(search).rows]
    assert rates == [2e-3, 0.05]
    assert "The job as it stood" in headline(found(search)) or found(search).best.number == 0


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


@pytest.mark.slow
@pytest.mark.parametrize("apart", [False, True], ids=["processes", "namespaces"])
def test_two_workers_share_a_search_and_run_no_trial_twice(make_job, request, apart):
    namespaces = request.getfixturevalue("namespaces") if apart else []
    places = [("ip", "netns", "exec", name) for name in namespaces] or [(), ()]
    search = made(make_job(), RATES, trials=4, startup=4, prune=False)
    workers = [start_worker(search, *place) for place in places]
    told = [worker.communicate(timeout=580)[0] for worker in workers]
    rows = found(search).rows
    assert [row.number for row in rows] == [0, 1, 2, 3]
    assert {row.state for row in rows} == {"complete"}, told
    assert len(list((search.path / "runs").glob("*/job.toml"))) == 4
    assert all("trial" in one for one in told), "each worker did some"


@pytest.mark.slow
def test_a_killed_worker_s_trial_is_gone_on_with(make_job):
    search = made(make_job(), RATES, trials=2, prune=False)
    worker = start_worker(search)
    deadline = time.monotonic() + 120
    while not list((search.path / "runs").glob("*/events.jsonl")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    worker.kill()  # its run goes on, and is waited for
    worker.communicate()
    work(search, lambda told: None, Stop())
    assert [row.state for row in found(search).rows] == ["complete"] * 2
    assert len(list((search.path / "runs").glob("*/job.toml"))) == 2


@pytest.mark.slow
def test_a_trial_that_fails_is_told_and_the_rest_goes_on(make_job):
    shares = [0.99, 0.34]  # the first leaves no picture to train on
    search = made(make_job(), {"validation.share": shares}, trials=2, startup=0, prune=False)
    study = search.study()
    for share in shares:
        study.enqueue_trial({"validation.share": share})
    said = []
    work(search, said.append, Stop())
    assert [row.state for row in found(search).rows] == ["fail", "complete"], said
    assert any("trial 0: failed" in line for line in said)


def test_a_stopped_search_goes_on_with_its_trial(make_job):
    search = made(make_job(), RATES, trials=1)
    stop = Stop()
    said = []

    def tell(line):
        said.append(line)
        stop.ask()

    work(search, tell, stop)
    assert [row.state for row in found(search).rows] == ["running"], said
    work(search, said.append, Stop())
    assert [row.state for row in found(search).rows] == ["complete"], said
    assert len(list((search.path / "runs").glob("*/job.toml"))) == 1


def test_a_study_that_vanishes_is_told_and_no_run_is_lost(make_job):
    search = made(make_job(), RATES, trials=1)
    work(search, lambda told: None, Stop())
    (search.path / "study.log").unlink()
    with pytest.raises(RunError, match=r"study\.log is gone; its runs are all there"):
        work(search, lambda told: None, Stop())
    assert list((search.path / "runs").glob("*/job.toml"))


def test_a_study_that_is_damaged_is_told(make_job):
    search = made(make_job(), RATES, trials=1)
    (search.path / "study.log").write_text("{not json\n{nor this\n", encoding="utf-8")
    with pytest.raises(RunError, match=r"study\.log is damaged"):
        found(search)


@pytest.mark.parametrize(
    ("space", "problem"),
    [
        ({}, "nothing varies"),
        ({"adapter.ranck": [1, 2]}, "no such setting"),
        ({"dataset.folder": ["a", "b"]}, "cannot vary"),
        ({"adapter.rank": [4]}, "two or more"),
        ({"adapter.rank": [4, 4]}, "two or more"),
        ({"adapter.rank": {"low": 8, "high": 4}}, "cannot be drawn"),
        ({"optimizer.learning_rate": {"low": 0, "high": 1, "log": True}}, "cannot be drawn"),
        ({"optimizer.learning_rate": {"low": 1e-4, "high": 5}}, "less than or equal to 1"),
        ({"optimizer.learning_rate": {"low": "a", "high": 5}}, "no range"),
        ({"adapter.rank": "many"}, "says no values"),
        ({"adapter.rank": [2, "x"]}, "valid integer"),
        ({"adapter.targets": {"low": 1, "high": 2}}, "says no values"),
        ({"adapter.alpha": "= adapter.rank"}, "does not vary"),
        ({"adapter.alpha": [4, 4.0]}, "two or more"),
        ({"adapter.rank": {"low": 4, "high": 16, "step": 0.5}}, r"0\.5 is no whole number"),
        ({"adapter.rank": {"low": 4.5, "high": 16}}, r"4\.5 is no whole number"),
        ({"adapter.rank": {"low": 4, "high": 16, "step": -1}}, "a step of -1 is not above 0"),
        ({"adapter.rank": {"low": 4, "high": 16, "step": 0}}, "a step of 0 is not above 0"),
        ({"adapter.rank": {"low": 4, "high": 16, "step": 20}}, "larger than the range"),
        ({"adapter.alpha": {"low": 4, "high": 16, "step": 12.5}}, "larger than the range"),
        ({"adapter.rank": {"low": 4, "high": float("inf")}}, "is no range"),
        ({"adapter.rank": {"low": 4, "high": 16, "log": "no"}}, "log = 'no' is neither true nor"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused_before_anything_runs(make_job, space, problem):
    job = make_job()
    with pytest.raises(ConfigError, match=problem):
        space_of(toml.parse(SearchConfig, {"space": space}).space, job)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"validation": {"share": 0.0}}, "none are held back"),
        ({"analysis": {"judge": False}}, "loss on held-out pictures"),
    ],
)
def test_a_job_in_which_nothing_can_be_judged_is_refused(make_job, changes, said):
    job = make_job(**changes)
    with pytest.raises(ConfigError, match=said):
        made(job, RATES)


def test_draws_are_the_search_s_own_and_differ_from_trial_to_trial(make_job):
    job = make_job()

    def drawn(seed):
        search = made(job, RATES, trials=4, startup=4, seed=seed)
        taken = [_take(search) for _ in range(4)]
        return [trial.user_attrs["values"]["optimizer.learning_rate"] for trial in taken]

    first = drawn(1)
    assert len(set(first)) == 4
    assert drawn(1) == first
    assert drawn(2) != first


def test_options_say_spaces():
    told = words_of(["adapter.rank=4,8", "optimizer.learning_rate=1e-4:1e-2:log", "a.b==c.d"])
    assert told == {
        "adapter.rank": [4, 8],
        "optimizer.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
        "a.b": "=c.d",
    }
    with pytest.raises(ConfigError, match="says no values"):
        words_of(["adapter.rank"])


def test_a_range_of_four_parts_is_refused_and_none_is_dropped(make_job):
    with pytest.raises(ConfigError, match="says no values"):
        space_of(words_of(["adapter.rank=4:16:2:9"]), make_job())


def test_a_verdict_that_keeps_nothing_is_worth_the_base_model():
    assert score_of({"verdict": {"choice": None}}) == (0.0, "nothing")
    told = {
        "verdict": {"choice": {"epoch": 2, "strength": 0.5}},
        "judged_base": {"fit": {"mean": 0.2}},
        "judged": [{"epoch": 2, "strength": 0.5, "metrics": {"fit": {"mean": 0.19}}}],
    }
    score, kept = score_of(told)
    assert score == pytest.approx(5)
    assert kept == "epoch 2 at strength 0.5"


def test_a_search_without_scores_says_so(make_job):
    search = made(make_job(), RATES)
    told = found(search)
    assert headline(told) == "No trial has a score yet."
    assert mattered(told).startswith("Too few trials")
    assert winner(search, told, "x") is None
    assert write(search).is_file()


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


def test_the_best_and_the_job_as_it_stood_are_tried_again_with_other_seeds(make_job):
    search = made(make_job(), RANKS, trials=3, finalists=1, again=2)
    study = told_study(search, [3.0, 5.0, 1.0])  # the job as it stood has rank 2
    took = []
    while (trial := _take(search) or _take_again(search)) is not None:
        took.append((trial.user_attrs["again"], trial.user_attrs["shift"]))
        study.tell(trial, {1: 2.0, 0: 3.4}[trial.user_attrs["again"]])
    assert sorted(took) == [(0, 1), (0, 2), (1, 1), (1, 2)]
    told = found(search)
    assert told.best.number == 0
    assert told.best.scores == (3.0, 3.4, 3.4)
    assert headline(told).endswith("That is the job as it stood.")
    assert "over 3 seeds (3.00 to 3.40)" in headline(told)


def test_nothing_is_tried_again_while_a_trial_is_running(make_job):
    search = made(make_job(), RANKS, trials=2, finalists=1, again=1)
    told_study(search, [3.0])
    running = _take(search)
    assert _take(search) is None
    assert _take_again(search) is None
    search.study().tell(running, 4.0)
    assert _take_again(search).user_attrs["again"] in (0, running.number)


def test_a_repetition_trains_the_same_setting_with_another_seed(make_job):
    search = made(make_job(), RANKS, trials=1)
    layers = trial_layers(search.job, search.space, {"adapter.rank": 4}, "fox-t001", 2)
    assert (layers.job.adapter.rank, layers.job.schedule.seed) == (4, 5)


def test_repetitions_are_shown_and_do_not_count_for_what_mattered(make_job):
    search = made(make_job(), RANKS, trials=5, finalists=1, again=1)
    study = told_study(search, [3.0, 5.0, 1.0, 2.0, 4.0])
    before = found(search).importance
    study.tell(_take_again(search), 9.0)
    assert found(search).importance == before
    page = write(search).read_text(encoding="utf-8")
    assert "(trial 1 again)" in page
    assert page.count("<circle") == 5


def test_a_range_with_a_step_ends_at_the_last_number_a_step_reaches(make_job):
    asked = {"adapter.rank": {"low": 4, "high": 16, "step": 5}}
    assert space_of(asked, make_job()).axes[0].probes() == [4, 14]


@pytest.mark.parametrize(
    ("axis", "said", "tried"),
    [
        (Range("x", 0.1, 0.3, False, 0.1, False), 0.1 + 2 * 0.1, 0.3),
        (Range("x", 0.1, 0.3, False, 0.1, False), 0.25, None),
        (Range("x", 4, 16, False, 4, True), 8, 8),
        (Range("x", 4, 16, False, 4, True), 9, None),
        (Range("x", 4, 16, True, None, True), 9, 9),
        (Range("x", 1e-4, 1e-2, True, None, False), 3e-3, 3e-3),
    ],
)
def test_a_value_beside_the_steps_cannot_be_tried(axis, said, tried):
    assert axis.nearest(min(said, axis.high)) == tried


SMALL = [
    ({"adapter.rank": [2, 4]}, 2),
    ({"adapter.rank": {"low": 2, "high": 6}}, 5),
    ({"adapter.rank": {"low": 2, "high": 6, "log": True}}, 5),
    ({"adapter.alpha": {"low": 0.1, "high": 0.4, "step": 0.1}}, 4),
    ({"adapter.rank": [2, 4], "adapter.alpha": {"low": 1, "high": 2, "step": 0.5}}, 6),
]


@pytest.mark.parametrize(("space", "settings"), SMALL, ids=lambda x: "")
@pytest.mark.parametrize("told", [True, False], ids=["one worker", "many workers"])
def test_no_setting_is_tried_twice_and_a_whole_space_ends_the_search(
    make_job, space, settings, told
):
    search = made(make_job(), space, trials=12, startup=2)
    study = search.study()
    took = []
    while (trial := _take(search)) is not None:
        took.append(trial.user_attrs["values"])
        if told:
            study.tell(trial, float(len(took)))
    assert len(took) == search.space.count() == settings
    assert all(one not in took[:place] for place, one in enumerate(took))


def test_a_failed_setting_is_not_tried_again(make_job):
    from optuna.trial import TrialState

    search = made(make_job(), RANKS, trials=12, startup=12)
    took = []
    while (trial := _take(search)) is not None:
        took.append(trial.user_attrs["values"]["adapter.rank"])
        search.study().tell(trial, state=TrialState.FAIL)
    assert sorted(took) == [2, 4, 8]


def test_draws_from_an_endless_space_are_never_counted(make_job):
    assert made(make_job(), {**RATES, **RANKS}).space.count() is None


def copied(make_job):
    """A search whose second trial is drawn like its first; and those that were taken."""
    search = made(make_job(), RANKS, trials=2)
    study = search.study()
    for _ in range(2):
        study.enqueue_trial({"adapter.rank": 4})
    taken = [_take(search), _take(search)]
    for trial in taken:
        study.tell(trial, 1.0 + trial.user_attrs["values"]["adapter.rank"])
    return search, taken


def test_a_copy_makes_way_for_what_was_not_tried(make_job):
    search, taken = copied(make_job)
    assert taken[0].user_attrs["values"] != taken[1].user_attrs["values"]
    assert _take(search) is None


def test_a_copy_is_no_trial_of_the_report(make_job):
    search, _ = copied(make_job)
    assert [row.number for row in found(search).rows] == [0, 2]
    assert search.study().trials[1].user_attrs["copy"] is True


def test_a_trial_left_before_it_had_its_settings_is_no_copy_either(make_job):
    search = made(make_job(), RANKS, trials=3)
    first = _take(search)
    study = search.study()
    study.enqueue_trial(first.params)
    study.ask()  # by a worker that died at once
    second = _take(search)
    assert second.user_attrs["values"] != first.user_attrs["values"]
    assert [row.number for row in found(search).rows] == [0, second.number]


def test_a_small_space_is_told_of(make_job):
    job, said = make_job(), []
    _tell_of_few(made(job, RANKS, trials=12), said.append)
    _tell_of_few(made(job, RANKS, trials=3), said.append)
    _tell_of_few(made(job, RATES, trials=3), said.append)
    assert said == ["the space holds 3 settings: the search ends when the whole space is tried"]


def test_the_headline_says_that_the_whole_space_was_tried(make_job):
    search = made(make_job(), RANKS, trials=12)
    told_study(search, [3.0, 5.0])
    assert "were tried" not in headline(found(search))
    search.study().tell(_take(search), 1.0)
    assert headline(found(search)).endswith("All 3 settings of the space were tried.")


@pytest.fixture
def job_file(pictures, tiny_sd, tmp_path):
    path = tmp_path / "fox.toml"
    path.write_text(
        f'runs = "runs"\n[model]\nbase = "{tiny_sd.as_posix()}"\n'
        f'[dataset]\nfolder = "{pictures(2).as_posix()}"\n',
        encoding="utf-8",
    )
    return path


@pytest.mark.parametrize("name", ["bad name", "-x", "x" * 65, "a/b"])
def test_a_name_that_no_preset_can_have_is_refused_before_the_search(job_file, name):
    with pytest.raises(ConfigError, match="is no name for a preset") as told:
        command(job=job_file, vary=["adapter.rank=4,8"], keep=name)
    assert told.value.where == "--keep"
    assert not (job_file.parent / "runs").exists()


def test_a_name_that_is_taken_is_refused_before_the_search(job_file):
    keep_preset("mine", {})
    with pytest.raises(ConfigError, match="you have a preset 'Mine' already") as told:
        command(job=job_file, vary=["adapter.rank=4,8"], keep="Mine")
    assert (told.value.where, told.value.hint) == ("--keep", "another name")
    assert not (job_file.parent / "runs").exists()


PRESETS = {
    "flux": ({"model": {"kind": "flux"}, "adapter": {"rank": 2}}, "is for the family 'flux'"),
    "large": ({"adapter": {"rank": 64}}, r"'large' has adapter\.rank = 64, which the search does"),
    "prior": ({"adapter": {"rank": 2}, "prior": {"enabled": True}}, "class_word"),
}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_that_cannot_be_tried_is_refused_before_a_folder_is_made(make_job, name, tmp_path):
    values, said = PRESETS[name]
    keep_preset(name, values)
    job = make_job()
    with pytest.raises(ConfigError, match=said) as told:
        made(job, RANKS, presets=(name,))
    assert name in str(told.value)
    assert not (tmp_path / "runs").exists()


def test_a_preset_without_the_setting_that_varies_is_refused(make_job):
    keep_preset("short", {"adapter": {"rank": 2}})
    job = make_job()
    with pytest.raises(ConfigError, match=r"'short' has no memory\.target_gib"):
        made(job, {"memory.target_gib": [8.0, 10.0]}, presets=("short",))


def test_presets_are_enqueued_after_the_job_and_each_setting_once(make_job):
    for name, rank in (("four", 4), ("again", 4), ("eight", 8)):
        keep_preset(name, {"model": {"kind": "sd"}, "adapter": {"rank": rank}})
    search = made(make_job(), RANKS, trials=3, presets=("four", "again", "eight"))
    _first_trials(search)
    took = [_take(search).user_attrs["values"]["adapter.rank"] for _ in range(3)]
    assert took == [2, 4, 8]


def test_the_winner_is_the_job_of_the_best_trial_as_a_preset(make_job):
    search = made(make_job(), RANKS, trials=2)
    study = search.study()
    for score in (1.0, 3.0):
        trial = _take(search)
        run_of(search, trial, trial.user_attrs["values"])
        study.tell(trial, score)
    told = found(search)
    kept = winner(search, told, "mine").settings
    assert kept["adapter"]["rank"] == told.best.values["adapter.rank"]


def test_a_search_that_learned_nothing_names_no_best(make_job):
    search = made(make_job(), RANKS, trials=3)
    told_study(search, [0.0, -2.0, 0.0])
    told = found(search)
    assert headline(told) == (
        "No trial learned anything beyond the base model: the best, trial 0, lowers the loss on "
        "held-out pictures by 0.00%."
    )
    assert 'class="best"' not in write(search).read_text(encoding="utf-8")


def test_a_search_that_learned_nothing_has_no_winner_to_keep(make_job):
    search = made(make_job(), RANKS, trials=3)
    told_study(search, [0.0, -2.0, 0.0])
    with pytest.raises(ConfigError, match=r"no winner to keep\. No trial learned anything"):
        _keep(search, found(search), "mine", Console())
    assert not library.holds("mine")


def test_the_help_names_the_table_of_a_job_file(monkeypatch, capfd):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", ["sweetspot", "search", "--help"])
    assert cli.run() == 0
    assert "A job in TOML, with [search]." in capfd.readouterr().out
