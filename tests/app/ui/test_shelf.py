"""What lists are made from: which runs there are and how each stands, however damaged."""

from __future__ import annotations

import json
import os
import random
import time

import pytest

from app.discarding import discard, restore
from app.ui.desk import Desk
from app.ui.rows import Rows
from app.ui.story import Stories, Story, thinned
from app.ui.tails import since
from tests.app.ui.told_runs import add, ended, running_here, started, stepped, told_run, whole_run
from trainer.core.errors import RunError
from trainer.core.events import parse
from trainer.job.run import Run


@pytest.fixture
def desk(runs, home):
    return Desk(runs)


def names(desk) -> list[str]:
    return [entry.work.name for entry in desk.entries()]


def test_runs_are_listed_newest_first_and_found_or_missed_at_once(desk, runs):
    for number, name in enumerate(("old", "new")):
        os.utime(whole_run(runs, name) / "job.toml", (1e9 + number, 1e9 + number))
    assert names(desk) == ["new", "old"]
    (runs / "new").rename(runs / "elsewhere")
    desk.look_again()
    assert names(desk) == ["elsewhere", "old"]


def test_a_process_that_starts_and_one_that_dies_are_seen(desk, runs):
    folder = whole_run(runs, "fox")
    assert [entry.status for entry in desk.entries()] == ["completed"]
    running_here(folder)
    desk.look_again()
    assert [work.name for work in desk.busy()] == ["fox"]
    state = {"pid": 2**22 + 1, "born": 1.0, "status": "running"}
    (folder / "state.json").write_text(json.dumps(state))
    desk.look_again()
    assert [entry.status for entry in desk.entries()] == ["died"]


def test_a_list_is_sent_what_changed_and_no_more(desk, runs):
    whole_run(runs, "still")
    folder = told_run(runs, "grows", started(), stepped(1))
    running_here(folder)
    rows = Rows(desk)
    first = rows.since("")
    assert {row["name"] for row in first["rows"]} == {"still", "grows"}
    add(folder, stepped(2))
    desk.look_again()
    second = rows.since(first["seen"])
    assert [(row["name"], row["step"]) for row in second["rows"]] == [("grows", 2)]
    assert rows.since(second["seen"])["rows"] == []
    assert len(Rows(desk).since(second["seen"])["rows"]) == 2, "another server knows nothing"


def test_a_thousand_runs_are_looked_through_in_a_fraction_of_a_second(desk, runs):
    for number in range(1000):
        whole_run(runs, f"run-{number:04d}")
    rows = Rows(desk)
    seen = rows.since("")["seen"]
    began = time.process_time()
    for _ in range(5):
        desk.look_again()
        assert rows.since(seen)["rows"] == []
    assert (time.process_time() - began) / 5 < 0.15


def test_steps_that_are_told_again_count_as_told_last():
    story = Story()
    for event in (started(), *(stepped(n, 0.5) for n in (1, 2, 3, 4)), started(resumed_from=2)):
        story.take(parse(json.dumps(event)))
    assert [step for step, _, _ in story.steps] == [1, 2]
    story.take(parse(json.dumps(stepped(3, 0.25))))
    assert story.steps[-1][:2] == (3, 0.25)


def test_a_long_curve_keeps_its_spikes_and_its_mean():
    chance = random.Random(1)
    steps = [(n, chance.uniform(0.1, 0.2), 1e-4) for n in range(1, 20_001)]
    steps[777] = (778, 9.0, 1e-4)
    curve = thinned(steps, 800)
    assert len(curve["step"]) <= 1600
    assert curve["step"] == sorted(curve["step"])
    assert max(curve["loss"]) == 9.0
    assert sum(curve["span"]) == 20_000
    means = sum(m * n for m, n in zip(curve["mean"], curve["span"], strict=True)) / 20_000
    assert means == pytest.approx(sum(loss for _, loss, _ in steps) / 20_000)


