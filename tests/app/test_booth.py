"""Votes one at a time: kept at once, taken back, and nothing else is touched."""

from __future__ import annotations

import json

import pytest

from app import booth
from tests.analysis.report_data import Made, write_analysis
from trainer.core.errors import RunError


@pytest.fixture
def place(tmp_path):
    made = Made(epochs=(1, 2), strengths=(0.5, 1.0), seeds=(1,), side=8, broken=None)
    return write_analysis(tmp_path / "analysis", made)


def vote(place, winner):
    pair = booth.turn(place)["pairs"][0]
    booth.cast(place, pair, winner)
    return pair


def test_a_vote_is_on_disk_at_once_and_its_pair_does_not_come_again(place):
    pair = vote(place, "left")
    line = json.loads((place / "votes.jsonl").read_text(encoding="utf-8"))
    assert (line["left"], line["winner"]) == (pair["left"], "left")
    assert pair not in booth.turn(place)["pairs"]


def test_the_same_pair_is_shown_after_a_reload(place):
    vote(place, "tie")
    assert booth.turn(place) == booth.turn(place)


def test_the_last_vote_is_taken_back_and_lines_that_are_none_stay(place):
    vote(place, "left")
    with (place / "votes.jsonl").open("a", encoding="utf-8") as file:
        file.write("a note of mine")  # as a kill leaves it: without an end
    vote(place, "right")
    booth.take_back(place)
    lines = (place / "votes.jsonl").read_text(encoding="utf-8").splitlines()
    assert [line.startswith("{") for line in lines] == [True, False]
    booth.take_back(place)
    with pytest.raises(RunError, match="no vote"):
        booth.take_back(place)


@pytest.mark.parametrize(
    ("change", "winner"),
    [({"left": "../../secret.png"}, "left"), ({"right": "cells/none.png"}, "left"), ({}, "both")],
)
def test_what_is_no_vote_on_this_analysis_is_refused(place, change, winner):
    pair = {**booth.turn(place)["pairs"][0], **change}
    with pytest.raises(RunError):
        booth.cast(place, pair, winner)
    assert not (place / "votes.jsonl").exists()


def test_results_tell_who_is_liked_and_which_metrics_agree(place):
    for _ in range(6):
        vote(place, "left")
    found = booth.results(place)
    assert found["sentences"][0] == "6 votes count"
    assert all(0 <= one["from"] <= one["preferred"] <= one["to"] <= 1 for one in found["standings"])
    assert {one["metric"] for one in found["agreements"]} <= {
        "fidelity",
        "brisque",
        "diversity",
        "ssim",
    }
