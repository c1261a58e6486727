"""What a verdict makes of numbers that are not there: nothing is taken for 0, nothing is silent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis import words
from analysis.race import FIRST, Racer, least, shots_of
from analysis.ranking import rank
from analysis.safe import safe_strengths
from analysis.table import Column, Prompt, Setting, Table
from analysis.vetoes import Facts, Rules

SETTINGS = tuple(Setting(e, s) for e in (1, 2, 3) for s in (0.5, 1.0))
PROMPTS, SEEDS = 6, 2
FACTS = (
    Facts("fidelity", "learned", "higher", "trigger"),
    Facts("brisque", "quality", "lower", "all"),
    Facts("ssim", "aside", "neither", "all"),
)
LAST = SETTINGS.index(Setting(3, 1.0))


@pytest.fixture
def table():
    """Likeness grows with epoch and strength by 0.1 each epoch; quality holds."""
    dice = np.random.default_rng(1)
    shape = (len(SETTINGS), PROMPTS, SEEDS)
    base = 0.3 + 0.02 * dice.standard_normal(shape[1:])
    gain = np.array([0.1 * s.epoch * s.strength for s in SETTINGS])[:, None, None]
    return Table(
        SETTINGS,
        tuple(Prompt(f"prompt {n}") for n in range(PROMPTS)),
        tuple(range(SEEDS)),
        {
            "fidelity": Column(base + gain + 0.01 * dice.standard_normal(shape), base),
            "brisque": Column(*(20 + dice.standard_normal(s) for s in (shape, shape[1:]))),
            "ssim": Column(np.full(shape, 0.5), np.full(shape[1:], np.nan)),
        },
        {},
    )


def ranked(table):
    return rank(table, FACTS, Rules(), {})


def chosen(table):
    found = ranked(table)
    return None if found.choice is None else SETTINGS[found.choice]


def test_the_last_epoch_wins_when_all_numbers_are_there(table):
    assert chosen(table) == Setting(3, 1.0)


def test_one_control_without_a_number_leaves_the_veto_standing_and_is_told(table):
    table.columns["brisque"].values[[4, 5]] += 60
    assert chosen(table) == Setting(2, 1.0)
    table.columns["brisque"].control[0, 0] = np.nan
    found = ranked(table)
    assert SETTINGS[found.choice] == Setting(2, 1.0)
    assert any(
        "brisque could not be judged on 1 of 12 prompts and seeds" in line for line in found.said
    )


def test_a_setting_whose_quality_is_not_known_is_ruled_out_with_the_reason(table):
    table.columns["brisque"].values[LAST] += 60
    table.columns["brisque"].values[LAST, 0, 0] = np.nan
    found = ranked(table)
    assert found.choice != LAST
    assert any("brisque" in reason for reason in found.vetoes[LAST])


def test_a_missing_control_is_no_zero_in_the_gain(table):
    table.columns["fidelity"].control[:2] = np.nan
    found = ranked(table)
    assert found.gain.mean[LAST] == pytest.approx(0.3, abs=0.02)
    assert any(line.startswith("2 prompts could not be compared") for line in found.said)


def test_without_any_control_nothing_is_scored_and_the_reason_is_told(table):
    table.columns["fidelity"].control[:] = np.nan
    found = ranked(table)
    assert found.state == "nothing scored"
    assert any("fidelity" in line for line in words.sentences(table, found, []))


def test_pictures_without_ssim_are_not_taken_for_unmoved(table):
    table.columns["ssim"].values[:] = np.nan
    assert chosen(table) == Setting(3, 1.0)


def test_a_prompt_that_failed_everywhere_leaves_the_others(table):
    for column in table.columns.values():
        column.values[:, 2] = np.nan
    found = ranked(table)
    assert SETTINGS[found.choice] == Setting(3, 1.0)
    assert any(line.startswith("One prompt could not be compared") for line in found.said)


def test_a_setting_that_does_not_compete_is_named(table):
    table.columns["fidelity"].values[0, 0, 0] = np.nan
    said = " ".join(ranked(table).said)
    assert "1 of 6 settings do not compete" in said
    assert "epoch 1 at 0.5" in said


def test_losses_that_are_no_numbers_rule_out_their_own_setting_alone(table):
    dice = np.random.default_rng(2)
    turn = np.array([0.20, 0.18, 0.14, 0.16, 0.20, 0.22])[:, None, None]
    fit = turn + 0.001 * dice.standard_normal((len(SETTINGS), 6, 4))
    judged = replace(table, judged={"fit": Column(fit, np.full((6, 4), 0.2))})
    assert set(ranked(judged).vetoes) == {3, 4, 5}
    fit[5] = np.nan
    found = ranked(judged)
    assert set(found.vetoes) == {3, 4, 5}
    assert "no number" in found.vetoes[5][0]
    assert "memorises" in found.vetoes[4][0]


def raced(table, budget, copies=lambda done: {}):
    shape = table.columns["fidelity"].values.shape
    rendered = np.zeros(shape, dtype=bool)
    racer = Racer(budget, FACTS, Rules(), list(range(shape[0])), shots_of(*shape[1:]))

    def known():
        hidden = {
            name: replace(column, values=np.where(rendered, column.values, np.nan))
            for name, column in table.columns.items()
        }
        behind = frozenset(s for i, s in enumerate(SETTINGS) if i not in racer.alive)
        return replace(table, columns=hidden, dropped=behind)

    while (asked := racer.next(known(), copies(len(racer.done)))) is not None:
        settings, (prompt, seed) = asked
        rendered[settings, prompt, seed] = True
    return rendered, known()


def test_the_least_a_race_may_spend_still_ends_in_a_choice(table):
    fewest = least(len(SETTINGS), PROMPTS * SEEDS)
    rendered, known = raced(table, fewest)
    assert rendered.sum() <= fewest
    assert ranked(known).choice is not None


def test_a_race_tells_overtraining_by_the_judgement_of_those_it_dropped(table):
    drift = np.full((len(SETTINGS), 6, 4), 0.2)
    drift[[3, 4, 5]] += 0.2
    drift += 0.001 * np.random.default_rng(3).standard_normal(drift.shape)
    judged = replace(table, judged={"drift": Column(drift, np.full((6, 4), 0.2))})
    assert ranked(judged).overtrained_from == 2
    _, known = raced(judged, least(len(SETTINGS), PROMPTS * SEEDS))
    assert ranked(known).overtrained_from == 2
    assert ranked(known).trained == "too long"


def test_one_copy_among_the_first_pictures_drops_nobody(table):
    rendered, _ = raced(
        table,
        least(len(SETTINGS), PROMPTS * SEEDS) + 10,
        copies=lambda done: {LAST: 1 / done} if done >= FIRST else {},
    )
    assert rendered[LAST].all()


def test_copies_in_all_first_pictures_do_drop(table):
    rendered, _ = raced(
        table,
        least(len(SETTINGS), PROMPTS * SEEDS) + 10,
        copies=lambda done: {LAST: 1.0},
    )
    assert not rendered[LAST].all()


def test_safe_strengths_end_where_one_between_them_is_ruled_out(table):
    row = tuple(Setting(1, s) for s in (0.2, 0.4, 0.6, 0.8, 1.0, 1.2))
    table = replace(table, settings=row)
    table.columns["brisque"].values[2] += 60
    found = ranked(table)
    assert safe_strengths(table, found) == {1: (0.8, 1.2)}


def test_by_weights_a_setting_without_a_weighed_number_is_out_and_told(table):
    table.columns["brisque"].values[LAST, 0, 0] = np.nan
    rules = Rules("weights", weights={"fidelity": 1.0, "brisque": 0.1, "clip_i": 2.0})
    found = rank(table, FACTS, rules, {})
    assert found.choice != LAST
    said = " ".join(found.said)
    assert "1 of 6 settings lack a weighed number" in said
    assert "clip_i was not measured" in said
