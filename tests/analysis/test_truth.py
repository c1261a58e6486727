"""On pictures whose best setting is known; benchmarks/truth.py does the same 200 times."""

from analysis.ranking import rank
from analysis.vetoes import Rules
from tests.analysis.synthetic import draw, facts, within_one_step


def test_the_best_setting_of_made_up_pictures_is_found():
    found = 0
    for seed in range(6):
        sweep = draw(seed)
        ranking = rank(sweep.table, facts(), Rules(), {})
        found += ranking.choice is not None and within_one_step(ranking.choice, sweep.best)
    assert found >= 5


def test_where_nothing_differs_it_says_that_it_cannot_tell():
    states = [
        rank(draw(10_000 + seed, differs=False).table, facts(), Rules(), {}).state
        for seed in range(5)
    ]
    assert states.count("cannot tell apart") >= 4
