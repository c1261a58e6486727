"""Intervals against closed forms, and how often they are right."""

import numpy as np
import pytest
from scipy import stats

from analysis.statistics import contest, resampled, simultaneous, small_sample


def drawn(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def test_resampled_means_spread_as_the_bootstrap_of_a_mean_does():
    values = drawn(0, 1, 40, 1)
    spread = resampled(values, draws=4000).std()
    assert spread == pytest.approx(values.std() / np.sqrt(40), rel=0.05)


def test_every_setting_gets_the_same_prompts_and_seeds():
    values = drawn(1, 1, 6, 3)
    both = np.concatenate([values, values + 5])
    means = resampled(both, draws=50)
    assert np.allclose(means[:, 1] - means[:, 0], 5)


def test_of_one_setting_the_interval_is_about_students():
    values = drawn(2, 1, 30, 1)
    found = simultaneous(values, draws=4000)
    half = stats.t.ppf(0.975, 29) * values.std(ddof=1) / np.sqrt(30)
    assert found.high[0] - found.mean[0] == pytest.approx(half, rel=0.06)


def test_few_clusters_widen_the_interval_by_student_and_by_what_resampling_misses():
    assert small_sample(5, 2) == pytest.approx(stats.t.ppf(0.975, 4) / 1.96 * np.sqrt(5 / 4), 1e-3)
    assert small_sample(1, 10) == small_sample(10, 1)
    assert small_sample(1, 1) == np.inf


def test_of_a_single_picture_nothing_is_known():
    found = simultaneous(np.array([[[0.4]], [[0.9]]]))
    assert list(found.mean) == [0.4, 0.9]
    assert np.isinf(found.low).all()
    assert contest(np.array([[[0.4]], [[0.9]]])).tied.all()


@pytest.mark.parametrize(("prompts", "seeds"), [(4, 2), (6, 3)])
def test_intervals_of_all_settings_hold_together_in_about_nineteen_of_twenty_draws(prompts, seeds):
    truth = np.linspace(0, 1, 8)
    held = 0
    for seed in range(120):
        chance = np.random.default_rng(seed)
        own = chance.standard_normal((8, prompts, 1)) * 0.3
        values = truth[:, None, None] + own + chance.standard_normal((8, prompts, seeds)) * 0.3
        found = simultaneous(values, draws=300)
        held += bool(((found.low <= truth) & (truth <= found.high)).all())
    assert held >= 0.9 * 120


def test_equal_settings_tie_in_at_least_nine_of_ten_draws():
    tied = sum(contest(drawn(seed, 20, 5, 2), draws=300).tied.all() for seed in range(100))
    assert tied >= 90


def test_a_clear_lead_is_seen_and_its_chance_is_near_one():
    values = drawn(3, 6, 8, 3) * 0.05 + np.array([0, 0.1, 0.2, 1.0, 0.1, 0])[:, None, None]
    found = contest(values)
    assert found.best == 3
    assert list(found.tied) == [False, False, False, True, False, False]
    assert found.chance[3] > 0.99
    assert found.smallest < 0.8


def test_the_same_setting_twice_is_tied_with_itself():
    one = drawn(4, 1, 5, 2)
    found = contest(np.concatenate([one, one, one - 3]))
    assert list(found.tied) == [True, True, False]


def test_chances_sum_to_one():
    assert contest(drawn(5, 7, 4, 2)).chance.sum() == pytest.approx(1)


def test_what_lies_below_a_setting_that_is_surely_behind_is_not_tied():
    best, middle, weak = np.full((5, 2), 1.0), np.full((5, 2), 0.5), np.zeros((5, 2))
    swing = np.linspace(-3, 3, 5)[:, None]
    wobble = np.linspace(-0.01, 0.01, 10).reshape(5, 2)
    found = contest(np.stack([best + wobble, middle - wobble, weak + swing]))
    assert found.behind.low[2] < 0
    assert list(found.tied) == [True, False, False]
