"""Intervals against closed forms, and how often they are right."""

import numpy as np
import pytest
from scipy import stats

from analysis.statistics import contest, forecast, resampled, simultaneous


def drawn(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def swayed(seed, settings, prompts, *, together=0.0, unlike=0.0):
    """Equal settings, two seeds, that each prompt sways by much more than a seed does.

    Args:
        together: Share of the sway that is alike for all settings.
        unlike: How unlike settings spread; at 0.7 the last four times as far as the first.
    """
    dice = np.random.default_rng(seed)
    alike = dice.standard_normal((1, prompts, 1)) * together**0.5
    own = dice.standard_normal((settings, prompts, 1)) * (1 - together) ** 0.5
    wide = np.exp(unlike * np.linspace(-1, 1, settings))[:, None, None]
    return wide * (alike + own + 0.2 * dice.standard_normal((settings, prompts, 2)))


def test_resampled_means_spread_as_the_bootstrap_of_a_mean_does():
    values = drawn(0, 1, 40, 1)
    spread = resampled(values, draws=4000).std()
    assert spread == pytest.approx(values.std() / np.sqrt(40), rel=0.05)


def test_every_setting_gets_the_same_prompts_and_seeds():
    values = drawn(1, 1, 6, 3)
    both = np.concatenate([values, values + 5])
    means = resampled(both, draws=50)
    assert np.allclose(means[:, 1] - means[:, 0], 5)


@pytest.mark.parametrize("prompts", [4, 30])
def test_of_one_setting_the_interval_is_students(prompts):
    values = drawn(2, 1, prompts, 1)
    found = simultaneous(values, draws=20000)
    known = stats.ttest_1samp(values[0, :, 0], 0).confidence_interval()
    assert found.low[0] == pytest.approx(known.low, rel=0.05)
    assert found.high[0] == pytest.approx(known.high, rel=0.05)


def test_of_one_prompt_its_seeds_are_what_is_sampled():
    values = drawn(12, 3, 1, 9)
    some, others = simultaneous(values), simultaneous(values.reshape(3, 9, 1))
    assert np.array_equal(some.low, others.low)


@pytest.mark.parametrize("prompts", [4, 12])
def test_of_two_settings_the_difference_is_that_of_the_paired_t_test(prompts):
    values = drawn(3, 2, prompts, 1) + 5 * drawn(4, 1, prompts, 1)
    found = contest(values, draws=20000)
    better, other = values[found.best, :, 0], values[1 - found.best, :, 0]
    known = stats.ttest_rel(better, other).confidence_interval()
    assert found.behind.low[1 - found.best] == pytest.approx(known.low, rel=0.05, abs=0.02)
    assert found.behind.high[1 - found.best] == pytest.approx(known.high, rel=0.05)


def test_of_many_prompts_all_pairs_are_as_far_apart_as_tukey_says():
    found = contest(drawn(5, 6, 80, 1), draws=4000)
    tukey = stats.studentized_range.ppf(0.95, 6, 5 * 79) / np.sqrt(80)
    assert found.smallest == pytest.approx(tukey, rel=0.08)


def test_of_many_prompts_all_means_are_as_wide_as_sidak_says():
    values = drawn(6, 10, 80, 1)
    found = simultaneous(values, draws=4000)
    sidak = stats.t.ppf((1 + 0.95 ** (1 / 10)) / 2, 79) / np.sqrt(80)
    assert float(np.mean(found.high - found.mean)) == pytest.approx(sidak, rel=0.05)


def test_some_picked_from_many_have_intervals_as_wide_as_all_would_have():
    values = drawn(13, 25, 200, 1)
    few = values[:3]

    def width(some, family=0):
        found = simultaneous(some, family=family)
        return float(np.mean(found.high - found.mean))

    assert width(few, 25) == pytest.approx(width(values), rel=0.06)
    assert width(few) < 0.9 * width(values)
    apart = contest(values).smallest
    assert contest(few, family=25).smallest == pytest.approx(apart, rel=0.06)
    assert contest(few).smallest < 0.9 * apart


def test_a_forecast_spreads_as_a_mean_does_of_which_a_part_is_known():
    values = drawn(14, 1, 4, 1)
    means, width = forecast(values, 16, 8, draws=20000)
    spread = values.std(ddof=1)
    assert means.mean() == pytest.approx(values.mean(), abs=0.01)
    assert means.std() == pytest.approx(spread * np.sqrt(1 / 4 - 1 / 16), rel=0.03)
    assert width[0] == pytest.approx(stats.t.ppf(0.975, 7) * spread / 4, rel=0.03)


def test_when_all_shots_are_there_a_forecast_is_what_was_found():
    values = drawn(15, 5, 6, 1)
    means, _ = forecast(values, 6, 6, draws=10)
    assert np.allclose(means, values.mean(axis=(1, 2)))


def test_of_a_single_picture_nothing_is_known():
    found = simultaneous(np.array([[[0.4]], [[0.9]]]))
    assert list(found.mean) == [0.4, 0.9]
    assert np.isinf(found.low).all()
    assert contest(np.array([[[0.4]], [[0.9]]])).tied.all()


def test_numbers_that_do_not_vary_have_no_width():
    found = simultaneous(np.full((4, 3, 2), 0.7))
    assert (found.high - found.low).max() < 1e-9


@pytest.mark.parametrize(
    ("settings", "prompts", "together", "unlike"),
    [(25, 4, 0.0, 0.0), (36, 5, 0.0, 0.0), (25, 3, 0.0, 0.0), (25, 4, 0.9, 0.0), (25, 4, 0.5, 0.4)],
)
def test_where_prompts_differ_the_intervals_of_all_settings_still_hold_together(
    settings, prompts, together, unlike
):
    held = 0
    for seed in range(100):
        values = swayed(seed, settings, prompts, together=together, unlike=unlike)
        found = simultaneous(values, draws=300)
        held += bool(((found.low <= 0) & (found.high >= 0)).all())
    assert held >= 90


def test_where_only_seeds_differ_the_intervals_hold_and_are_no_wider_for_it():
    held, widths = 0, []
    for seed in range(100):
        found = simultaneous(drawn(seed, 25, 4, 2), draws=300)
        held += bool(((found.low <= 0) & (found.high >= 0)).all())
        widths.append((found.high - found.mean).mean())
    assert held >= 90
    assert np.mean(widths) < 1.6  # 4.5 errors of a mean of 8 pictures


@pytest.mark.parametrize(("settings", "prompts", "together"), [(20, 5, 0.0), (12, 4, 0.6)])
def test_equal_settings_tie_in_at_least_nine_of_ten_draws(settings, prompts, together):
    some = (swayed(seed, settings, prompts, together=together) for seed in range(60))
    assert sum(contest(values, draws=200).tied.all() for values in some) >= 54


def test_the_same_checkpoint_twice_ties_in_about_nineteen_of_twenty_draws():
    tied = sum(contest(swayed(seed, 2, 4), draws=300).tied.all() for seed in range(200))
    assert 180 <= tied <= 200


def test_a_clear_lead_is_seen_and_its_chance_is_near_one():
    values = drawn(3, 6, 8, 3) * 0.05 + np.array([0, 0.1, 0.2, 1.0, 0.1, 0])[:, None, None]
    found = contest(values)
    assert found.best == 3
    assert list(found.tied) == [False, False, False, True, False, False]
    assert found.chance[3] > 0.99
    assert found.smallest < 0.8


def test_a_spread_of_prompts_that_all_settings_share_hides_no_lead():
    values = drawn(7, 5, 4, 2) * 0.05 + 20 * drawn(8, 1, 4, 1)
    values[2] += 1
    assert list(contest(values).tied) == [False, False, True, False, False]


def test_the_same_setting_twice_is_tied_with_itself():
    one = drawn(4, 1, 5, 2)
    found = contest(np.concatenate([one, one, one - 8]))
    assert list(found.tied) == [True, True, False]


def test_chances_sum_to_one():
    assert contest(drawn(5, 7, 4, 2)).chance.sum() == pytest.approx(1)


def test_what_is_surely_beaten_by_a_middling_setting_is_not_tied_with_the_best():
    wobble = drawn(9, 3, 6, 2) * 0.01
    swing = np.linspace(-0.8, 0.8, 6)[:, None]
    best, middle, weak = np.full((6, 2), 1.0) + swing, np.full((6, 2), 0.8), np.zeros((6, 2))
    found = contest(np.stack([best, middle, weak]) + wobble)
    assert found.behind.low[1] <= 0
    assert not found.tied[2]
