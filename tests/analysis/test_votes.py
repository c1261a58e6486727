"""Votes: read leniently, drawn blind and balanced, scored as closed forms and simulation say."""

import itertools
import math
from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import binomtest, kendalltau

from analysis.table import Setting
from analysis.votes.agreement import Measured, agreement, measured_in, wilson
from analysis.votes.ballot import Pair, Vote, merged, read_votes, write_votes
from analysis.votes.pairs import Shown, pairs, shown_in
from analysis.votes.strengths import chance, score
from trainer.core.errors import RunError

NO_PRIOR = 1e6
WHEN = datetime(2026, 11, 26, 14, 0, tzinfo=UTC)
AWKWARD = 'ein "Fuchs", grün;\nzweite Zeile, 狐'


def cast(left, right, winner, count=1):
    return [Vote(Pair(left, right, "a fox", 0), winner)] * count


def settings(*names):
    """Cells of the same names, each of a setting of its own."""
    return {name: Setting(epoch, 1.0) for epoch, name in enumerate(names, start=1)}


def grid(settings=6, prompts=2, seeds=2):
    return [
        Shown(f"{s}-{p}-{k}", Setting(s, 1.0), f"prompt {p}", k)
        for s, p, k in itertools.product(range(settings), range(prompts), range(seeds))
    ]


def simulated(truth, count, *, ties=0.0, seed=0):
    """Votes between settings of these strengths, by Davidson's model."""
    dice = np.random.default_rng(seed)
    names = [str(index) for index in range(len(truth))]
    votes = []
    for _ in range(count):
        one, other = dice.choice(len(truth), 2, replace=False)
        weights = np.exp([truth[one], truth[other], (truth[one] + truth[other]) / 2])
        weights[2] *= ties
        winner = dice.choice(["left", "right", "tie"], p=weights / weights.sum())
        votes += cast(names[one], names[other], str(winner))
    return votes, settings(*names)


# Files


@pytest.mark.parametrize("name", ["votes.csv", "votes.jsonl", "VOTES.CSV"])
def test_what_is_written_is_read_again(tmp_path, name):
    votes = [
        Vote(Pair("cells/a.png", "cells/b.png", AWKWARD, 2**40), "tie", WHEN, "Ä, B"),
        Vote(Pair("cells/b.png", "cells/a.png", "", 0), "left"),
    ]
    write_votes(tmp_path / name, votes)
    ballot = read_votes(tmp_path / name)
    assert (ballot.votes, ballot.problems) == (votes, [])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("p,x,a,b,left", "its seed is 'x'"),
        ("p,-1,a,b,left", "its seed is '-1'"),
        ("p,0,a,b,middle", "its winner is 'middle', and must be left, right or tie"),
        ("p,0,a,b", "it has no 'winner'"),
        ("p,0,,b,left", "it has no 'left'"),
        ("p,0,a,a,left", "both sides are 'a'"),
        ("p,0,a,b,left,noon", "its time is 'noon'"),
        ("p,0,a,b,left,,me,more", "more values than there are columns"),
        ('"p"q,0,a,b,left', "it is no CSV"),
    ],
)
def test_a_bad_line_is_told_with_file_and_line_and_the_rest_is_read(tmp_path, row, said):
    path = tmp_path / "votes.csv"
    path.write_text(f"prompt,seed,left,right,winner,when,who\n{row}\np,0,a,b, Right ,,\n")
    ballot = read_votes(path)
    assert ballot.votes == [Vote(Pair("a", "b", "p", 0), "right")]
    (problem,) = ballot.problems
    assert problem.startswith("votes.csv, line 2: ")
    assert said in problem


@pytest.mark.parametrize("line", ["{", "[1]", "3", '{"left": "a"}'])
def test_a_bad_json_line_is_told_and_the_rest_is_read(tmp_path, line):
    path = tmp_path / "votes.jsonl"
    good = '{"left": "a", "right": "b", "winner": "tie", "seed": 4, "prompt": "p"}'
    path.write_text(f"{good}\n\n{line}\n{good}\n")
    ballot = read_votes(path)
    assert ballot.votes == [Vote(Pair("a", "b", "p", 4), "tie")] * 2
    assert [problem.split(":")[0] for problem in ballot.problems] == ["votes.jsonl, line 3"]


