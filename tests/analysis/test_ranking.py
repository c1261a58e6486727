"""The choice: what is known to be best is found, and what cannot be told is not told."""

from dataclasses import replace

import numpy as np
import pytest

from analysis import words
from analysis.ranking import rank
from analysis.table import Column, Prompt, Setting, Table
from analysis.vetoes import Rules
from tests.analysis.tables import FACTS, SETTINGS, sweep, within_one_step


def plain(values, metric="brisque", control=0.0, **more):
    """A table of one prompt and seed a value, epochs 1, 2, ... at strength 1."""
    numbers = np.array(values, dtype=float).reshape(len(values), 1, -1)
    settings = tuple(Setting(n + 1, 1.0) for n in range(len(values)))
    base = np.full(numbers.shape[1:], control)
    columns = {metric: Column(numbers, base), **more}
    seeds = tuple(range(numbers.shape[2]))
    return Table(settings, (Prompt("a"),), seeds, columns, {})


def changed(table, name, values):
    column = table.columns[name]
    return replace(table, columns={**table.columns, name: replace(column, values=values)})


def test_the_known_best_is_within_a_step_in_nineteen_of_twenty_sweeps():
    found = 0
    for seed in range(40):
        table, best = sweep(seed)
        ranking = rank(table, FACTS, Rules(), {})
        found += ranking.choice is not None and within_one_step(ranking.choice, best)
    assert found >= 38


def test_without_a_difference_it_says_that_it_cannot_tell():
    states = [rank(sweep(s, differs=False)[0], FACTS, Rules(), {}).state for s in range(40)]
    assert states.count("cannot tell apart") >= 36


def test_of_equals_the_earliest_epoch_and_lowest_strength_is_chosen():
    table, _ = sweep(0, differs=False)
    ranking = rank(table, FACTS, Rules(), {})
    assert ranking.choice == min(ranking.tied, key=lambda i: SETTINGS[i])


def test_pictures_that_did_not_move_taught_nothing_however_sure_the_gain():
    table, _ = sweep(1)
    still = changed(table, "ssim", np.full_like(table.columns["ssim"].values, 0.999))
    ranking = rank(still, FACTS, Rules(), {})
    assert ranking.state == "nothing learned"
    assert ranking.choice is None
    assert "those of the base model" in words.headline(still, ranking)


def test_pictures_that_moved_without_a_sure_gain_are_not_called_the_base_models():
    table, _ = sweep(1)
    column = table.columns["fidelity"]
    swing = np.linspace(-1, 1, 5)[None, :, None]
    ranking = rank(
        changed(table, "fidelity", column.control + swing + 0 * column.values), FACTS, Rules(), {}
    )
    assert ranking.state == "nothing learned"
    assert words.headline(table, ranking).startswith("No gain is sure")


def test_a_weight_on_what_does_not_vary_is_said_to_count_nothing():
    table, _ = sweep(1)
    weights = {"ssim": 2.0, "fidelity": 1.0}
    ranking = rank(table, FACTS, Rules("weights", weights=weights), {})
    assert "ssim is the same everywhere, so its weight counts nothing." in ranking.said
    assert ranking.said[0] in words.sentences(table, ranking, [])


def test_when_everything_that_learned_is_spoilt_nothing_is_safe():
    table, _ = sweep(2)
    ranking = rank(
        changed(table, "brisque", table.columns["brisque"].values + 60), FACTS, Rules(), {}
    )
    assert ranking.state == "nothing safe"
    assert "none is safe" in words.headline(table, ranking)
    assert any(s.startswith("The least bad is epoch") for s in words.sentences(table, ranking, []))


def test_a_style_as_rough_as_its_own_pictures_is_no_spoilt_one():
    table, _ = sweep(3)
    rough = changed(table, "brisque", table.columns["brisque"].values + 60)
    ranking = rank(rough, FACTS, Rules(allowances={"brisque": 150.0}), {})
    assert ranking.state == "chosen"
    assert ranking.vetoes == {}


def test_copies_are_ruled_out_by_name():
    table, _ = sweep(4)
    chosen = rank(table, FACTS, Rules(), {}).choice
    ranking = rank(table, FACTS, Rules(), {chosen: 0.6})
    assert ranking.choice != chosen
    assert "copies of training pictures" in ranking.vetoes[chosen][0]


