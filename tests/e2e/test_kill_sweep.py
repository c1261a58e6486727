"""A sweep that is killed at any moment goes on, and renders nothing twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from analysis.sweep import sweep_of_run
from tests.conftest import write_pictures
from tests.trainer.training import tiny_job, train_here
from trainer.core.events import Rendered

ASKED = (
    "analysis.strengths=[0.4, 0.8, 1.2]",
    "analysis.seeds=2",
    "analysis.steps=6",
    "analysis.together=3",
    "device=cpu",
    "precision=fp32",
)


@pytest.fixture(scope="module")
def trained(tiny_sd, tmp_path_factory):
    place = tmp_path_factory.mktemp("killed")
    write_pictures(place / "pictures", 4, (64, 64))
    job = tiny_job(
        tiny_sd,
        place / "pictures",
        place / "runs",
        validation={"share": 0.25},
        schedule={"epochs": 2, "batch_size": 2, "accumulate": 1, "seed": 3},
        optimizer={"learning_rate": 5e-2},
        adapter={"rank": 4, "alpha": 4.0, "dropout": 0.0},
    )
    return train_here(job)[0]


def started(sweep):
    return subprocess.Popen(
        [sys.executable, "-m", "analysis.worker", str(sweep.path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def told(sweep):
    report = json.loads((sweep.path / "report.json").read_text(encoding="utf-8"))
    return {**report, "made": ""}


@pytest.mark.slow
def test_ten_kills_change_nothing_and_render_nothing_twice(trained):
    whole, killed = sweep_of_run(trained, ASKED), sweep_of_run(trained, ASKED)
    assert started(whole).wait(300) in (0, 10)
    cells = len(list(whole.cells.glob("*.png")))
    chance, kills = random.Random(7), 0
    while kills < 10:
        process = started(killed)
        before = len(list(killed.cells.glob("*.png")))
        wanted = min(cells - 1, before + chance.randint(1, max(1, cells // 10)))
        deadline = time.monotonic() + 120
        while process.poll() is None and len(list(killed.cells.glob("*.png"))) < wanted:
            assert time.monotonic() < deadline
            time.sleep(chance.uniform(0, 0.03))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        if (killed.path / "report.json").exists():
            break
    assert kills >= 8
    assert started(killed).wait(300) in (0, 10)
    rendered = [e.event.path for e in killed.events() if isinstance(e.event, Rendered)]
    assert len(rendered) == len(set(rendered))
    assert len(list(killed.cells.glob("*.png"))) == cells
    assert told(killed) == told(whole)
    sys.stdout.write(f"{kills} kills, {cells} pictures\n")