def test_a_spreadsheet_s_semicolons_and_byte_order_mark_are_understood(tmp_path):
    path = tmp_path / "votes.csv"
    path.write_bytes("prompt;seed;left;right;winner;\r\na, b;3;x;y;left;\r\n".encode("utf-8-sig"))
    assert read_votes(path).votes == [Vote(Pair("x", "y", "a, b", 3), "left")]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("votes.csv", b"seed,left,right\n", "no column 'prompt'"),
        ("votes.csv", b"", "no column 'prompt'"),
        ("votes.csv", b"\xff\xfe\x00", "cannot be read"),
        ("votes.xlsx", b"", "kept as .csv or .jsonl"),
        ("votes.jsonl", None, "no such file"),
    ],
)
def test_a_file_that_holds_no_votes_is_refused(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RunError, match=said):
        read_votes(tmp_path / name)


def test_the_same_file_brought_in_twice_counts_once():
    votes = [Vote(Pair("a", "b", "p", 0), "left", WHEN, who) for who in ("x", "y")]
    assert merged(votes, votes) == votes
    assert merged([votes[0]] * 3, [votes[0]]) == [votes[0]] * 3


# Pairs


def test_pairs_are_of_one_prompt_and_seed_and_of_different_settings():
    shown = {one.cell: one for one in grid()}
    for pair in pairs(list(shown.values()), 40, seed=1):
        left, right = shown[pair.left], shown[pair.right]
        assert (left.prompt, left.seed) == (right.prompt, right.seed) == (pair.prompt, pair.seed)
        assert left.setting != right.setting


def test_the_same_seed_gives_the_same_pairs_and_another_seed_others():
    assert pairs(grid(), 10, seed=3) == pairs(grid(), 10, seed=3)
    assert pairs(grid(), 10, seed=3) != pairs(grid(), 10, seed=4)


def test_settings_prompts_and_sides_are_balanced():
    found = pairs(grid(settings=7, prompts=3), 84, seed=0)
    appeared = Counter(cell.split("-")[0] for pair in found for cell in (pair.left, pair.right))
    places = Counter((pair.prompt, pair.seed) for pair in found)
    met = Counter(frozenset(c.split("-")[0] for c in (p.left, p.right)) for p in found)
    left = Counter(pair.left.split("-")[0] for pair in found)
    assert set(appeared.values()) == {24}
    assert set(met.values()) == {4}
    assert max(places.values()) - min(places.values()) <= 2
    assert all(4 <= left[s] <= 20 for s in appeared)


def test_all_settings_are_linked_after_as_many_pairs_as_there_are_less_one():
    shown = grid(settings=30, prompts=1, seeds=1)
    votes = [Vote(pair, "left") for pair in pairs(shown, 29, seed=2)]
    scores = score(votes, {one.cell: one.setting for one in shown})
    assert [len(island) for island in scores.islands] == [30]


def test_no_pair_comes_twice_and_there_are_no_more_than_there_are():
    found = pairs(grid(settings=4, prompts=1, seeds=2), 100, seed=0)
    assert len({frozenset((pair.left, pair.right)) for pair in found}) == len(found) == 12


def test_what_was_voted_on_before_is_counted_and_not_repeated():
    shown = grid(settings=4, prompts=1, seeds=1)
    first = pairs(shown, 3, seed=0)
    second = pairs(shown, 100, seed=0, before=[*first, Pair("gone", "too", "p", 0)])
    assert len(second) == 3
    assert not {frozenset((p.left, p.right)) for p in first} & {
        frozenset((p.left, p.right)) for p in second
    }


# Strengths


def test_two_settings_are_their_log_odds_apart():
    votes = cast("a", "b", "left", 12) + cast("b", "a", "left", 5)
    first, second = score(votes, settings("a", "b"), prior=NO_PRIOR).standings
    assert first.setting == Setting(1, 1.0)
    assert first.strength - second.strength == pytest.approx(math.log(12 / 5), abs=1e-6)
    assert (first.wins, first.losses, first.ties) == (12, 5, 0)