def test_a_short_curve_is_told_exactly():
    curve = thinned([(1, 0.5, 1e-4), (2, None, 1e-4), (3, 0.25, 1e-4)], 800)
    assert curve["loss"] == curve["mean"] == [0.5, None, 0.25]
    assert curve["span"] == [1, 1, 1]


DAMAGED = (
    b"\x00\xff\xfe garbage \x80\n",
    b"{\n",
    b"[1, 2]\n",
    b'{"kind": ["Stepped"]}\n',
    b'{"kind": "Stepped", "step": "three", "epoch": 1, "loss": 1, "rate": 1, "gradient": 1}\n',
    b'{"kind": "Stepped", "step": 3, "epoch": 1, "loss": NaN, "rate": 1e999, "gradient": 1}\n',
    b'{"kind": "Stepped", "step": 3, "epoch": 1, "loss": 1, "rate": 1, "gradient": 1, '
    b'"seconds": {"data": "long"}}\n',
    b'{"kind": "Sampled", "step": 0, "epoch": 0, "prompt": 5, "seed": 1, "path": "x.png"}\n',
    b'{"kind": "FromTheFuture", "time": "soon"}\n',
    b'{"kind": "Kept", "step": ' + b"9" * 5000 + b"}\n",
    b"[" * 50_000 + b"\n",
    b"x" * 3_000_000 + b"\n",
)


@pytest.mark.parametrize("damage", DAMAGED, ids=[line[:24].decode("latin1") for line in DAMAGED])
def test_what_is_damaged_in_an_events_file_is_passed_over(desk, runs, damage):
    folder = told_run(runs, "fox", started(), stepped(1), status="stopped")
    with (folder / "events.jsonl").open("ab") as file:
        file.write(damage)
    add(folder, stepped(2), ended("stopped"))
    run = Run.open(folder)
    assert [row["step"] for row in Rows(desk).since("")["rows"]] == [2]
    assert [step for step, _, _ in Stories()._story(run).steps] == [1, 2]
    told, _ = since(run, 0)
    json.dumps(told, allow_nan=False)
    assert [event["kind"] for event in told] == ["Started", "Stepped", "Stepped", "Ended"]


def test_a_half_written_line_is_read_when_it_is_whole(desk, runs):
    folder = told_run(runs, "fox", started())
    run, stories = Run.open(folder), Stories()
    line = json.dumps({"time": 1.0, **stepped(1)})
    with (folder / "events.jsonl").open("a") as file:
        file.write(line[:40])
        file.flush()
        assert stories.tell(run)["count"] == 0
        file.write(line[40:] + "\n")
    assert stories.tell(run)["count"] == 1


@pytest.mark.parametrize("state", ["", "[]", "{}", '{"status": 5}', '{"status": "running"}', "\0"])
def test_a_damaged_state_is_no_reason_to_fail(desk, runs, state):
    folder = whole_run(runs, "fox")
    (folder / "state.json").write_text(state)
    assert next(entry.status for entry in desk.entries()) in ("waiting", "died")


@pytest.mark.parametrize("name", ["", ".", "..", "../fox", "\0", "x" * 5000, "/etc", "link", "~"])
def test_a_name_that_is_no_run_of_the_folder_is_refused(desk, runs, tmp_path, name):
    whole_run(tmp_path, "fox")
    (runs / "link").symlink_to(tmp_path / "fox")
    with pytest.raises(RunError):
        desk.run(name)
    assert names(desk) == []


def test_a_run_that_is_at_work_is_not_put_away(desk, runs):
    folder = whole_run(runs, "fox")
    running_here(folder)
    with pytest.raises(RunError, match="stop it first"):
        discard(Run.open(folder))


def test_a_second_run_of_a_name_finds_room_in_the_trash_and_out_of_it(desk, runs):
    for expected in ("fox", "fox-2"):
        assert discard(Run.open(whole_run(runs, "fox"))).name == expected
    assert restore(runs, "fox").name == "fox"
    assert restore(runs, "fox-2").name == "fox-2"
    with pytest.raises(RunError):
        restore(runs, "../runs")