def test_a_loss_on_held_out_pictures_that_rises_again_means_overtrained():
    table, _ = sweep(5)
    epochs = np.array([s.epoch for s in SETTINGS])
    base = np.full((6, 4), 1.0)
    noise = np.random.default_rng(0).standard_normal((len(SETTINGS), 6, 4)) * 0.002
    curve = np.where(epochs <= 3, 1 - 0.1 * epochs, 0.7 + 0.1 * (epochs - 3))
    fit = Column(curve[:, None, None] + noise, base)
    ranking = rank(replace(table, judged={"fit": fit}), FACTS, Rules(), {})
    assert ranking.overtrained_from == 4
    assert ranking.trained == "too long"
    assert SETTINGS[ranking.choice].epoch <= 3
    told = words.sentences(table, ranking, [])
    assert "At strengths near 1 the run is overtrained from epoch 4 on." in told


def test_forgetting_the_class_is_ruled_out():
    table, _ = sweep(6)
    base = np.full((6, 4), 0.5)
    strengths = np.array([s.strength for s in SETTINGS])
    rise = np.where(strengths > 0.9, 0.2, 0.0)[:, None, None] + np.zeros((1, 6, 4))
    ranking = rank(replace(table, judged={"drift": Column(base + rise, base)}), FACTS, Rules(), {})
    assert all(
        SETTINGS[i].strength > 0.9 for i in ranking.vetoes if "class" in ranking.vetoes[i][-1]
    )
    assert SETTINGS[ranking.choice].strength < 0.9


def test_a_setting_without_all_its_numbers_does_not_compete():
    table, _ = sweep(7)
    values = table.columns["fidelity"].values.copy()
    values[-1, 0, 0] = np.nan
    ranking = rank(changed(table, "fidelity", values), FACTS, Rules(), {})
    assert len(SETTINGS) - 1 not in ranking.field


def test_nothing_scored_is_no_choice():
    table = plain([np.nan, np.nan], metric="fidelity")
    assert rank(table, (), Rules(), {}).state == "nothing scored"


@pytest.mark.parametrize(
    ("scores", "chosen"), [([9.0, 8.995, 9.2], 0), ([9.0, 8.9, 9.2], 1), ([np.nan, 9, 8.995], 1)]
)
def test_the_ancestors_rule_takes_the_lowest_brisque_and_the_earliest_of_ties(scores, chosen):
    assert rank(plain(scores), (), Rules("ancestor"), {}).choice == chosen


def test_weights_of_a_persons_own_decide():
    table, _ = sweep(8)
    gentle = rank(table, FACTS, Rules("weights", weights={"brisque": 1}), {}).choice
    strong = rank(table, FACTS, Rules("weights", weights={"fidelity": 1}), {}).choice
    means = table.columns["fidelity"].values.mean(axis=(1, 2))
    assert strong == int(means.argmax())
    assert gentle == int(table.columns["brisque"].values.mean(axis=(1, 2)).argmin())


def test_thin_evidence_is_called_thin_and_says_how_much_there_was():
    table, _ = sweep(9, prompts=3, seeds=1)
    assert "3 prompts, 1 seed" in words.thin(table)
    assert words.thin(sweep(9)[0]) == ""


def test_the_verdict_in_words_never_speaks_of_what_was_not_measured():
    table, _ = sweep(10)
    told = words.told(table, rank(table, FACTS, Rules(), {}), "sweetspot", [])
    text = " ".join([told["headline"], *told["sentences"]])
    assert "held-out" not in text
    assert "leak" not in text
    assert told["choice"] is not None
    assert sum(one["p"] for one in told["chance"]) == pytest.approx(1)


def test_a_negative_strength_is_no_gentler_than_a_positive_one():
    assert min([Setting(2, -1.0), Setting(2, 0.5)], key=lambda s: s.effort) == Setting(2, 0.5)
    table, _ = sweep(0, differs=False)
    turned = tuple(Setting(epoch, strength - 0.9) for epoch, strength in table.settings)
    ranking = rank(replace(table, settings=turned), FACTS, Rules(), {})
    first = min(epoch for epoch, _ in turned)
    gentlest = min((s for s in turned if s.epoch == first), key=lambda s: abs(s.strength))
    assert turned[ranking.choice] == gentlest