def test_the_interval_of_two_settings_is_that_of_the_log_odds():
    votes = cast("a", "b", "left", 12) + cast("b", "a", "left", 5)
    first, _ = score(votes, settings("a", "b"), prior=NO_PRIOR).standings
    error = math.sqrt(1 / 12 + 1 / 5) / 2
    assert first.high - first.low == pytest.approx(2 * 1.959964 * error, rel=1e-6)
    assert first.high + first.low == pytest.approx(2 * first.strength)


def test_ties_of_two_settings_are_davidson_s_closed_form():
    votes = cast("a", "b", "left", 12) + cast("a", "b", "right", 3) + cast("b", "a", "tie", 8)
    scores = score(votes, settings("a", "b"), prior=NO_PRIOR)
    first, second = scores.standings
    assert first.strength - second.strength == pytest.approx(math.log(12 / 3), abs=1e-6)
    nu = 8 / math.sqrt(12 * 3)
    assert scores.tie == pytest.approx(nu / (2 + nu), abs=1e-6)


@pytest.mark.parametrize("ties", [0.0, 0.8])
def test_strengths_maximise_the_posterior_as_scipy_finds_it(ties):
    votes, cells = simulated([1.0, 0.2, -0.4, -0.8], 120, ties=ties)
    order = [cells[name] for name in cells]

    def cost(x):
        total = (x @ x) / 8
        for vote in votes:
            one, other = (order.index(cells[c]) for c in (vote.pair.left, vote.pair.right))
            raw = [x[one], x[other], x[-1] + (x[one] + x[other]) / 2 if ties else -np.inf]
            total += np.logaddexp.reduce(raw) - raw[("left", "right", "tie").index(vote.winner)]
        return total

    best = minimize(cost, np.zeros(5), method="BFGS", options={"gtol": 1e-7}).x[:4]
    found = {s.setting: s.strength for s in score(votes, cells, prior=2.0).standings}
    assert [found[setting] for setting in order] == pytest.approx(best, abs=1e-4)


def test_intervals_hold_the_truth_as_often_as_they_say():
    truth = np.array([0.9, 0.4, 0.0, -0.4, -0.9])
    held = []
    for seed in range(60):
        votes, cells = simulated(truth, 150, ties=0.5, seed=seed)
        for standing in score(votes, cells, prior=10.0).standings:
            held.append(standing.low <= truth[standing.setting.epoch - 1] <= standing.high)
    assert 0.91 < np.mean(held) < 0.985


def test_the_true_order_is_found_with_enough_votes():
    truth = [1.5, 0.7, 0.0, -0.7, -1.5]
    votes, cells = simulated(truth, 800, ties=0.4, seed=5)
    standings = score(votes, cells).standings
    assert [standing.setting.epoch for standing in standings] == [1, 2, 3, 4, 5]
    assert [s.strength for s in standings] == pytest.approx(truth, abs=0.35)


def test_a_setting_that_never_lost_is_strong_but_finite_and_unsure():
    votes = cast("a", "b", "left", 4) + cast("b", "c", "left", 4) + cast("c", "b", "left", 4)
    first, *others = score(votes, settings("a", "b", "c")).standings
    assert first.setting.epoch == 1
    assert first.preferred > 0.8
    assert first.high - first.low > max(s.high - s.low for s in others)


def test_votes_that_are_all_ties_tell_nothing_apart():
    scores = score(cast("a", "b", "tie", 10), settings("a", "b"))
    assert [s.strength for s in scores.standings] == pytest.approx([0, 0], abs=1e-9)
    assert scores.tie > 0.7


def test_settings_that_no_votes_link_are_put_on_islands_of_their_own():
    votes = cast("a", "b", "left", 3) + cast("b", "c", "left", 2) + cast("x", "y", "left", 9)
    scores = score(votes, settings("a", "b", "c", "x", "y", "z"))
    assert [[s.epoch for s in island] for island in scores.islands] == [[1, 2, 3], [4, 5]]
    assert [s.epoch for s in scores.unseen] == [6]
    for island in (0, 1):
        own = [s.strength for s in scores.standings if s.island == island]
        assert sum(own) == pytest.approx(0, abs=1e-9)


def test_an_island_s_strengths_are_those_it_has_alone():
    here = cast("a", "b", "left", 7) + cast("b", "a", "left", 3)
    there = cast("x", "y", "left", 9) + cast("y", "x", "left", 1)
    both = score(here + there, settings("a", "b", "x", "y")).standings
    alone = score(here, settings("a", "b")).standings
    found = {s.setting: (s.strength, s.low) for s in both}
    assert all(found[s.setting] == pytest.approx((s.strength, s.low)) for s in alone)


