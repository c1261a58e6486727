"""A folder with a queue whose jobs are quick stand-ins, and workers that are processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from app.queue.store import Asked, Store
from trainer.job.file import parse_job

ROOT = Path(__file__).resolve().parents[3]


class Yard:
    """A folder with a queue, its runs, and workers that are processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.queue = folder / "queue"
        self.runs = folder / "runs"
        self.started: list[subprocess.Popen[str]] = []

    def asked(self, name: str, **changes: object) -> Asked:
        values = {"name": name, "runs": str(self.runs), "dataset": {"folder": "pictures"}}
        job = parse_job(values | {"cache": str(self.folder / "cache")} | changes)
        return Asked(name, "train", "auto", str(self.runs), job.model_dump_json())

    def add(self, *names: str) -> list[int]:
        with Store(self.queue) as store:
            return store.add([self.asked(name) for name in names])

    def worker(
        self, spot: str = "", *before: str, machine: str = "", lease: float = 90
    ) -> subprocess.Popen[str]:
        """Start one, by way of the command `before` if given."""
        words = [sys.executable, "-m", "tests.app.queue.working"]
        words += [str(self.queue), spot, machine, str(lease)]
        process = subprocess.Popen(
            [*before, *words],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        return process

    def close(self) -> None:
        """End workers that a failed test left."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def works(self, spot: str = "") -> int:
        process = self.worker(spot)
        said, _ = process.communicate(timeout=120)
        sys.stdout.write(said)
        return process.returncode

    def entries(self):
        with Store(self.queue) as store:
            return store.entries()

    def states(self) -> dict[str, str]:
        return {entry.name: entry.state for entry in self.entries()}

    def steps(self) -> list[tuple[str, int]]:
        """Run and step of every step that was taken, in order."""
        path = self.runs / "steps.log"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [(line.split()[0], int(line.split()[1])) for line in lines]

    def run_folders(self) -> list[str]:
        return sorted(path.parent.name for path in self.runs.glob("*/job.toml"))

    def ends(self, run: str) -> list[str]:
        lines = (self.runs / run / "events.jsonl").read_text(encoding="utf-8").splitlines()
        told = [json.loads(line) for line in lines if line]
        return [event["status"] for event in told if event["kind"] == "Ended"]
