"""A worker brings jobs to their end; killed anywhere, the next one finishes what it left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from app.alive import host
from app.queue import claims, worker
from app.queue.claims import Settled
from app.queue.holder import Holder, Patience
from app.queue.store import Store
from app.queue.worker import Worker
from tests.app.queue.stand_in import STEPS
from tests.app.queue.working import SPOTS
from trainer.core.errors import ResourceError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
KILLED = -signal.SIGKILL
PLENTY = 30.0


def until(true, what: str) -> None:
    deadline = time.monotonic() + PLENTY
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def drain(yard, **how) -> list[str]:
    """Work in this process until nothing is left; what the worker said."""
    said: list[str] = []
    with Store(yard.queue) as store:
        Worker(store, "cpu", say=said.append, **how).work()
    return said


def each_step_once(yard, name: str, run: str) -> bool:
    return [step for at, step in yard.steps() if at == run] == list(range(1, STEPS + 1))


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(worker, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(worker, "BEAT_SECONDS", 0.05)


def test_a_job_that_fails_does_not_stop_the_others(yard, stand_ins, quick):
    yard.add("one", "fail", "two")
    drain(yard)
    assert yard.states() == {"one": "completed", "fail": "failed", "two": "completed"}
    (failed,) = [entry for entry in yard.entries() if entry.name == "fail"]
    assert (failed.exit_code, failed.problem, failed.place_of_problem, failed.hint) == (
        *(3, "there is no picture", "pictures", "add some"),
    )
    assert all(entry.seconds > 0 for entry in yard.entries())


def test_only_jobs_for_a_device_that_no_worker_has_are_told_of(yard, stand_ins, quick):
    cards = [replace(yard.asked(f"job-{n}"), device=f"cuda:{n}") for n in (0, 1, 1)]
    with Store(yard.queue) as store:
        store.add(cards)
        claims.enter(store, "cuda:0", share=False)
    (line,) = drain(yard)
    assert line == (
        f"2 jobs wait for a worker on cuda:1: sweetspot queue work --queue {yard.queue}"
        " --device cuda:1"
    )


def test_a_job_that_cannot_even_begin_fails_in_words(yard, stand_ins, quick, tmp_path):
    (tmp_path / "file").write_text("")
    with Store(yard.queue) as store:
        store.add([yard.asked("nowhere", runs=str(tmp_path / "file" / "runs"))])
    yard.add("one")
    drain(yard)
    assert yard.states() == {"nowhere": "failed", "one": "completed"}


def test_a_run_that_is_killed_goes_on_and_completes(yard, stand_ins, quick):
    yard.add("once")
    said = drain(yard)
    assert any("ended by signal 9 without a word; resumed" in line for line in said)
    (run,) = yard.run_folders()
    assert yard.ends(run) == ["completed"]
    assert each_step_once(yard, "once", run)


def test_a_run_that_comes_no_further_is_given_up(yard, stand_ins, quick):
    yard.add("early", "after")
    drain(yard)
    assert yard.states() == {"early": "failed", "after": "completed"}
    (failed,) = [entry for entry in yard.entries() if entry.name == "early"]
    assert failed.problem == (
        "it was cut off 4 times without coming further; the last time its process ended by signal 9"
    )
    assert failed.exit_code == 128 + 9


def test_a_run_that_comes_further_each_time_is_not(yard, stand_ins, quick):
    yard.add("killed")
    drain(yard)
    assert yard.states() == {"killed": "completed"}
    assert len(yard.steps()) == STEPS


@pytest.mark.parametrize("spot", SPOTS)
def test_a_worker_killed_anywhere_leaves_a_job_that_completes_exactly_once(yard, spot):
    yard.add("one", "two")
    assert yard.works(spot) == KILLED
    assert sorted(yard.states().values()) == ["queued", "running"]
    assert yard.works() == 0
    assert yard.states() == {"one": "completed", "two": "completed"}
    runs = yard.run_folders()
    assert len(runs) == 2
    for run in runs:
        assert yard.ends(run) == ["completed"]
        assert [step for at, step in yard.steps() if at == run] == [1, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize("spot", SPOTS)
def test_a_worker_killed_twice_at_the_same_spot_loses_nothing(yard, spot):
    yard.add("one")
    assert [yard.works(spot), yard.works(spot)] in ([KILLED, KILLED], [KILLED, 0])
    assert yard.works() == 0
    (run,) = yard.run_folders()
    assert yard.states() == {"one": "completed"}
    assert yard.ends(run) == ["completed"]
    assert [step for _, step in yard.steps()] == [1, 2, 3]


def test_a_process_that_a_killed_worker_left_is_waited_for_and_not_doubled(yard):
    yard.add("slow")
    first = yard.worker()
    until(lambda: len(yard.steps()) > 2, "the run began")
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert yard.works() == 0
    (run,) = yard.run_folders()
    assert [step for _, step in yard.steps()] == list(range(1, 41))
    assert yard.ends(run) == ["completed"]
    pids = {line.split()[2] for line in (yard.runs / "steps.log").read_text().splitlines()}
    assert len(pids) == 1


def test_a_worker_and_its_run_killed_together_are_resumed(yard):
    yard.add("slow")
    first = yard.worker()
    until(lambda: len(yard.steps()) > 2, "the run began")
    run_pid = int((yard.runs / "steps.log").read_text().splitlines()[-1].split()[2])
    first.send_signal(signal.SIGKILL)
    os.kill(run_pid, signal.SIGKILL)
    first.communicate()
    assert yard.works() == 0
    assert [step for _, step in yard.steps()] == list(range(1, 41))


def test_two_workers_drain_one_queue_and_each_job_is_done_once(yard):
    yard.add(*(f"job-{n}" for n in range(8)))
    workers = [yard.worker(), yard.worker()]
    said = [process.communicate(timeout=120)[0] for process in workers]
    assert [process.returncode for process in workers] == [0, 0]
    assert set(yard.states().values()) == {"completed"}
    assert len(yard.run_folders()) == 8
    assert len(yard.steps()) == len(set(yard.steps())) == 8 * STEPS
    assert all("completed" in words for words in said)


def test_a_signal_stops_the_worker_and_the_job_goes_on_with_the_next(yard):
    yard.add("slow", "next")
    first = yard.worker()
    until(lambda: len(yard.steps()) > 2, "the run began")
    first.send_signal(signal.SIGTERM)
    said, _ = first.communicate(timeout=PLENTY)
    assert first.returncode == 75
    assert "stopping; the job that runs saves first" in said
    assert yard.states() == {"slow": "queued", "next": "queued"}
    assert yard.works() == 0
    assert yard.states() == {"slow": "completed", "next": "completed"}
    slow = [step for run, step in yard.steps() if run.endswith("slow")]
    assert slow == list(range(1, 41))


def test_a_job_that_runs_is_cancelled_and_the_next_is_done(yard):
    yard.add("slow", "next")
    process = yard.worker()
    until(lambda: len(yard.steps()) > 2, "the run began")
    with Store(yard.queue) as store:
        assert claims.cancel(store, store.find("slow")) == "running"
    assert process.wait(PLENTY) == 0
    process.communicate()
    assert yard.states() == {"slow": "cancelled", "next": "completed"}
    assert len([run for run, _ in yard.steps() if run.endswith("slow")]) < 40
    (run,) = [run for run in yard.run_folders() if run.endswith("slow")]
    assert yard.ends(run) == ["stopped"]


def test_a_job_whose_worker_is_gone_is_cancelled_at_once(yard):
    yard.add("one")
    yard.works("starting")
    with Store(yard.queue) as store:
        assert claims.cancel(store, store.find("one")) == "cancelled"


def test_a_pause_lets_what_runs_go_on_and_begins_nothing(yard):
    yard.add("slow", "next")
    process = yard.worker()
    until(lambda: len(yard.steps()) > 2, "the run began")
    with Store(yard.queue) as store:
        store.pause = "later"
        until(lambda: store.find("slow").state == "completed", "the run ends")
        time.sleep(1)
        assert store.find("next").state == "queued"
        store.pause = ""
    assert process.wait(PLENTY) == 0
    process.communicate()
    assert yard.states() == {"slow": "completed", "next": "completed"}


def test_a_pause_now_stops_what_runs_and_it_goes_on_where_it_was(yard):
    yard.add("slow")
    process = yard.worker()
    until(lambda: len(yard.steps()) > 2, "the run began")
    with Store(yard.queue) as store:
        store.pause = "now"
        until(lambda: store.find("slow").state == "queued", "the run stops")
        assert len(yard.steps()) < 40
        store.pause = ""
    assert process.wait(PLENTY) == 0
    process.communicate()
    (run,) = yard.run_folders()
    assert yard.ends(run) == ["stopped", "completed"]
    assert [step for _, step in yard.steps()] == list(range(1, 41))


def test_a_run_that_a_person_stopped_stays_stopped_until_it_is_retried(yard):
    yard.add("slow", "next")
    process = yard.worker()
    until(lambda: len(yard.steps()) > 2, "the run began")
    (run,) = yard.run_folders()
    (yard.runs / run / "stop").write_text("")
    assert process.wait(PLENTY) == 0
    process.communicate()
    assert yard.states() == {"slow": "stopped", "next": "completed"}
    with Store(yard.queue) as store:
        assert store.retry(store.find("slow"), fresh=False) == "queued"
    assert yard.works() == 0
    assert yard.ends(run) == ["stopped", "completed"]


def test_a_failed_job_is_retried_in_its_folder_or_afresh(yard, stand_ins, quick):
    yard.add("fail")
    drain(yard)
    with Store(yard.queue) as store:
        store.retry(store.find("fail"), fresh=False)
    drain(yard)
    (run,) = yard.run_folders()
    assert yard.ends(run) == ["failed", "failed"]
    with Store(yard.queue) as store:
        store.retry(store.find("fail"), fresh=True)
    drain(yard)
    assert [yard.ends(run) for run in yard.run_folders()] == [["failed", "failed"], ["failed"]]


def test_a_queue_that_cannot_be_written_for_a_while_does_not_stop_a_run(
    yard, stand_ins, quick, monkeypatch
):
    yard.add("slow")
    beat, times, said = claims.beat, [], []

    def refuse_for_a_while(store, *given):
        times.append(1)
        store.database.execute(f"PRAGMA query_only = {3 <= len(times) <= 8}")
        beat(store, *given)

    monkeypatch.setattr(claims, "beat", refuse_for_a_while)
    said = drain(yard)
    assert yard.states() == {"slow": "completed"}
    assert len(times) > 8
    assert sum("this place cannot be written" in line for line in said) == 1
    assert [step for _, step in yard.steps()] == list(range(1, 41))


def test_an_end_that_cannot_be_written_is_found_by_the_next_worker(
    yard, stand_ins, quick, monkeypatch
):
    yard.add("one")
    settle = claims.settle

    def refused(store, *given):
        store.database.execute("PRAGMA query_only = ON")
        settle(store, *given)

    with monkeypatch.context() as full:
        full.setattr(claims, "settle", refused)
        with pytest.raises(ResourceError, match="cannot be written"):
            drain(yard)
    assert yard.states() == {"one": "running"}
    with Store(yard.queue) as store:
        store.database.execute("UPDATE workers SET pid = 1, born = 0")  # the process ended
    drain(yard)
    assert yard.states() == {"one": "completed"}
    assert [step for _, step in yard.steps()] == [1, 2, 3]


def test_a_damaged_run_folder_fails_in_words_and_does_not_stop_the_others(yard, stand_ins, quick):
    yard.add("fail", "after")
    drain(yard)
    run = next(run for run in yard.run_folders() if run.endswith("fail"))
    (yard.runs / run / "job.toml").write_text("name = [", encoding="utf-8")
    yard.add("last")
    with Store(yard.queue) as store:
        store.retry(store.find("fail"), fresh=False)
    drain(yard)
    assert yard.states() == {"fail": "failed", "after": "completed", "last": "completed"}
    (entry,) = [entry for entry in yard.entries() if entry.name == "fail"]
    assert "the file is not TOML" in entry.problem


def test_a_run_folder_that_is_gone_fails_in_words(yard, stand_ins, quick):
    import shutil

    yard.add("fail")
    drain(yard)
    (run,) = yard.run_folders()
    shutil.rmtree(yard.runs / run)
    with Store(yard.queue) as store:
        store.retry(store.find("fail"), fresh=False)
    drain(yard)
    (entry,) = yard.entries()
    assert entry.problem == "this is no run folder: it has no job.toml"


def test_a_worker_that_lost_its_job_ends_the_run_at_once_and_leaves_the_job_alone(yard):
    yard.add("slow")
    process = yard.worker()
    until(lambda: len(yard.steps()) > 2, "the run began")
    with Store(yard.queue) as store:
        other = claims.enter(store, "cpu", share=True)
        taken = claims.take_over(store, other, store.find("slow"))
        while "another worker has it by now; left to it" not in process.stdout.readline():
            assert process.poll() is None
        steps = len(yard.steps())
        assert steps < 40
        time.sleep(0.5)
        assert len(yard.steps()) == steps
        assert store.find("slow").worker == other.id
        claims.settle(store, taken, Settled("completed", 0), 0.0)
    assert process.communicate(timeout=PLENTY) is not None
    assert process.returncode == 0


# Other machines


def another(beat: int) -> Holder:
    return Holder(7, "elsewhere", 1, 0.0, "cuda:0", beat, 0.0)


def test_a_silent_machine_is_given_up_after_a_lease_by_ones_own_clock():
    patience = Patience(lease=0.2)
    assert not patience.gave_up(another(1))
    time.sleep(0.25)
    assert not patience.gave_up(another(2)), "it gave a sign of life"
    time.sleep(0.1)
    assert not patience.gave_up(another(2))
    time.sleep(0.15)
    assert patience.gave_up(another(2))


def test_a_job_of_a_machine_that_fell_silent_is_taken_over(yard, stand_ins, quick):
    yard.add("one")
    with Store(yard.queue) as store:
        gone = claims.enter(store, "cpu", share=False)
        store.database.execute("UPDATE workers SET host = 'elsewhere'")
        assert claims.claim(store, gone) is not None
    began = time.monotonic()
    drain(yard, lease=1.0)
    assert 1.0 < time.monotonic() - began < PLENTY
    assert yard.states() == {"one": "completed"}


def test_a_process_number_given_to_another_process_is_not_the_worker():
    me = os.getpid()
    assert not Holder(1, host(), me, 5.0, "cpu", 0, 0.0).lives


def test_a_dead_worker_that_nobody_buried_does_not_live():
    import psutil

    process = subprocess.Popen([sys.executable, "-c", "pass"])
    born = psutil.Process(process.pid).create_time()
    until(lambda: psutil.Process(process.pid).status() == "zombie", "it ends")
    assert not Holder(1, host(), process.pid, born, "cpu", 0, 0.0).lives
    process.wait()


def test_the_host_has_this_machines_name():
    assert host().startswith(socket.gethostname())
