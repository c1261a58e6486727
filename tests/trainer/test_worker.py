"""How a worker process ends, and what is left of that in the run's folder."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from tests.trainer.training import tiny_job
from trainer import worker
from trainer.core.errors import BUG, DatasetError, ModelError, ResourceError
from trainer.core.events import Ended, write_to
from trainer.job.run import Run
from trainer.train import Result


@pytest.fixture
def run(tiny_sd, pictures, tmp_path):
    return Run.create(tiny_job(tiny_sd, pictures(count=2), tmp_path / "runs"))


def fake_training(monkeypatch, act):
    monkeypatch.setattr("trainer.train.train", lambda run, emit, stop, **kwargs: act(run))


def leave_problem(run: Run) -> None:
    facts = {"problem": "a caption is bad", "where": "x", "hint": "y", "class": "DatasetError"}
    (run.path / "problem.json").write_text(json.dumps(facts), encoding="utf-8")


def last_word(run: Run) -> Ended:
    event = [told.event for told in run.events()][-1]
    assert isinstance(event, Ended)
    return event


def broken_connection(run):
    raise RuntimeError("connection closed by peer")


def test_what_another_process_failed_of_is_told_when_its_connection_breaks(run, monkeypatch):
    def act(run):
        leave_problem(run)
        broken_connection(run)

    fake_training(monkeypatch, act)
    assert worker.main(run.path) == DatasetError.exit_code
    assert last_word(run).problem == "a caption is bad"


def test_a_problem_of_an_earlier_attempt_is_not_told_again(run, monkeypatch):
    leave_problem(run)
    fake_training(monkeypatch, broken_connection)
    assert worker.main(run.path) == BUG
    assert "connection closed" in last_word(run).problem


def test_the_first_process_tells_its_own_problem_before_that_of_another(run, monkeypatch):
    def act(run):
        leave_problem(run)
        raise ModelError("the model is damaged")

    fake_training(monkeypatch, act)
    assert worker.main(run.path) == ModelError.exit_code
    assert last_word(run).problem == "the model is damaged"


def test_a_further_process_leaves_what_it_failed_of(run, monkeypatch):
    def act(run):
        raise DatasetError("a caption is bad")

    monkeypatch.setenv("RANK", "1")
    fake_training(monkeypatch, act)
    assert worker.main(run.path) == DatasetError.exit_code
    assert "a caption is bad" in (run.path / "problem.json").read_text(encoding="utf-8")


def test_a_further_process_prepares_as_one(run, monkeypatch):
    asked = {}
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("trainer.train.train", lambda run, emit, stop, **how: asked.update(how))
    worker.main(run.path)
    assert asked == {"follows": True}


def fill_disk_for_events(monkeypatch):
    opened = Path.open

    def full(path, mode="r", *args, **kwargs):
        if path.name == "events.jsonl" and mode in ("a", "rb+"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return opened(path, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", full)


@pytest.mark.parametrize("status", ["failed", "completed", "stopped"])
def test_a_disk_too_full_for_events_gives_its_exit_code_and_a_closed_run(run, monkeypatch, status):
    def act(run):
        write_to(run.events_path)(Ended("completed"))
        fill_disk_for_events(monkeypatch)
        if status == "failed":
            write_to(run.events_path)(Ended("completed"))
        return Result(status, 1)

    fake_training(monkeypatch, act)
    assert worker.main(run.path) == ResourceError.exit_code
    assert run.status() == status


def test_a_failure_keeps_its_exit_code_though_the_disk_is_full(run, monkeypatch):
    def act(run):
        fill_disk_for_events(monkeypatch)
        raise ModelError("the model is damaged")

    fake_training(monkeypatch, act)
    assert worker.main(run.path) == ModelError.exit_code
    assert run.status() == "failed"
