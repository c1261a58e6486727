"""Trackers are told what events.jsonl says, nothing personal, and never end a run."""

from __future__ import annotations

import importlib.util
import json
import sqlite3
import struct
from importlib import metadata

import numpy as np
import pytest

from tests.conftest import write_pictures
from tests.trainer.training import tiny_job
from trainer import worker
from trainer.api import resume_run, train_job
from trainer.core.errors import ConfigError
from trainer.core.events import Ended, Sampled, Saved, Started, Stepped, Validated, Warned
from trainer.job.file import parse_job
from trainer.job.run import Run
from trainer.track import Tracked, values_of

SECRET = "purple-walrus"
PERSONAL = (SECRET, "sks fox", "zorble")


def job_of(model, place, **track):
    """Four steps of two epochs with samples, held-out pictures and personal words."""
    if not (place / SECRET).exists():
        write_pictures(place / SECRET, 7, (64, 64))
    return tiny_job(
        model,
        place / SECRET,
        place / "runs",
        dataset={"trigger": "zorble", "class_word": "fox"},
        samples={"every": 1, "prompts": [f"a sks fox, {SECRET}", "a red dog"], "steps": 1},
        validation={"share": 0.15},
        track=track,
    )


@pytest.fixture
def job(tiny_sd, tmp_path):
    return lambda **track: job_of(tiny_sd, tmp_path, **track)


@pytest.fixture(scope="module")
def boarded(tiny_sd, tmp_path_factory):
    """A run that TensorBoard was told of."""
    return train_job(job_of(tiny_sd, tmp_path_factory.mktemp("boarded"), to=["tensorboard"]))


def told_of(run, kind):
    """The events of a kind, of steps that were told twice the later."""
    found = {}
    for told in run.events():
        if isinstance(told.event, kind):
            found[getattr(told.event, "step", 0)] = told.event
    return found


def board(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0}).Reload()


def curve(folder, tag):
    return {e.step: e.value for e in board(folder).Scalars(tag)}


def test_tensorboard_holds_what_the_events_say_step_by_step(boarded):
    run, folder = boarded, boarded.path / "tensorboard"
    steps = told_of(run, Stepped)
    assert len(steps) == 4
    for tag, values in {
        "train/loss": {n: s.loss for n, s in steps.items()},
        "train/rate": {n: s.rate for n, s in steps.items()},
        "train/gradient": {n: s.gradient for n, s in steps.items()},
        "train/epoch": {n: s.epoch for n, s in steps.items()},
        "train/seconds": {n: sum(s.seconds.values()) for n, s in steps.items()},
        "validation/loss": {n: v.loss for n, v in told_of(run, Validated).items()},
        "run/saved_epoch": {n: s.epoch for n, s in told_of(run, Saved).items()},
        "run/exit_code": {4: 0},
    }.items():
        assert curve(folder, tag) == pytest.approx(values), tag


def test_tensorboard_shows_the_sample_pictures_without_their_prompts(boarded):
    import io

    from PIL import Image

    run = boarded
    shown = board(run.path / "tensorboard")
    assert shown.Tags()["images"] == ["samples/1", "samples/2"]
    samples = [t.event for t in run.events() if isinstance(t.event, Sampled)]
    firsts = {s.step: s.path for s in samples if s.prompt.startswith("a sks fox")}
    images = {e.step: e.encoded_image_string for e in shown.Images("samples/1")}
    assert set(images) == set(firsts) == {0, 2, 4}
    for step, content in images.items():
        ours = np.asarray(Image.open(run.path / firsts[step]))
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), ours)


def test_pictures_stay_here_where_they_should(job):
    run = train_job(job(to=["tensorboard"], pictures=False))
    assert board(run.path / "tensorboard").Tags()["images"] == []


def test_tensorboard_holds_the_recipe_and_nothing_personal(boarded):
    run = boarded
    content = b"".join(p.read_bytes() for p in (run.path / "tensorboard").rglob("*.*"))
    assert b"adapter.rank" in content
    assert b"optimizer.learning_rate" in content
    for word in (*PERSONAL, str(run.path)):
        assert word.encode() not in content, word


def test_a_resumed_run_goes_on_in_the_same_tensorboard(job):
    folder = job(to=["tensorboard"]).runs.parent / "boards"
    asked = job(to=["tensorboard"], folder=str(folder))
    run = train_job(asked, watch=stopping_after(2))
    assert run.status() == "stopped"
    # a kill after two further steps that were told and not kept
    tell = Tracked(run, lambda event: None)
    tell(Started(4, 2, 6, 3, "cpu", "fp32", 1, 1, resumed_from=2))
    for step in (3, 4):
        tell(Stepped(step, 2, 99.0, 1.0, None, {}))
    resume_run(run)
    assert [p.name for p in folder.iterdir()] == [run.name]
    losses = {n: s.loss for n, s in told_of(run, Stepped).items()}
    assert curve(folder / run.name, "train/loss") == pytest.approx(losses)


def stopping_after(step):
    """A watcher that asks the run to stop, as Ctrl-C does."""
    import signal

    def watch(event):
        if isinstance(event, Stepped) and event.step == step:
            signal.raise_signal(signal.SIGINT)

    return watch


def test_a_worker_process_tells_its_trackers_the_end(job):
    run = Run.create(job(to=["tensorboard"]))
    assert worker.main(run.path) == 0
    assert curve(run.path / "tensorboard", "run/exit_code") == {4: 0}


