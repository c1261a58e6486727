"""Training and choosing from Python, in one process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import analysis
import trainer
from analysis import api
from analysis.sweep import Sweep
from tests.trainer.training import lora_bytes, tiny_job, train_here
from trainer import (
    ConfigError,
    DatasetError,
    Run,
    RunError,
    UserError,
    load_job,
    parse_job,
    resume_run,
    train_job,
)
from trainer.core.events import Decided, Ended, Event, Preparing, Saved, Stepped
from trainer.core.here import INTERRUPTED

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def job(tiny_sd, pictures, tmp_path):
    return tiny_job(tiny_sd, pictures(count=6), tmp_path / "runs")


def interrupting(at, *, times=1):
    def watch(event):
        if isinstance(event, Stepped) and event.step == at:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)

    return watch


def last(run):
    return [told.event for told in run.events()][-1]


def test_a_job_becomes_a_run_with_its_files_and_events(job):
    seen: list[Event] = []
    run = train_job(job, watch=seen.append)
    assert run.status() == "completed"
    assert [p.name for p in run.lora_files] == ["tiny-e0001.safetensors", "tiny-e0002.safetensors"]
    assert [told.event for told in run.events()] == seen
    assert seen[-1] == Ended("completed", step=4, exit_code=0)


def test_it_trains_the_same_weights_as_a_worker_does(job):
    assert lora_bytes(train_job(job)) == lora_bytes(train_here(job)[0])


def test_an_interrupt_saves_and_stops_and_the_run_goes_on_to_the_same_weights(job):
    run = train_job(job, watch=interrupting(at=2))
    assert run.status() == "stopped"
    assert last(run) == Ended("stopped", step=2, exit_code=75)
    assert resume_run(run).status() == "completed"
    assert lora_bytes(run) == lora_bytes(train_here(job)[0])


def test_afterwards_an_interrupt_is_what_it_was(job):
    before = signal.getsignal(signal.SIGINT)
    train_job(job, watch=interrupting(at=2))
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_interrupt_ends_it_at_once_and_it_can_be_resumed(job):
    with pytest.raises(KeyboardInterrupt):
        train_job(job, watch=interrupting(at=3, times=2))
    (run,) = trainer.runs_in(job.runs)
    assert run.status() == "failed"
    assert last(run).exit_code == INTERRUPTED
    assert resume_run(run).status() == "completed"
    assert lora_bytes(run) == lora_bytes(train_here(job)[0])


def test_it_trains_in_a_thread_and_another_can_stop_it(job):
    runs: list[Run] = []

    def watch(event):
        if isinstance(event, Saved):
            trainer.runs_in(job.runs)[0].ask_to_stop()

    thread = threading.Thread(target=lambda: runs.append(train_job(job, watch=watch)))
    thread.start()
    thread.join()
    assert runs[0].status() == "stopped"


def test_a_problem_is_a_user_error_and_the_run_tells_of_it(job, tmp_path):
    (tmp_path / "empty").mkdir()
    dataset = job.dataset.model_copy(update={"folder": tmp_path / "empty"})
    with pytest.raises(DatasetError) as raised:
        train_job(job.model_copy(update={"dataset": dataset}))
    (run,) = trainer.runs_in(job.runs)
    assert run.status() == "failed"
    assert (last(run).problem, last(run).exit_code) == (raised.value.problem, 3)


def test_a_watcher_that_fails_ends_the_run_with_its_own_error(job):
    def watch(event):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError):
        train_job(job, watch=watch)
    (run,) = trainer.runs_in(job.runs)
    assert (run.status(), last(run).exit_code) == ("failed", 1)


def test_a_full_memory_is_a_user_error(job):
    def watch(event):
        if isinstance(event, Preparing):
            raise MemoryError  # noqa: TRY004

    with pytest.raises(trainer.ResourceError, match="the memory is full"):
        train_job(job, watch=watch)


def test_a_completed_run_is_not_resumed(job):
    run = train_job(job)
    with pytest.raises(RunError, match="nothing to resume"):
        resume_run(run)


def test_several_processes_are_for_the_command_line(job):
    compute = job.compute.model_copy(update={"processes": 2})
    with pytest.raises(ConfigError, match="asks for 2 processes"):
        train_job(job.model_copy(update={"compute": compute}))
    assert not job.runs.exists()


def test_accelerate_keeps_nothing_of_a_run(job):
    from accelerate.state import PartialState

    train_job(job)
    assert PartialState._shared_state == {}


def test_relative_paths_are_those_of_where_it_was_called(tiny_sd, pictures, tmp_path, monkeypatch):
    pictures(count=4, name="foxes")
    monkeypatch.chdir(tmp_path)
    asked = parse_job({"dataset": {"folder": "foxes"}, "runs": "mine", "validation": {"share": 0}})
    stored = Run.create(asked).job
    assert stored.dataset.folder == tmp_path / "foxes"
    assert (stored.runs, stored.cache) == (tmp_path / "mine", tmp_path / "mine/cache")


def test_a_job_file_may_be_named_by_a_text(tmp_path):
    (tmp_path / "fox.toml").write_text('name = "fox"\n[dataset]\nfolder = "."\n')
    assert load_job(str(tmp_path / "fox.toml")).name == "fox"


# Choosing

QUICK = (
    "analysis.strengths=[0.5, 1.0]",
    "analysis.seeds=2",
    "analysis.steps=2",
    'analysis.prompts=["a photo of sks fox"]',
    'analysis.plain_prompts=["a cat"]',
    "analysis.fine=false",
)


def test_a_run_is_analysed_and_a_stopped_analysis_goes_on(job):
    run = train_job(job)

    def watch(event):
        if isinstance(event, Preparing) and event.phase == "cells" and event.done:
            signal.raise_signal(signal.SIGINT)

    stopped = analysis.analyse_run(run, QUICK, watch=watch)
    assert (stopped.state, stopped.choice) == ("stopped", None)
    found = analysis.resume_analysis(stopped.folder)
    assert found.folder.parent == run.path / "analysis"
    assert found.headline
    assert found.report.is_file()
    assert (found.choice is not None) == (found.state == "chosen")
    chosen = Decided("chosen", "Keep it.", 2, 0.5, "report.html")
    assert api._choice(Sweep.open(found.folder), chosen) == analysis.Choice(
        2, 0.5, run.lora / "tiny-e0002.safetensors"
    )


# The names


@pytest.mark.parametrize("package", [trainer, analysis])
def test_every_public_name_is_there(package):
    assert [name for name in package.__all__ if getattr(package, name, None) is None] == []
    assert set(package.__all__) <= set(dir(package))


@pytest.mark.parametrize("package", [trainer, analysis])
def test_a_name_that_is_not_there_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match="no_such_name"):
        package.no_such_name  # noqa: B018


def test_every_error_of_ours_is_public():
    ours = [kind for kind in UserError.__subclasses__() if "trainer.core" in kind.__module__]
    assert {kind.__name__ for kind in ours} <= set(trainer.__all__)


def test_a_job_is_read_without_torch_and_importing_the_packages_imports_nothing():
    line = (
        "import sys, trainer, analysis; light = len([m for m in sys.modules if '.' in m and "
        "m.startswith(('trainer', 'analysis'))]); "
        "from trainer import parse_job, train_job, settle; from analysis import analyse_run; "
        "parse_job({'dataset': {'folder': 'x'}}); "
        "print(light, *({'torch', 'diffusers', 'accelerate', 'peft', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", line], cwd=ROOT, env=os.environ, capture_output=True, text=True
    )
    assert (done.stdout.split(), done.stderr) == (["0"], "")


def test_the_packages_say_that_they_are_typed():
    packages = ("trainer", "analysis", "app")
    assert [name for name in packages if not (ROOT / name / "py.typed").is_file()] == []
