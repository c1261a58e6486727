"""What varies, what is drawn of it, and what is refused before anything runs."""

from __future__ import annotations

import pytest

from app.search.axis import Range
from app.search.report import found
from app.search.space import SearchConfig, space_of, words_of
from app.search.study import _first_trials, _take, _tell_of_few
from tests.app.search.searching import RANKS, RATES, keep_preset, made
from trainer.core import toml
from trainer.core.errors import ConfigError


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
