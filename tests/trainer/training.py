"""Small jobs that really train, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainer.core.events import Event
from trainer.job.config import JobConfig
from trainer.job.file import merge, parse_job
from trainer.job.run import Run


def tiny_job(model: Path, pictures: Path, runs: Path, /, **changes: Any) -> JobConfig:
    """Six steps of two epochs on a tiny model, with everything on that uses chance."""
    values: dict[str, Any] = {
        "name": "tiny",
        "runs": str(runs),
        "model": {"base": str(model), "resolution": 64},
        "dataset": {
            "folder": str(pictures),
            "bucket_step": 16,
            "flip": True,
            "caption_dropout": 0.2,
        },
        "adapter": {"rank": 2, "alpha": 1.0, "dropout": 0.1},
        "optimizer": {"learning_rate": 5e-3},
        "schedule": {"epochs": 2, "batch_size": 2, "accumulate": 2, "seed": 3},
        "compute": {"precision": "fp32", "device": "cpu"},
        "samples": {"every": 0},
        "save": {"state_every_steps": 1, "precision": "fp32"},
    }
    return parse_job(merge(values, changes))


def train_here(
    job: JobConfig, *, stop_after: int = 0, run: Run | None = None
) -> tuple[Run, list[Event]]:
    """Train in this process; stop after so many steps of this call when asked to."""
    from trainer.core.events import Stepped
    from trainer.train import train

    told: list[Event] = []
    run = run or Run.create(job)
    steps = lambda: sum(isinstance(event, Stepped) for event in told)  # noqa: E731
    train(run, told.append, lambda: bool(stop_after) and steps() >= stop_after)
    return run, told


def lora_bytes(run: Run) -> dict[str, bytes]:
    """The tensors of each LoRA file, without the header, which holds dates."""
    contents = {}
    for path in sorted(run.lora.glob("*.safetensors")):
        content = path.read_bytes()
        contents[path.name] = content[8 + int.from_bytes(content[:8], "little") :]
    return contents
