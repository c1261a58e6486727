"""Racing spends less and chooses the same."""

from dataclasses import replace

import numpy as np

from analysis.race import Racer, shots_of
from analysis.ranking import rank
from analysis.vetoes import Rules
from tests.analysis.tables import FACTS, SETTINGS, sweep


def masked(table, rendered):
    columns = {
        name: replace(column, values=np.where(rendered, column.values, np.nan))
        for name, column in table.columns.items()
    }
    return replace(table, columns=columns)


def run(table, budget):
    """What a race with this budget rendered, and its ranking."""
    shape = table.columns["fidelity"].values.shape
    rendered = np.zeros(shape, dtype=bool)
    racer = Racer(budget, FACTS, Rules(), list(range(shape[0])), shots_of(*shape[1:]))
    while (asked := racer.next(masked(table, rendered), {})) is not None:
        settings, (prompt, seed) = asked
        assert not rendered[settings, prompt, seed].any()
        rendered[settings, prompt, seed] = True
    behind = frozenset(s for i, s in enumerate(table.settings) if i not in racer.alive)
    return rendered, rank(replace(masked(table, rendered), dropped=behind), FACTS, Rules(), {})


def test_a_race_chooses_like_the_full_grid_for_less_than_half_of_the_pictures():
    alike = 0
    for seed in range(20):
        table, _ = sweep(seed)
        full = rank(table, FACTS, Rules(), {})
        rendered, raced = run(table, int(0.45 * rendered_all(table)))
        assert rendered.sum() <= 0.45 * rendered_all(table)
        alike += raced.choice is not None and raced.choice in full.tied
    assert alike >= 19


def rendered_all(table):
    return table.columns["fidelity"].values.size


def test_with_room_for_everything_nothing_that_could_win_is_left_out():
    table, best = sweep(0)
    rendered, raced = run(table, 10**6)
    assert rendered[best].all()
    assert raced.choice is not None


def test_a_setting_without_a_number_does_not_end_the_race():
    table, best = sweep(0)
    lost = 0 if best != 0 else 1
    table.columns["fidelity"].values[lost, 0, 0] = np.nan
    rendered, raced = run(table, 160)
    assert rendered[best].all()
    assert raced.choice is not None
    assert not rendered[lost].all()


def test_one_prompt_among_plain_ones_is_raced_once_it_has_two_seeds():
    table, _ = sweep(1, prompts=3, seeds=6)
    plain = [replace(prompt, kind="plain") for prompt in table.prompts[1:]]
    table = replace(table, prompts=(table.prompts[0], *plain))
    rendered, raced = run(table, int(0.45 * rendered_all(table)))
    assert rendered[:, 0, :2].all()
    assert rendered.sum() <= 0.45 * rendered_all(table)
    assert raced.choice is not None


def test_the_same_race_asks_the_same():
    table, _ = sweep(3)
    first, _ = run(table, 150)
    second, _ = run(table, 150)
    assert np.array_equal(first, second)


def test_shots_go_through_all_prompts_before_the_next_seed():
    assert shots_of(2, 2) == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert len(SETTINGS) == 36
