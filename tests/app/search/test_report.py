"""What came out: scores, the winner, and the command that prints them."""

from __future__ import annotations

import sys

import pytest
from rich.console import Console

from app import cli, library
from app.search.report import found, headline, mattered, winner, write
from app.search.study import _take, _take_again
from app.search.trial import _run_of as run_of
from app.search.trial import score_of
from app.searching import _keep
from app.searching import search as command
from tests.app.search.searching import RANKS, RATES, keep_preset, made, told_study
from trainer.core.errors import ConfigError


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


def test_repetitions_are_shown_and_do_not_count_for_what_mattered(make_job):
    search = made(make_job(), RANKS, trials=5, finalists=1, again=1)
    study = told_study(search, [3.0, 5.0, 1.0, 2.0, 4.0])
    before = found(search).importance
    study.tell(_take_again(search), 9.0)
    assert found(search).importance == before
    page = write(search).read_text(encoding="utf-8")
    assert "(trial 1 again)" in page
    assert page.count("<circle") == 5


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