def test_votes_on_strange_cells_or_one_setting_twice_do_not_count():
    cells = {**settings("a", "b"), "a2": Setting(1, 1.0)}
    votes = cast("a", "gone", "left") + cast("a", "a2", "left", 2) + cast("a", "b", "left")
    scores = score(votes, cells)
    assert (scores.counted, scores.strange) == (1, 3)


def test_no_votes_are_no_scores():
    scores = score([], settings("a", "b"))
    assert (scores.standings, scores.islands, len(scores.unseen)) == ([], [], 2)


def test_odds_are_even_at_no_difference_and_never_overflow():
    assert [chance(x) for x in (-1e4, 0.0, 1e4)] == [0.0, 0.5, 1.0]
    assert chance(math.log(3)) == pytest.approx(0.75)


# Agreement


@pytest.mark.parametrize(("successes", "trials"), [(0, 5), (5, 5), (7, 12), (40, 100)])
def test_the_interval_of_a_share_is_wilson_s(successes, trials):
    wanted = binomtest(successes, trials).proportion_ci(method="wilson")
    assert wilson(successes, trials) == pytest.approx((wanted.low, wanted.high), abs=1e-9)


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_agreement_is_the_share_of_votes_that_the_better_scored_picture_won(better):
    sign = 1 if better == "higher" else -1
    votes = cast("a", "b", "left", 6) + cast("b", "a", "left", 2) + cast("a", "b", "tie", 3)
    cells = settings("a", "b")
    metric = Measured("m", better, {"a": sign * 2.0, "b": sign * 1.0})
    found = agreement(metric, votes, score(votes, cells), cells)
    assert (found.agreed, found.counted, found.left_out) == (6, 8, 3)
    assert (found.share, found.tau) == (0.75, pytest.approx(1))
    assert found.low < 0.75 < found.high


def test_pictures_without_a_number_or_with_equal_ones_say_nothing():
    votes = cast("a", "b", "left", 4) + cast("b", "c", "left", 4)
    cells = settings("a", "b", "c")
    metric = Measured("m", "higher", {"a": 1.0, "b": 1.0, "c": None})
    found = agreement(metric, votes, score(votes, cells), cells)
    assert (found.share, found.counted, found.left_out, found.tau) == (None, 0, 8, None)
    assert (found.low, found.high, found.settings) == (0.0, 1.0, 2)


def test_tau_is_kendall_s_between_strengths_and_means_over_a_setting_s_pictures():
    truth = [1.5, 0.5, -0.5, -1.5]
    votes, cells = simulated(truth, 200)
    scores = score(votes, cells)
    values = {"0": 5.0, "1": 9.0, "2": 3.0, "3": 1.0}
    twice = {**cells, "3 again": cells["3"]}
    found = agreement(Measured("m", "higher", {**values, "3 again": 7.0}), votes, scores, twice)
    strengths = {s.setting.epoch: s.strength for s in scores.standings}
    wanted = kendalltau([strengths[e] for e in (1, 2, 3, 4)], [5.0, 9.0, 3.0, 4.0]).statistic
    assert found.tau == pytest.approx(wanted)


# From a report


def test_a_report_gives_the_pictures_to_vote_on_and_their_numbers():
    cell = {"epoch": 20, "strength": 0.4, "prompt": 0, "seed": 1, "scores": {"ssim": 0.7}}
    report = {
        "prompts": [{"text": "a fox", "kind": "trigger"}],
        "seeds": [7, 8],
        "metrics": [{"name": "ssim", "better": "neither"}],
        "cells": [{**cell, "picture": "cells/a.png"}, {**cell, "picture": None}],
        "controls": [{"prompt": 0, "seed": 1, "picture": "cells/c.png", "scores": {}}],
    }
    assert shown_in(report) == [
        Shown("cells/a.png", Setting(20, 0.4), "a fox", 8),
        Shown("cells/c.png", Setting(0, 0.0), "a fox", 8),
    ]
    (metric,) = measured_in(report)
    assert metric.values == {"cells/a.png": 0.7, "cells/c.png": None}
