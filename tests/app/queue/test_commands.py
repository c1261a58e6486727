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


HUGE = "9" * 23


@pytest.fixture
def elsewhere(jobs):
    """A job whose device this machine has not, as another machine's settings name it."""
    text = (jobs / "one.toml").read_text(encoding="utf-8").replace('"cpu"', '"cuda:57"')
    (jobs.parent / "card.toml").write_text(text, encoding="utf-8")
    return jobs.parent / "card.toml"


def test_a_batch_refuses_a_device_that_is_not_there_and_leaves_nothing(
    sweetspot, jobs, elsewhere, tmp_path
):
    for words in ([elsewhere, "--device", "cpu"], [jobs, "--device", "cuda:57"]):
        code, _, err = sweetspot("batch", *words)
        assert code == 2
        assert "cuda" in err
        assert not (tmp_path / "runs" / "batches").exists()
    assert "job 'one': device 'cuda:57'" in sweetspot("batch", elsewhere, "--device", "cpu")[2]


def test_a_batch_says_which_jobs_wait_for_another_device(
    sweetspot, jobs, elsewhere, tmp_path, monkeypatch
):
    monkeypatch.setattr("app.batch.require_devices", lambda asked: None)
    code, out, _ = sweetspot("batch", elsewhere, jobs / "two.toml", "--device", "cpu")
    (folder,) = (tmp_path / "runs" / "batches").iterdir()
    assert code == 75
    assert "1 completed, 1 queued" in out
    waits = f"1 job waits for a worker on cuda:57: sweetspot queue work --queue {folder}"
    assert f"{waits} --device cuda:57" in out
    assert "to go on" not in out


def test_a_worker_says_which_jobs_wait_for_another_device(sweetspot, elsewhere):
    sweetspot("queue", "add", elsewhere)
    code, _, err = sweetspot("queue", "work", "--device", "cpu")
    assert code == 0
    assert "1 job waits for a worker on cuda:57: sweetspot queue work --queue " in err
    assert "--device cuda:57" in err


def test_a_report_that_cannot_be_written_is_refused_before_any_work(sweetspot, jobs, tmp_path):
    (tmp_path / "file").write_text("")
    for place in ("file/told.md", jobs):
        code, _, err = sweetspot("batch", jobs, "--device", "cpu", "--report", place)
        assert code == 6
        assert "the report cannot be written here" in err
        assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("as_json", [False, True])
def test_a_report_that_fails_at_the_end_loses_nothing_else(
    sweetspot, jobs, tmp_path, monkeypatch, as_json
):
    monkeypatch.setattr("app.batch._require_place", lambda report: None)
    (tmp_path / "file").write_text("")
    words = ["--report", "file/told.md", *(["--json"] if as_json else [])]
    code, out, err = sweetspot("batch", jobs, "--device", "cpu", *words)
    assert code == 101
    assert json.loads(out)["counts"]["completed"] == 2 if as_json else "2 completed" in out
    assert "the report was not written" in err
    (folder,) = (tmp_path / "runs" / "batches").iterdir()
    assert (folder / "report.html").is_file()


def test_a_search_in_a_job_file_is_left_out(sweetspot, jobs):
    with (jobs / "one.toml").open("a", encoding="utf-8") as file:
        file.write("[search]\ntrials = 3\n")
    assert sweetspot("queue", "add", jobs / "one.toml")[1] == "job 1: one\n"


def test_with_nothing_failed_there_is_nothing_to_retry(sweetspot, jobs):
    sweetspot("queue", "add", jobs / "one.toml")
    assert sweetspot("queue", "retry", "--failed")[:2] == (0, "no job has failed\n")


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
        (["queue", "show", HUGE], 9, f"there is no job '{HUGE}'"),
        (["queue", "show", "9" * 5000], 9, "there is no job '999"),
        (["queue", "cancel", HUGE], 9, "there is no job"),
        (["queue", "retry", HUGE], 9, "there is no job"),
        (["queue", "move", "one", "--before", HUGE], 9, "there is no job"),
        (["queue", "move", "one", "--after", HUGE], 9, "there is no job"),
        (["queue", "move", "one", "--priority", HUGE], 2, "Input should be"),
        (["queue", "list", "--limit", HUGE], 2, "Input should be"),
        (["queue", "add", "jobs", "--priority", f"-{HUGE}"], 2, "Input should be"),
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
