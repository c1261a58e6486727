"""The command line as a person uses it; runs are real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app import cli
from trainer.core.errors import STOPPED
from trainer.job.run import runs_in


@pytest.fixture
def sweetspot(monkeypatch, tmp_path, capfd):
    """Call the command; gives (exit code, what it printed, what it printed as errors)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sweetspot", *map(str, words)])
        code = cli.run()
        said = capfd.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def job_file(tiny_sd, pictures, tmp_path):
    folder = pictures(count=4)
    path = tmp_path / "job.toml"
    path.write_text(
        f"""
        name = "fox"
        [model]
        base = "{tiny_sd.as_posix()}"
        resolution = 64
        [dataset]
        folder = "{folder.name}"
        bucket_step = 16
        [adapter]
        rank = 2
        alpha = 2
        [optimizer]
        learning_rate = 1e-3
        [schedule]
        epochs = 2
        seed = 1
        [compute]
        precision = "fp32"
        [samples]
        every = 0
        """,
        encoding="utf-8",
    )
    return path


def test_a_job_is_trained_listed_shown_and_its_file_looked_into(sweetspot, job_file, tmp_path):
    code, out, _ = sweetspot("train", job_file)
    assert code == 0
    assert "proven: fox-e0002.safetensors loads into a fresh pipeline" in out
    assert "completed at step 8" in out
    (run,) = runs_in(tmp_path / "runs")

    code, out, _ = sweetspot("runs", "list", "--json")
    (row,) = json.loads(out)
    assert (row["status"], row["step"], row["files"]) == ("completed", "8/8", 2)

    code, out, _ = sweetspot("runs", "show", run.name)
    assert code == 0
    assert "epoch 2, step 8: saved lora/fox-e0002.safetensors" in out

    code, out, _ = sweetspot("lora", "inspect", run.lora / "fox-e0002.safetensors", "--json")
    facts = json.loads(out)
    assert facts["layout"] == "kohya"
    assert str(tmp_path) not in out

    code, _, err = sweetspot("train", "--resume", run.path)
    assert code == 9
    assert "the run is completed" in err


def test_json_events_are_one_object_a_line(sweetspot, job_file):
    code, out, _ = sweetspot("train", job_file, "--json", "--set", "schedule.epochs=1")
    assert code == 0
    kinds = [json.loads(line)["kind"] for line in out.splitlines()]
    assert kinds.count("Stepped") == 4
    assert kinds[-2:] == ["Proven", "Ended"]


def test_a_run_asked_to_stop_says_so_by_its_exit_code_and_goes_on(
    sweetspot, job_file, tmp_path, monkeypatch
):
    from app import runner

    start = runner.start

    def start_and_stop(run, processes):
        process = start(run, processes)
        while not any(type(told.event).__name__ == "Stepped" for told in run.events()):
            time.sleep(0.01)
        run.ask_to_stop()
        return process

    monkeypatch.setattr(runner, "start", start_and_stop)
    code, out, _ = sweetspot("train", job_file, "--set", "schedule.epochs=30")
    assert code == STOPPED
    assert "stopped at step" in out
    monkeypatch.setattr(runner, "start", start)
    (run,) = runs_in(tmp_path / "runs")
    assert run.status() == "stopped"
    code, out, _ = sweetspot("train", "--resume", run.name)
    assert code == 0
    assert "completed at step 120" in out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["train", "nowhere.toml"], 2, "nowhere.toml: there is no such file"),
        (["train", "job.toml", "--set", "adapter.rank=0"], 2, "adapter.rank: .*"),
        (["train", "job.toml", "--set", "schedule.epoch=3"], 2, "did you mean schedule.epochs?"),
        (["train"], 2, "give a job file"),
        (["train", "job.toml", "--plan", "--set", "adapter.targets=(("], 2, "regular expression"),
        (["train", "job.toml", "--set", "optimizer=a", "--set", "optimizer.b=1"], 2, "optimizer"),
        (["train", "--resume", "nothing", "--plan"], 2, "are for a new run"),
        (["sample", "a fox", "--seed", "99999999999999999999999"], 2, "--seed"),
        (["runs", "show", "nothing"], 9, "this is no run folder"),
        (["dataset", "check", "nowhere"], 3, "nowhere"),
        (["lora", "inspect", "job.toml"], 5, "job.toml"),
        (["nonsense"], 2, "No such command"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_an_exit_code(sweetspot, job_file, words, code, said):
    found, _, err = sweetspot(*words)
    assert found == code, err
    assert said.removesuffix(".*") in " ".join(err.split())
    assert "Traceback" not in err


def test_a_plan_reads_no_model_and_makes_no_folder(sweetspot, job_file, tmp_path):
    code, out, _ = sweetspot("train", job_file, "--plan", "--json")
    assert code == 0
    assert json.loads(out)["steps"] == "8 (4 an epoch), 2 LoRA files"
    assert not (tmp_path / "runs").exists()


def test_a_run_is_made_ready_for_another_launcher(sweetspot, job_file, tmp_path):
    code, out, _ = sweetspot("train", job_file, "--no-start", "--json")
    assert code == 0
    told = json.loads(out)
    folder = Path(told["folder"])
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == ["job.toml", "lock"]
    assert told["by accelerate"].endswith(f"-m trainer.worker {folder}")
    (folder / "stop").touch()
    code, out, _ = sweetspot("train", "--resume", folder, "--no-start")
    assert code == 0
    assert f"sweetspot train --resume {folder}" in out
    assert not (folder / "stop").exists()


def test_a_run_goes_where_it_is_told(sweetspot, job_file, tmp_path):
    code, _, err = sweetspot(
        *("train", job_file, "--runs", "my [red] runs", "--json", "--set", "schedule.epochs=1")
    )
    assert code == 0
    (run,) = runs_in(tmp_path / "my [red] runs")
    assert f"run folder: {run.path}" in err
    assert not (tmp_path / "runs").exists()


def test_a_run_is_not_led_astray_by_files_in_the_current_folder(sweetspot, job_file, tmp_path):
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "__init__.py").write_text("raise SystemExit('not this one')")
    assert sweetspot("train", job_file, "--set", "schedule.epochs=1")[0] == 0