def test_no_tracker_is_told_unless_asked(job):
    run = train_job(job())
    assert not (run.path / "tensorboard").exists()
    assert not (run.path / "track.json").exists()


def test_a_tracker_that_fails_is_warned_of_once_and_the_run_goes_on(job, monkeypatch):
    from accelerate.tracking import TensorBoardTracker

    def gone(self, values, step=None, **kwargs):
        raise ConnectionError("the network is gone\nand more")

    monkeypatch.setattr(TensorBoardTracker, "log", gone)
    run = train_job(job(to=["tensorboard"]))
    warned = [t.event.message for t in run.events() if isinstance(t.event, Warned)]
    assert run.status() == "completed"
    assert warned == [
        "the tracker tensorboard failed and is told no more of this process's steps: "
        "the network is gone"
    ]


def test_a_tracker_that_cannot_be_opened_is_warned_of_and_the_run_goes_on(job, tmp_path):
    (tmp_path / "file").write_text("")
    run = train_job(job(to=["tensorboard"], folder=str(tmp_path / "file")))
    warned = [t.event.message for t in run.events() if isinstance(t.event, Warned)]
    assert run.status() == "completed"
    assert len(warned) == 1
    assert "the tracker tensorboard failed" in warned[0]


def test_a_missing_package_is_named_before_anything_is_made(job, monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    asked = job(to=["wandb"])
    with pytest.raises(ConfigError, match="'wandb' is not installed") as raised:
        train_job(asked)
    assert raised.value.where == "track.to"
    assert "pip install wandb" in raised.value.hint
    assert not asked.runs.exists()


@pytest.mark.parametrize(
    ("track", "said"),
    [
        ({"to": ["mlflow"]}, "there is no tracker 'mlflow'; there are tensorboard, trackio, wandb"),
        ({"to": ["wandb", "wandb"]}, "stands there twice"),
        ({"project": "../up"}, "pattern"),
    ],
)
def test_what_no_tracker_can_do_is_refused(track, said):
    with pytest.raises(ConfigError, match=said):
        parse_job({"dataset": {"folder": "x"}, "track": track})


def test_a_step_that_the_gradient_scaler_skipped_has_no_gradient():
    assert "train/gradient" not in values_of(Stepped(1, 1, 0.5, 1e-4, None))


# Those who need packages that are heavy for a test: `pip install .[track]`


def needs(name):
    there = importlib.util.find_spec(name) is not None
    return pytest.mark.skipif(not there, reason=f"{name} is not installed")


@needs("wandb")
@pytest.mark.filterwarnings("default")
def test_wandb_gets_the_curves_and_nothing_personal(job, monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = train_job(job(to=["wandb"], project="foxes"))
    assert [t.event.message for t in run.events() if isinstance(t.event, Warned)] == []
    (folder,) = (run.path / "wandb").glob("offline-run-*")
    (log,) = folder.glob("*.wandb")
    identity = json.loads((run.path / "track.json").read_text())["wandb"]
    assert identity in log.name
    rows, content = wandb_rows(log), log.read_bytes()
    losses = {n: s.loss for n, s in told_of(run, Stepped).items()}
    assert {r["_step"]: r["train/loss"] for r in rows if "train/loss" in r} == losses
    assert sum("samples/1" in r or "samples/1.format" in r for r in rows) == 3
    assert b"foxes" in content
    for word in (*PERSONAL, str(tmp_path / SECRET), __file__):
        assert word.encode() not in content, word


def wandb_rows(log):
    """What a .wandb file tells: records in LevelDB's log format behind a head of seven bytes."""
    from wandb.proto import wandb_internal_pb2

    content, block, rows, whole, place = log.read_bytes(), 2**15, [], b"", 7
    while place + 7 <= len(content):
        if block - place % block < 7:  # no room for a head: padding
            place += block - place % block
        _, size, kind = struct.unpack_from("<IHB", content, place)
        whole += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # a whole record, or its last part
            record = wandb_internal_pb2.Record.FromString(whole)
            whole = b""
            items = record.history.item
            rows.append({i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in items})
    return [row for row in rows if row]


@needs("trackio")
@pytest.mark.filterwarnings("default")
def test_trackio_goes_on_with_a_resumed_run_and_gets_nothing_personal(job, monkeypatch, tmp_path):
    place = tmp_path / "trackio"
    monkeypatch.setenv("TRACKIO_DIR", str(place))  # read when trackio is imported, which is here
    run = train_job(job(to=["trackio"], project="foxes"), watch=stopping_after(2))
    resume_run(run)
    assert [t.event.message for t in run.events() if isinstance(t.event, Warned)] == []
    (file,) = place.glob("foxes*.db")
    with sqlite3.connect(file) as base:
        found = base.execute("select run_name, step, metrics from metrics order by id").fetchall()
    assert len({name for name, _, _ in found}) == 1
    told = [(step, json.loads(values)) for _, step, values in found]
    losses = {n: s.loss for n, s in told_of(run, Stepped).items()}
    assert [(s, v["train/loss"]) for s, v in told if "train/loss" in v] == list(losses.items())
    assert sum("samples/1" in values for _, values in told) == 3
    for word in (*PERSONAL, str(run.path)):
        assert word.encode() not in file.read_bytes(), word


def test_an_end_before_the_start_tells_no_tracker(job):
    run = Run.create(job(to=["tensorboard"]))
    Tracked(run, lambda event: None)(Ended("failed", exit_code=2))
    assert not (run.path / "tensorboard").exists()
