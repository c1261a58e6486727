"""Trains jobs on a Slurm cluster, each as a Slurm job of its own that goes on where it was cut.

    pip install submitit
    python slurm.py fox.toml cat.toml --set schedule.epochs=20 --partition gpu --hours 8

The runs folder must be one that the nodes see too. A run that Slurm takes a node from saves, is
put in the queue again by submitit, and ends with the weights of an unbroken one. `--here` runs
the jobs on this machine instead, to try the script without a cluster.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

GRACE = 80
"""Seconds to save in; Slurm warns submitit 90 before it takes a node."""


class Training:
    """A run's folder on its way to a node; called there, and again after each interruption."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> int:
        """Train, or go on; the exit code (docs/exit-codes.md)."""
        resume = [sys.executable, "-m", "app", "train", "--resume", self.folder, "--json"]
        self._process = subprocess.Popen(resume)
        while (code := self._process.poll()) is None:  # a wait could not be waited for in a signal
            time.sleep(0.5)
        return code

    def checkpoint(self) -> Any:
        """Save, and say what is to be called on the next node; submitit asks for it."""
        from submitit.helpers import DelayedSubmission

        Path(self.folder, "stop").touch()
        if self._process is not None:
            try:
                self._process.wait(GRACE)
            except subprocess.TimeoutExpired:
                self._process.kill()  # it resumes from its last checkpoint
        return DelayedSubmission(Training(self.folder))


def made(job: Path, overrides: list[str]) -> str:
    """A new run of the job, checked and ready to start; its folder."""
    changes = [word for change in overrides for word in ("--set", change)]
    prepare = [sys.executable, "-m", "app", "train", str(job), "--no-start", "--json", *changes]
    told = subprocess.run(prepare, check=True, stdout=subprocess.PIPE)
    return str(json.loads(told.stdout)["folder"])


def executor_of(asked: argparse.Namespace) -> Any:
    """What takes calls to the cluster."""
    import submitit

    if asked.here:
        executor = submitit.LocalExecutor(folder=asked.logs)
        executor.update_parameters(timeout_min=60 * asked.hours)
        return executor
    executor = submitit.SlurmExecutor(folder=asked.logs, max_num_timeout=asked.resumes)
    executor.update_parameters(
        partition=asked.partition,
        time=60 * asked.hours,
        gpus_per_node=asked.gpus,
        cpus_per_task=8 * asked.gpus,
        ntasks_per_node=1,
        nodes=1,
        signal_delay_s=90,
        job_name="sweetspot",
    )
    return executor


def main(words: list[str] | None = None) -> list[Any]:
    """Submit what the command line names; the submitted calls."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("jobs", nargs="+", type=Path, help="job files")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    parser.add_argument("--partition", default="gpu")
    parser.add_argument("--gpus", type=int, default=1, help="cards of one node for each job")
    parser.add_argument("--hours", type=int, default=8)
    parser.add_argument("--resumes", type=int, default=10, help="times that a job may run out")
    parser.add_argument("--logs", type=Path, default=Path("slurm-logs"))
    parser.add_argument("--here", action="store_true", help="on this machine, to try it")
    asked = parser.parse_args(words)
    shared = [f"compute.processes={asked.gpus}"] if asked.gpus > 1 else []
    executor = executor_of(asked)
    calls = []
    for job in asked.jobs:
        folder = made(job, [*asked.set, *shared])
        calls.append(executor.submit(Training(folder)))
        print(f"{calls[-1].job_id}: {folder}", flush=True)
    return calls


if __name__ == "__main__":
    ended = [call.result() for call in main() if "--here" in sys.argv]
    sys.exit(max(ended, default=0))
