import errno
import threading
from pathlib import Path

import pytest

from trainer.core.errors import ConfigError, ResourceError, RunError
from trainer.core.events import Ended, Stepped, end_last_line, write_to
from trainer.job.file import parse_job
from trainer.job.run import Run, runs_in


@pytest.fixture
def job(tmp_path):
    return parse_job({"name": "fox", "runs": str(tmp_path), "dataset": {"folder": "x"}})


def test_runs_of_one_name_started_at_once_get_a_folder_each(job):
    made = []
    threads = [threading.Thread(target=lambda: made.append(Run.create(job))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({run.path for run in made}) == 8
    assert all(run.job.name == "fox" for run in made)


def test_a_run_records_the_seed_that_it_drew(job):
    assert job.schedule.seed is None
    assert Run.create(job).job.schedule.seed is not None


def test_only_one_process_works_on_a_run(job):
    run = Run.create(job)
    with run.lock(), pytest.raises(RunError, match="another process works on this run"):
        run.lock()


def test_a_worker_that_is_gone_without_a_word_died(job, tmp_path):
    run = Run.create(job)
    assert run.status() == "waiting"
    run.claim()
    assert run.status() == "running"
    (run.path / "state.json").write_text('{"pid": 999999999, "born": 1, "status": "running"}')
    assert run.status() == "died"
    run.close("stopped")
    assert run.status() == "stopped"


def test_a_line_that_a_killed_process_left_half_written_is_passed_over(job):
    run = Run.create(job)
    emit = write_to(run.events_path)
    emit(Stepped(1, 1, 0.5, 1e-4, 1.0))
    with run.events_path.open("a") as file:
        file.write('{"kind": "Stepped", "st')
    assert len(list(run.events())) == 1
    run.claim()
    emit(Ended("completed"))
    assert [type(told.event).__name__ for told in run.events()] == ["Stepped", "Ended"]


def test_a_request_to_stop_outlives_the_start_of_the_worker_and_is_taken_back_by_the_starter(job):
    run = Run.create(job)
    run.ask_to_stop()
    run.claim()
    assert run.stop_asked()
    run.forget_stop()
    assert not run.stop_asked()


def test_the_effective_job_has_absolute_folders_and_a_cache_beside_the_runs(job, monkeypatch):
    monkeypatch.chdir(job.runs)
    run = Run.create(job.model_copy(update={"runs": Path("runs")}))
    assert run.job.runs == job.runs / "runs"
    assert run.job.cache_folder == job.runs / "runs" / "cache"


@pytest.mark.parametrize("line", ["123", "[]", '{"kind": "Stepped"}', '{"kind": "FromTheFuture"}'])
def test_an_odd_line_does_not_stop_a_watcher(job, line):
    run = Run.create(job)
    run.events_path.write_text(line + "\n")
    assert list(run.events()) == []


def test_a_number_that_json_has_no_word_for_is_told_as_nothing(job):
    run = Run.create(job)
    write_to(run.events_path)(Stepped(1, 1, 0.5, 1e-4, float("inf")))
    assert "Infinity" not in run.events_path.read_text()
    (told,) = run.events()
    assert told.event.gradient is None


def test_a_disk_that_is_full_for_events_is_one_sentence():
    with pytest.raises(ResourceError, match="the disk is full"):
        write_to(Path("/dev/full"))(Ended("completed"))


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="this is no run folder"):
        Run.open(tmp_path)


def test_a_runs_folder_that_cannot_be_made_is_one_sentence(job, tmp_path):
    (tmp_path / "file").write_text("")
    job = job.model_copy(update={"runs": tmp_path / "file" / "runs"})
    with pytest.raises(ResourceError, match="this place cannot be written"):
        Run.create(job)


def test_a_run_among_its_own_pictures_is_refused_before_anything_is_made(job):
    inside = job.model_copy(update={"runs": job.dataset.folder / "runs"})
    with pytest.raises(ConfigError, match="lies inside the folder of pictures"):
        Run.create(inside)
    assert not inside.runs.exists()


def test_runs_are_listed_newest_first(job):
    made = [Run.create(job) for _ in range(3)]
    assert {run.name for run in runs_in(job.runs)} == {run.name for run in made}


@pytest.mark.parametrize(
    "change", ["compute.packed=true", "adapter.rank=2", "name=cat", "schedule.epochs=9"]
)
def test_a_resumed_run_keeps_what_decides_its_weights_and_says_which_setting(job, change):
    run = Run.create(job)
    before = run.job_path.read_bytes()
    with pytest.raises(ConfigError, match="a run that is resumed keeps this setting") as caught:
        run.change(["samples.every=2", change])
    assert caught.value.where == change.partition("=")[0]
    assert run.job_path.read_bytes() == before


def test_a_resumed_run_may_be_computed_sampled_and_saved_in_another_way(job):
    run = Run.create(job)
    run.change(
        [
            "compute.device=cpu",
            "compute.precision=fp32",
            "compute.processes=2",
            "compute.gradient_checkpointing=true",
            "samples.every=3",
            "save.every_steps=4",
        ]
    )
    compute = run.job.compute
    assert (compute.device, compute.processes, compute.gradient_checkpointing) == ("cpu", 2, True)
    assert (run.job.samples.every, run.job.save.every_steps) == (3, 4)


def test_a_disk_that_is_full_for_the_end_of_a_line_is_one_sentence(job, monkeypatch):
    path = job.runs / "events.jsonl"
    path.write_text("half")

    def full(path, mode):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(ResourceError, match="the disk is full"):
        end_last_line(path)
