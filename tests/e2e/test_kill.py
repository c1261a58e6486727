"""A run that is killed at any moment, and resumed, ends with the weights of an unbroken one.

Real processes and real SIGKILLs. A fork server has the libraries loaded, so that a process
takes a fraction of a second to start and thirty kills a minute or two.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.trainer.training import lora_bytes, tiny_job
from trainer.job.run import Run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")


def work(folder: str) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    import torch

    torch.set_num_threads(1)
    from trainer.worker import main

    os._exit(main(Path(folder)))


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["trainer.train", "diffusers", "transformers", "peft"])
    return context


def start(processes, run: Run):
    process = processes.Process(target=work, args=(str(run.path),))
    process.start()
    return process


def finish(processes, run: Run) -> int:
    process = start(processes, run)
    process.join()
    return process.exitcode


def job_in(tiny_sd, pictures, folder: Path):
    return tiny_job(tiny_sd, pictures, folder / "runs", schedule={"ema": 0.9})


def kill_at(processes, run: Run, seconds: float) -> str:
    """Start the run, kill it after `seconds`; what it was doing then, or "done"."""
    process = start(processes, run)
    process.join(seconds)
    if process.exitcode is not None:
        return "done"
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    told = list(run.events())
    return type(told[-1].event).__name__ if told else "start"


def kills(processes, tiny_sd, pictures, tmp_path, count: int) -> dict[str, int]:
    whole = Run.create(job_in(tiny_sd, pictures, tmp_path / "whole"))
    assert finish(processes, whole) == 0
    began = time.monotonic()
    again = Run.create(job_in(tiny_sd, pictures, tmp_path / "timed"))
    assert finish(processes, again) == 0
    duration = time.monotonic() - began
    chance = random.Random(11)
    moments: dict[str, int] = {}
    for number in range(count):
        run = Run.create(job_in(tiny_sd, pictures, tmp_path / str(number)))
        moment = kill_at(processes, run, chance.uniform(0.05, 0.97) * duration)
        moments[moment] = moments.get(moment, 0) + 1
        assert finish(processes, run) == 0, f"kill {number}, during {moment}"
        assert lora_bytes(run) == lora_bytes(whole), f"kill {number}, during {moment}"
    return moments


def test_a_run_killed_at_random_moments_ends_with_the_same_weights(
    processes, tiny_sd, pictures, tmp_path
):
    moments = kills(processes, tiny_sd, pictures(count=6), tmp_path, 6)
    assert sum(count for moment, count in moments.items() if moment != "done") >= 4, moments


@pytest.mark.slow
def test_thirty_kills(processes, tiny_sd, pictures, tmp_path, capsys):
    moments = kills(processes, tiny_sd, pictures(count=6), tmp_path, 30)
    with capsys.disabled():
        print(f"\n30 kills, last event before each: {moments}")  # noqa: T201
    assert sum(count for moment, count in moments.items() if moment != "done") >= 25
    assert {"Stepped", "Kept"} & moments.keys()
    assert len(moments) >= 3


def test_a_run_can_be_killed_again_and_again(processes, tiny_sd, pictures, tmp_path):
    folder = pictures(count=6)
    whole = Run.create(job_in(tiny_sd, folder, tmp_path / "whole"))
    assert finish(processes, whole) == 0
    run = Run.create(job_in(tiny_sd, folder, tmp_path / "killed"))
    for step in (1, 2, 3):
        process = start(processes, run)
        while process.is_alive() and not (run.checkpoints / f"step-{step:06d}").exists():
            time.sleep(0.005)
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
        process.join()
    assert finish(processes, run) == 0
    assert lora_bytes(run) == lora_bytes(whole)
