"""Processes that share a sweep make the pictures and the report of one, to the bit."""

from __future__ import annotations

import json
import signal
import sys
import time
from dataclasses import astuple

import numpy as np
import psutil
import pytest

from analysis.cell import Cell
from analysis.hands import Process
from analysis.studio import open_studio
from analysis.sweep import Sweep
from analysis.table import Setting
from app import runner
from app.sweeps import config_of_run, resumed, sweep_of_run
from tests.conftest import write_pictures
from tests.trainer.training import tiny_job, train_here
from trainer.core.errors import ConfigError
from trainer.core.events import Rendered, Warned

ASKED = (
    "analysis.strengths=[0.4, 0.8]",
    "analysis.seeds=2",
    "analysis.steps=4",
    "analysis.together=3",
    "analysis.fine=false",
    'analysis.prompts=["a photo of sks fox", "a red sks dog"]',
    'analysis.plain_prompts=["a cat"]',
    "device=cpu",
    "precision=fp32",
)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def trained(tiny_sd, tmp_path_factory):
    place = tmp_path_factory.mktemp("shared")
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


def followed(sweep, act=lambda process, event: None):
    """Its worker's exit code; `act` is called at each event."""
    process = runner.start(sweep)
    for told in runner.follow(sweep, process):
        act(process, told.event)
    return process.wait()


@pytest.fixture(scope="module")
def alone(trained):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        sweep = sweep_of_run(trained, ASKED)
        assert followed(sweep) in (0, 10), (sweep.path / "worker.log").read_text()[-3000:]
    return sweep


def pictures(sweep):
    return {path.name: path.read_bytes() for path in sweep.cells.glob("*.png")}


def report(sweep):
    return {**json.loads((sweep.path / "report.json").read_text(encoding="utf-8")), "made": ""}


def rendered(sweep):
    return [told.event.path for told in sweep.events() if isinstance(told.event, Rendered)]


def warned(sweep):
    return [told.event.message for told in sweep.events() if isinstance(told.event, Warned)]


def test_two_processes_make_the_pictures_and_the_report_of_one(trained, alone):
    sweep = sweep_of_run(trained, [*ASKED, "analysis.processes=2"])
    assert followed(sweep) in (0, 10), (sweep.path / "worker.log").read_text()[-3000:]
    assert pictures(sweep) == pictures(alone)
    assert report(sweep) == report(alone)
    assert len(rendered(sweep)) == len(set(rendered(sweep))) == len(pictures(alone))
    assert not [said for said in warned(sweep) if "no longer helps" in said]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_the_share_of_a_killed_process_is_taken_by_the_others(trained, alone):
    sweep = sweep_of_run(trained, [*ASKED, "analysis.processes=2"])
    killed = []

    def kill_the_hand(process, event):
        hands = psutil.Process(process.pid).children() if not killed else []
        if isinstance(event, Rendered) and event.epoch and hands:
            killed.append(hands[0].pid)
            hands[0].send_signal(signal.SIGKILL)

    assert followed(sweep, kill_the_hand) in (0, 10)
    assert killed
    assert [said for said in warned(sweep) if "process 2 no longer helps: signal 9" in said]
    assert pictures(sweep) == pictures(alone)
    assert report(sweep) == report(alone)
    assert len(rendered(sweep)) == len(set(rendered(sweep)))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_hands_end_with_the_one_who_started_them_and_the_sweep_goes_on(trained, alone):
    sweep = sweep_of_run(trained, [*ASKED, "analysis.processes=2"])
    hands = []

    def kill_all(process, event):
        if isinstance(event, Rendered) and not hands:
            hands.extend(psutil.Process(process.pid).children())
            process.kill()

    assert followed(sweep, kill_all) == -signal.SIGKILL
    _gone, living = psutil.wait_procs(hands, timeout=10)
    assert not living, "a process renders on without anybody who waits for it"
    assert followed(resumed(sweep.path, 3)) in (0, 10)
    assert pictures(sweep) == pictures(alone)
    assert report(sweep) == report(alone)


def test_asked_to_stop_they_all_end_and_keep_what_they_rendered(trained, alone):
    sweep = sweep_of_run(trained, [*ASKED, "analysis.processes=2"])

    def stop(process, event):
        if isinstance(event, Rendered):
            sweep.ask_to_stop()

    began = time.monotonic()
    assert followed(sweep, stop) == 75
    assert time.monotonic() - began < 120
    some = pictures(sweep)
    assert 0 < len(some) < len(pictures(alone))
    assert len(rendered(sweep)) == len(some)
    sweep.forget_stop()
    assert followed(sweep) in (0, 10)
    assert pictures(sweep) == pictures(alone)


def test_a_race_is_shared_too(trained):
    sweep = sweep_of_run(trained, [*ASKED, "analysis.processes=2", "analysis.renders=18"])
    assert followed(sweep) in (0, 10), (sweep.path / "worker.log").read_text()[-3000:]
    assert len(rendered(sweep)) == len(set(rendered(sweep)))
    assert report(sweep)["verdict"]["state"] != "nothing scored"


def test_a_hand_renders_and_judges_as_the_one_who_asks_it(trained, tmp_path):
    sweep = Sweep.create(config_of_run(trained, ASKED), tmp_path, "hand")
    cells = [Cell(1, 0.4, "a red sks dog", seed) for seed in (1, 2)]
    settings = [Setting(1, 0.4), Setting(2, 0.8)]
    hand = Process(sweep.path, "cpu", "fp32", threads=1)
    hand.greet()
    hand.ask({"cells": [astuple(cell) for cell in cells]})
    asked = {
        "judgement": "fit",
        "picture": 0,
        "settings": [(s.epoch, s.strength) for s in settings],
    }
    losses = hand.ask(asked)
    hand.close()
    studio = open_studio(sweep, sweep.config, lambda event: None)
    assert all(studio.gallery.has(cell) for cell in cells)
    held_out = studio.shelf(lambda event: None).held_out
    ours = studio.judge().losses("fit", settings, held_out, 0)
    assert np.allclose(losses, ours, rtol=1e-4)
    assert np.std(ours) > 0


def test_more_processes_than_devices_are_refused(trained, monkeypatch):
    from analysis import hands
    from trainer.core.device import Plan

    with pytest.raises(ConfigError, match="'mps' is one device"):
        hands._places(Plan("mps", "fp32"), 2)
    with pytest.raises(ConfigError, match=r"2 processes are asked for, and 'cuda:1' is one device"):
        hands._places(Plan("cuda:1", "bf16"), 2)
    with pytest.raises(ConfigError, match="this machine has 0 cards"):
        hands._places(Plan("cuda", "bf16"), 2)


def test_a_run_is_analysed_by_as_many_processes_as_trained_it(trained):
    assert config_of_run(trained, []).analysis.processes == 1
    trained.change(["compute.processes=3"])
    assert config_of_run(trained, []).analysis.processes == 3
    assert config_of_run(trained, ["analysis.processes=2"]).analysis.processes == 2
    trained.change(["compute.processes=1"])
