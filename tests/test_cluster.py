"""The ready-made files in docs/cluster: they parse, and what can run here runs."""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.trainer.training import lora_bytes, tiny_job, train_here
from trainer.core.events import Started, Stepped
from trainer.engine.sharing import Sharding, sharding_asked
from trainer.job.file import render_job
from trainer.job.run import Run

CLUSTER = Path(__file__).resolve().parents[1] / "docs/cluster"


@pytest.mark.parametrize("name", ["ddp.yaml", "fsdp.yaml"])
def test_accelerates_configs_are_read_by_accelerate(name):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(CLUSTER / name))
    assert config.num_processes == 2
    assert config.mixed_precision == "no"


def test_the_config_of_fsdp_asks_for_what_is_done_here():
    yaml = pytest.importorskip("yaml")
    told = yaml.safe_load((CLUSTER / "fsdp.yaml").read_text(encoding="utf-8"))["fsdp_config"]
    environment = {name.upper(): str(value) for name, value in told.items()}
    asked = sharding_asked({"ACCELERATE_USE_FSDP": "true", **environment})
    assert asked == Sharding((), reshard=True, offload=False)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_scripts_are_sound_shell():
    yaml = pytest.importorskip("yaml")
    task = yaml.safe_load((CLUSTER / "sky.yaml").read_text(encoding="utf-8"))
    assert set(task) <= {
        "name",
        "resources",
        "envs",
        "file_mounts",
        "workdir",
        "setup",
        "run",
    }
    batch = (CLUSTER / "nodes.sbatch").read_text(encoding="utf-8")
    for script in (task["setup"], task["run"], batch):
        done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_slurm_gets_parameters_that_it_knows(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    srun = tmp_path / "bin/srun"
    srun.parent.mkdir()
    srun.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(srun.parent), prepend=os.pathsep)  # submitit looks for it
    spec = importlib.util.spec_from_file_location("slurm", CLUSTER / "slurm.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    asked = argparse.Namespace(
        here=False, logs=tmp_path, partition="gpu", gpus=2, hours=8, resumes=3
    )
    text = script.executor_of(asked)._make_submission_file_text("true", "1")
    assert "#SBATCH --gpus-per-node=2" in text
    assert "#SBATCH --signal=USR2@90" in text


@pytest.mark.skipif(sys.platform == "win32", reason="submitit runs on POSIX")
def test_a_job_that_loses_its_node_goes_on_and_ends_as_an_unbroken_one(tiny_sd, pictures, tmp_path):
    pytest.importorskip("submitit")
    job = tiny_job(tiny_sd, pictures(count=8), tmp_path / "runs", schedule={"epochs": 20})
    whole, _ = train_here(job)
    path = tmp_path / "fox.toml"
    path.write_text(render_job(job), encoding="utf-8")
    words = [str(path), "--here", "--logs", str(tmp_path / "logs")]
    process = subprocess.Popen(
        [sys.executable, str(CLUSTER / "slurm.py"), *words], stdout=subprocess.PIPE, text=True
    )
    number, _, folder = process.stdout.readline().strip().partition(": ")
    run = Run.open(Path(folder))
    deadline = time.monotonic() + 240
    while not any(isinstance(told.event, Stepped) for told in run.events()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (task,) = psutil.Process(int(number)).children()
    task.send_signal(signal.SIGUSR2)  # as Slurm does before it takes the node
    process.communicate(timeout=400)
    assert process.returncode == 0
    assert run.status() == "completed"
    starts = [told.event for told in run.events() if isinstance(told.event, Started)]
    assert len(starts) == 2
    assert starts[1].resumed_from > 0
    assert lora_bytes(run) == lora_bytes(whole)
