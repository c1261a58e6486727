"""Runs that never ran: folders as a process would have left them, for pages to show."""

from __future__ import annotations

import json
import time
from pathlib import Path

JOB = """
version = 1
name = "fox"
runs = "{runs}"
[model]
kind = "sd"
base = "demo"
[dataset]
folder = "/pictures/fox"
[schedule]
epochs = {epochs}
"""
SECONDS = {"data": 0.01, "forward": 0.1, "backward": 0.2, "update": 0.02}


def told_run(runs: Path, name: str, *events: dict, status: str = "completed", epochs: int = 3):
    """A run of this name whose process told these events."""
    folder = runs / name
    for inner in ("samples", "lora", "checkpoints"):
        (folder / inner).mkdir(parents=True)
    (folder / "job.toml").write_text(JOB.format(runs=runs, epochs=epochs), encoding="utf-8")
    lines = [json.dumps({"time": 1.79e9 + n, **event}) + "\n" for n, event in enumerate(events)]
    (folder / "events.jsonl").write_text("".join(lines), encoding="utf-8")
    if status != "waiting":
        state = {"pid": 2**22 + 1, "born": 1.0, "status": "running" if status == "died" else status}
        (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")
    return folder


def started(steps: int = 6, resumed_from: int = 0) -> dict:
    return {
        "kind": "Started",
        "steps": steps,
        "epochs": 3,
        "images": 4,
        "seed": 3,
        "device": "cpu",
        "precision": "fp32",
        "trainable": 1000,
        "modules": 10,
        "trains": "10 modules",
        "resumed_from": resumed_from,
    }


def stepped(step: int, loss: float | None = 0.1) -> dict:
    return {
        "kind": "Stepped",
        "step": step,
        "epoch": 1 + (step - 1) // 2,
        "loss": loss,
        "rate": 1e-4,
        "gradient": 0.5,
        "seconds": SECONDS,
    }


def ended(status: str = "completed", **told: str) -> dict:
    return {"kind": "Ended", "status": status, "step": 6, **told}


def whole_run(runs: Path, name: str, **how):
    return told_run(
        runs, name, started(), *(stepped(n, 0.2 - n / 100) for n in range(1, 7)), ended(), **how
    )


def running_here(folder: Path) -> None:
    """Have a folder say that this process works on it."""
    import psutil

    me = psutil.Process()
    state = {"pid": me.pid, "born": me.create_time(), "status": "running"}
    (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")


def add(folder: Path, *events: dict) -> None:
    with (folder / "events.jsonl").open("a", encoding="utf-8") as file:
        for event in events:
            file.write(json.dumps({"time": time.time(), **event}) + "\n")
