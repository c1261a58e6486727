"""The commands, as a person uses them; runs are stand-ins."""

from __future__ import annotations

import json
import sys

import pytest

from app import cli
from app.queue.store import Store

pytestmark = pytest.mark.usefixtures("stand_ins")


@pytest.fixture
def sweetspot(monkeypatch, tmp_path, capfd, yard):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setattr("app.queue.worker._LOOK_SECONDS", 0.05)

    def call(*words) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sweetspot", *map(str, words)])
        code = cli.run()
        said = capfd.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def jobs(tmp_path):
    folder = tmp_path / "jobs"
    folder.mkdir()
    for name in ("one", "two", "fail"):
        text = f'name = "{name}"\ndataset.folder = "pictures"\n[compute]\ndevice = "cpu"\n'
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    return folder


def rows(out: str) -> dict[str, dict]:
    return {row["name"]: row for row in json.loads(out)["jobs"]}


# Batch


def test_a_batch_does_all_and_its_exit_code_says_how_many_failed(sweetspot, jobs, tmp_path):
    code, out, err = sweetspot("batch", jobs, "--device", "cpu", "--report", "told.md")
    assert code == 101
    assert "2 completed, 1 failed" in out
    assert "pictures: there is no picture" in out
    (folder,) = (tmp_path / "runs" / "batches").iterdir()
    assert f"batch folder: {folder}" in err
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("<tr><td>") == 3
    assert "there is no picture" in page
    assert "| 1 | fail | train | failed |" in (tmp_path / "told.md").read_text(encoding="utf-8")


def test_a_batch_tells_scripts_all_in_json(sweetspot, jobs):
    code, out, _ = sweetspot("batch", jobs, "--device", "cpu", "--json")
    told = json.loads(out)
    assert (code, told["exit_code"]) == (101, 101)
    assert told["counts"] == {"completed": 2, "failed": 1}
    failed = rows(out)["fail"]
    assert (failed["exit_code"], failed["hint"]) == (3, "add some")
    assert failed["folder"].endswith("-fail")


def test_a_batch_without_failures_ends_with_0(sweetspot, jobs):
    (jobs / "fail.toml").unlink()
    assert sweetspot("batch", jobs, "--device", "cpu")[0] == 0


def test_a_batch_goes_on_where_it_was_and_does_nothing_twice(sweetspot, jobs, tmp_path, yard):
    sweetspot("batch", jobs, "--device", "cpu")
    (folder,) = (tmp_path / "runs" / "batches").iterdir()
    before = yard.steps()
    code, out, _ = sweetspot("batch", "--resume", folder, "--device", "cpu")
    assert code == 101
    assert "2 completed, 1 failed" in out
    assert yard.steps() == before


def test_a_batch_that_was_stopped_says_how_to_go_on(sweetspot, jobs, tmp_path, monkeypatch):
    from app.queue.worker import Worker

    monkeypatch.setattr(Worker, "work", lambda self, stay: False)
    code, out, _ = sweetspot("batch", jobs, "--device", "cpu")
    (folder,) = (tmp_path / "runs" / "batches").iterdir()
    assert code == 75
    assert f"to go on: sweetspot batch --resume {folder}" in out


def test_a_dry_run_shows_every_run_of_a_matrix_with_its_cost(
    sweetspot, tiny_sd, pictures, tmp_path
):
    path = tmp_path / "grid.toml"
    path.write_text(
        f"""
        name = "fox"
        model = {{ base = "{tiny_sd.as_posix()}", resolution = 64 }}
        dataset = {{ folder = "{pictures(count=4).name}", bucket_step = 16 }}
        compute = {{ device = "cpu", precision = "fp32" }}
        schedule = {{ epochs = 2 }}
        [matrix]
        "adapter.rank" = [2, 4]
        "schedule.batch_size" = [1, 2]
        """,
        encoding="utf-8",
    )
    code, out, _ = sweetspot("batch", path, "--dry-run")
    assert code == 0
    for name in ("fox-r2-bs1", "fox-r2-bs2", "fox-r4-bs1", "fox-r4-bs2"):
        assert name in out
    assert "4 jobs: 24 steps" in out
    assert not (tmp_path / "runs").exists()
    code, out, _ = sweetspot("queue", "add", path, "--dry-run", "--json")
    assert json.loads(out)["total"]["steps"] == 24
    assert [run["steps"] for run in json.loads(out)["runs"]] == [8, 4, 8, 4]


def test_a_dry_run_tells_what_would_be_refused(sweetspot, jobs):
    code, out, _ = sweetspot("batch", jobs, "--dry-run")
    assert code == 103
    assert "3 of them would be refused" in out


def test_jobs_with_one_name_are_told_and_all_done(sweetspot, jobs, yard):
    again = (jobs / "one.toml").read_text(encoding="utf-8")
    (jobs / "three.toml").write_text(again, encoding="utf-8")
    code, _, err = sweetspot("batch", jobs, "--device", "cpu")
    assert code == 101
    assert "2 jobs are called 'one'; their run folders are numbered" in err
    assert len([run for run in yard.run_folders() if "-one" in run]) == 2


# Queue


