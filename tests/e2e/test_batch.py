"""A batch of real runs in which everything is killed; workers that share nothing but a folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.queue.intake import Wishes, jobs_in
from app.queue.store import Store
from app.queue.worker import Worker
from tests.app.queue.stand_in import STEPS
from tests.app.queue.yard import ROOT, Yard
from tests.conftest import write_pictures
from trainer.core.events import Ended, Proven, Stepped
from trainer.core.work import WorkFolder
from trainer.job.run import runs_in

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kills, and network namespaces")
JOBS = 12
LONG = 24


# Everything is killed


def job(model: Path, name: str, epochs: int) -> str:
    pictures = "nowhere" if name == "fails" else "pictures"
    return f"""
        name = "{name}"
        model = {{ base = "{model.as_posix()}", resolution = 64 }}
        dataset = {{ folder = "../{pictures}", bucket_step = 16 }}
        adapter = {{ rank = 2, alpha = 2 }}
        schedule = {{ epochs = {epochs}, batch_size = 2, seed = 3 }}
        compute = {{ precision = "fp32" }}
        samples = {{ every = 0 }}
        save = {{ state_every_steps = 1, every_epochs = {epochs} }}
        """


class Batch:
    """`sweetspot batch`, that can be killed and gone on with."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.process = self.start("batch", "jobs", "--device", "cpu")

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "app", *words],
            cwd=self.place,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            text=True,
        )

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()

    def go_on(self) -> None:
        (folder,) = (self.place / "runs" / "batches").iterdir()
        self.process = self.start("batch", "--resume", str(folder), "--device", "cpu")

    def run(self, name: str) -> WorkFolder | None:
        return next((r for r in runs_in(self.place / "runs") if r.name.endswith(f"-{name}")), None)

    def completed(self) -> int:
        return sum(run.status() == "completed" for run in runs_in(self.place / "runs"))

    def wait_for(self, true, seconds: float = 600) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert self.process.poll() is None, self.process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.02)


def steps(run: WorkFolder | None) -> list[int]:
    events = [told.event for told in run.events()] if run else []
    return [event.step for event in events if isinstance(event, Stepped)]


@pytest.mark.slow
def test_a_batch_with_a_failure_whose_run_and_worker_are_killed_does_all_others_once(
    tiny_sd, tmp_path, capsys
):
    write_pictures(tmp_path / "pictures", 4, (64, 64))
    names = [*(f"job-{n:02}" for n in range(JOBS - 2)), "fails", "killed"]
    (tmp_path / "jobs").mkdir()
    for name in names:
        text = job(tiny_sd, name, LONG if name == "killed" else 2)
        (tmp_path / "jobs" / f"{name}.toml").write_text(text, encoding="utf-8")

    batch = Batch(tmp_path)
    batch.wait_for(lambda: batch.completed() >= 2)
    batch.kill()
    batch.go_on()
    batch.wait_for(lambda: batch.completed() >= 5)
    batch.kill()
    batch.go_on()
    batch.wait_for(lambda: len(steps(batch.run("killed"))) > 2)
    state = json.loads((batch.run("killed").path / "state.json").read_text(encoding="utf-8"))
    os.kill(state["pid"], signal.SIGKILL)
    out, _ = batch.process.communicate()

    with capsys.disabled():
        print(f"\n{out}")  # noqa: T201
    assert batch.process.returncode == 101
    assert f"{JOBS - 1} completed, 1 failed" in out
    assert len(runs_in(tmp_path / "runs")) == JOBS
    for name in names:
        run = batch.run(name)
        events = [told.event for told in run.events()]
        ends = [event.status for event in events if isinstance(event, Ended)]
        assert ends == ["failed" if name == "fails" else "completed"], name
        assert sum(isinstance(event, Proven) for event in events) == (name != "fails")
    assert steps(batch.run("job-00")) == [1, 2, 3, 4]
    assert steps(batch.run("killed"))[-1] == 2 * LONG


def worked(place: Path, source: Path) -> None:
    with Store(place / "queue") as store:
        store.add(jobs_in([source], Wishes(runs=place / "runs")))
        Worker(store, "cpu", say=lambda words: None).work()


@pytest.mark.slow
def test_a_run_is_analysed_in_its_turn_and_its_sweep_is_a_job_too(tiny_sd, tmp_path):
    write_pictures(tmp_path / "pictures", 4, (64, 64))
    (tmp_path / "jobs").mkdir()
    analysis = """
        [analysis]
        after_training = true
        strengths = [0.5, 1.0]
        seeds = 1
        steps = 2
        prompts = ["a fox", "a dog"]
        metrics = ["ssim", "burn"]
        judge = false
        fine = false
        """
    path = tmp_path / "jobs" / "both.toml"
    path.write_text(job(tiny_sd, "both", 2) + analysis, "utf-8")
    worked(tmp_path, path)
    (sweep,) = tmp_path.glob("runs/*/analysis/*/sweep.toml")
    worked(tmp_path, sweep)
    with Store(tmp_path / "queue") as store:
        first, second = store.entries()
    assert (first.kind, second.kind) == ("train", "analyse")
    assert first.state == second.state == "completed"
    assert first.verdict
    assert first.verdict == second.verdict
    assert Path(first.sweep).parent == Path(second.sweep).parent == Path(first.folder) / "analysis"


# Workers that share nothing but a folder


@pytest.fixture
def yard(tmp_path):
    made = Yard(tmp_path)
    yield made
    made.close()


def test_workers_in_two_network_namespaces_drain_one_queue(yard, namespaces):
    yard.add(*(f"job-{n}" for n in range(8)))
    workers = [yard.worker("", "ip", "netns", "exec", name) for name in namespaces]
    said = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], said
    assert set(yard.states().values()) == {"completed"}
    assert len(yard.run_folders()) == 8
    assert len(yard.steps()) == len(set(yard.steps())) == 8 * STEPS
    assert all("completed" in words for words in said)


def test_a_worker_under_another_machines_name_is_taken_over_when_it_falls_silent(yard):
    apart = ["unshare", "--uts"]
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
        pytest.skip("a machine's name cannot be set here")
    yard.add("slow")
    other = yard.worker("", *apart, machine="elsewhere")
    deadline = time.monotonic() + 60
    while len(yard.steps()) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    run = int((yard.runs / "steps.log").read_text(encoding="utf-8").splitlines()[-1].split()[2])
    other.send_signal(signal.SIGKILL)
    other.communicate()
    os.kill(run, signal.SIGKILL)
    began = time.monotonic()
    here = yard.worker(lease=3)
    said, _ = here.communicate(timeout=120)
    assert here.returncode == 0
    assert time.monotonic() - began > 3
    assert "its worker is gone; taken up again" in said
    assert yard.states() == {"slow": "completed"}
    assert [step for _, step in yard.steps()] == list(range(1, 41))