def test_a_folder_without_captions_is_reported_whole(sweetspot, pictures):
    folder = pictures(count=3, captions=False)
    (folder / "00.txt").write_bytes(b"caf\xe9")
    (folder / "broken.png").write_bytes(b"nothing")
    code, out, err = sweetspot("dataset", "check", folder, "--list")
    assert code == 3
    assert "00.txt" in out
    assert "broken.png" in out
    assert "2 pictures have no caption:" in out
    assert "a run would be refused: captions cannot be used (1)" in out
    assert "a run would be refused: every picture needs a caption" in out
    assert "the list is left out" in err
    assert "were not compared with a trigger word" in out


def test_a_script_gets_the_same_report(sweetspot, pictures):
    code, out, _ = sweetspot("dataset", "check", pictures(count=3, captions=False), "--json")
    assert code == 3
    assert json.loads(out)["no_caption"] == ["00.png", "01.png", "02.png"]


def test_folders_may_have_any_name(sweetspot, job_file, tmp_path):
    folder = (tmp_path / "pictures").rename(tmp_path / "\U0001f600 [cats]")
    settings = ["--set", "model.resolution=64", "--set", "dataset.bucket_step=16"]
    assert sweetspot("dataset", "check", folder, *settings)[0] == 0
    folder.rename(tmp_path / "pictures")
    runs = tmp_path / "\U0001f600 runs"
    assert sweetspot("train", job_file, "--runs", runs, "--set", "schedule.epochs=1")[0] == 0
    assert len(runs_in(runs)) == 1


def test_a_second_process_on_one_run_is_refused_and_a_stop_kept(sweetspot, job_file, tmp_path):
    sweetspot("train", job_file, "--set", "schedule.epochs=1", "--set", "dataset.folder=nowhere")
    (run,) = runs_in(tmp_path / "runs")
    run.ask_to_stop()
    with run.lock():
        code, _, err = sweetspot("train", "--resume", run.path)
    assert code == 9
    assert "another process works on this run" in err
    assert run.stop_asked()


def test_a_pipe_takes_any_letter(pictures):
    folder = pictures(count=1)
    (folder / "00.txt").write_text("a photo of \u72ac", encoding="utf-8")
    check = [sys.executable, "-m", "app", "dataset", "check", str(folder), "--list", "--json"]
    done = subprocess.run(
        check, env=os.environ | {"PYTHONIOENCODING": "cp1252"}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["listing"][0]["caption"] == "a photo of \u72ac"


def test_a_folder_is_checked(sweetspot, pictures):
    folder = pictures(count=3)
    (folder / "broken.png").write_bytes(b"nothing")
    settings = ["--set", "model.resolution=64", "--set", "dataset.bucket_step=16"]
    code, out, _ = sweetspot("dataset", "check", folder, *settings, "--list")
    assert code == 0
    assert "3 pictures can be trained on" in out
    assert "broken.png" in out
    assert "a photo of sks" in out


def test_the_doctor_names_versions_and_what_is_missing(sweetspot):
    _, out, _ = sweetspot("doctor", "--json")
    findings = {finding["what"]: finding for finding in json.loads(out)}
    assert findings["torch"]["state"] == "good"
    assert {"disk", "card", "fp32", "8-bit AdamW", "demo model"} <= findings.keys()


def test_a_picture_carries_its_recipe(sweetspot, tiny_sd, tmp_path):
    from PIL import Image

    code, _, _ = sweetspot(
        "sample", "a fox", "--base", tiny_sd, "--steps", "2", "--seed", "5", "--size", "32"
    )
    assert code == 0
    told = json.loads(Image.open(tmp_path / "sample.png").text["sweetspot"])
    assert (told["prompt"], told["seed"], told["size"]) == ("a fox", 5, 32)