def test_a_queue_is_filled_ordered_worked_on_and_cleared(sweetspot, jobs):
    assert sweetspot("queue", "add", jobs / "one.toml", jobs / "two.toml")[1] == (
        "job 1: one\njob 2: two\n"
    )
    sweetspot("queue", "add", jobs / "fail.toml", "--priority", "5")
    assert sweetspot("queue", "move", "two", "--before", "1")[1] == (
        "job 2 two is number 2 of those waiting\n"
    )
    code, out, _ = sweetspot("queue", "list", "--json")
    assert list(rows(out)) == ["fail", "two", "one"]
    code, _, err = sweetspot("queue", "work", "--device", "cpu")
    assert code == 0
    assert [line.split()[3].rstrip(":") for line in err.splitlines() if "begins" in line] == [
        *("fail", "two", "one"),
    ]
    assert "2 completed, 1 failed" in sweetspot("queue", "list")[1]
    assert sweetspot("queue", "retry", "--failed")[1] == "job 3 fail: waits again\n"
    assert sweetspot("queue", "clear")[1] == "2 jobs forgotten\n"
    assert list(rows(sweetspot("queue", "list", "--json")[1])) == ["fail"]
    assert sweetspot("queue", "cancel", "fail")[1] == "job 3 fail: cancelled\n"
    assert sweetspot("queue", "cancel", "fail")[0] == 0


def test_a_queued_job_does_not_change_with_its_file(sweetspot, jobs, yard):
    sweetspot("queue", "add", jobs / "one.toml")
    (jobs / "one.toml").unlink()
    assert sweetspot("queue", "work", "--device", "cpu")[0] == 0
    assert "completed" in sweetspot("queue", "list")[1]


def test_a_job_is_shown_with_its_settings(sweetspot, jobs):
    sweetspot("queue", "add", jobs / "one.toml", "--set", "adapter.rank=3")
    out = sweetspot("queue", "show", "one")[1]
    assert "state" in out
    assert "rank = 3" in out
    told = json.loads(sweetspot("queue", "show", "1", "--json")[1])
    assert told["settings"]["adapter"]["rank"] == 3


def test_a_paused_queue_says_so(sweetspot, jobs):
    sweetspot("queue", "add", jobs)
    sweetspot("queue", "pause")
    assert "the queue is paused" in sweetspot("queue", "list")[1]
    sweetspot("queue", "resume")
    assert "paused" not in sweetspot("queue", "list")[1]


def test_a_report_of_the_queue_is_written(sweetspot, jobs, tmp_path):
    sweetspot("queue", "add", jobs)
    sweetspot("queue", "list", "--report", "queue.html")
    assert "3 queued" in (tmp_path / "queue.html").read_text(encoding="utf-8")


def test_what_names_hold_is_not_taken_for_markup(sweetspot, jobs, tmp_path):
    with Store(tmp_path / "runs" / "queue") as store:
        from tests.app.queue.test_store import asked

        store.add([asked("<b>|[red]")])
    assert "<b>|[red]" in sweetspot("queue", "list")[1]
    sweetspot("queue", "list", "--report", "queue.html")
    assert "&lt;b&gt;|[red]" in (tmp_path / "queue.html").read_text(encoding="utf-8")
    sweetspot("queue", "list", "--report", "queue.md")
    assert r"&lt;b>\|[red]" in (tmp_path / "queue.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["batch"], 2, "name job files or folders"),
        (["batch", "nothing.toml"], 2, "there is no such file"),
        (["batch", "--resume", "nothing"], 9, "there is no queue here"),
        (["queue", "list", "--queue", "nothing"], 9, "`sweetspot queue add JOB.toml` makes one"),
        (["queue", "list", "--state", "tired"], 2, "there is no state 'tired'"),
        (["queue", "show", "9"], 9, "there is no job '9'"),
        (["queue", "move", "one"], 2, "one of --first"),
        (["queue", "retry", "one"], 9, "is queued, not failed or stopped"),
        (["queue", "retry"], 2, "name jobs, or --failed"),
        (["queue", "clear", "--state", "running"], 2, "a running job cannot be cleared"),
        (["queue", "work", "--device", "cuda:7"], 2, "'cuda' device"),
        (["queue", "work", "--device", "toaster"], 2, "there is no device 'toaster'"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_an_exit_code(sweetspot, jobs, words, code, said):
    sweetspot("queue", "add", jobs / "one.toml")
    found, _, err = sweetspot(*words)
    assert found == code, err
    assert said in " ".join(err.split())
    assert "Traceback" not in err


@pytest.mark.parametrize("damage", ["newer", "damaged"])
def test_a_queue_that_cannot_be_read_is_one_sentence(sweetspot, jobs, tmp_path, damage):
    import sqlite3

    sweetspot("queue", "add", jobs / "one.toml")
    path = tmp_path / "runs" / "queue" / "queue.sqlite"
    if damage == "newer":
        raw = sqlite3.connect(path)
        raw.execute("PRAGMA user_version = 99")
        raw.close()
    else:
        path.write_bytes(b"\0" * 5000)
    code, _, err = sweetspot("queue", "list")
    assert code == 9
    assert "Traceback" not in err
    assert ("version 99" if damage == "newer" else "damaged") in err
