"""The memory model beside the measured peak, on the CPU.

    python benchmarks/memory.py --cache FOLDER [--only NAME ...]

Each configuration prepares a run of a random model (encoders, cache, adapter) and takes two steps
in a process of its own, whose largest resident size is compared with what the preflight says.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from random_families import Size, make_flux, make_sdxl
from random_model import make_model, make_pictures

ROOT = Path(__file__).resolve().parents[1]
GIB = 2**30
SMALL_FLUX, WIDE_FLUX = Size(1024, 4, 8), Size(3072, 3, 3, words=2048, text_layers=6)
FLUX_DEV, SDXL = (
    Size(3072, 19, 38, words=4096, text_layers=24),
    Size(320, words=1280, text_layers=32),
)
SMALL_SDXL, WIDE_SDXL = Size(128, words=640), Size(320, words=1280, text_layers=8)
RECOMPUTED = {"gradient_checkpointing": True}
RUNS: dict[str, dict[str, Any]] = {
    "sd15 fp32": {"side": 256, "compute": {"precision": "fp32"}},
    "sd15 bf16": {"side": 256},
    "sd15 bf16, batch 4": {"side": 256, "schedule": {"batch_size": 4}},
    "sd15 bf16, batch 4, recomputed": {
        "side": 256,
        "schedule": {"batch_size": 4},
        "compute": RECOMPUTED,
    },
    "sdxl/6 bf16, batch 2": {"size": SMALL_SDXL, "side": 512, "schedule": {"batch_size": 2}},
    "sdxl bf16, recomputed": {"size": WIDE_SDXL, "side": 512, "compute": RECOMPUTED},
    "sdxl int8, recomputed": {
        "size": WIDE_SDXL,
        "side": 512,
        "compute": RECOMPUTED,
        "memory": {"base": "int8"},
    },
    "flux 1024 bf16": {"size": SMALL_FLUX, "side": 256},
    "flux 1024 bf16, batch 4": {"size": SMALL_FLUX, "side": 256, "schedule": {"batch_size": 4}},
    "flux 1024 bf16, batch 4, recomputed": {
        "size": SMALL_FLUX,
        "side": 256,
        "schedule": {"batch_size": 4},
        "compute": RECOMPUTED,
    },
    "flux 1024 int8, batch 2": {
        "size": SMALL_FLUX,
        "side": 256,
        "schedule": {"batch_size": 2},
        "memory": {"base": "int8", "text": "int8"},
    },
    "flux 3072 bf16": {"size": WIDE_FLUX, "side": 256},
    "flux 3072 int8": {"size": WIDE_FLUX, "side": 256, "memory": {"base": "int8"}},
    "flux 3072 nf4": {"size": WIDE_FLUX, "side": 256, "memory": {"base": "nf4"}},
    "flux 3072 fp8": {"size": WIDE_FLUX, "side": 256, "memory": {"base": "fp8"}},
    "flux 3072 nf4, recomputed": {
        "size": WIDE_FLUX,
        "side": 256,
        "compute": RECOMPUTED,
        "memory": {"base": "nf4", "text": "nf4"},
    },
    "flux 3072 nf4, half recomputed": {
        "size": WIDE_FLUX,
        "side": 512,
        "compute": RECOMPUTED,
        "memory": {"base": "nf4", "text": "nf4", "recompute": 0.5},
    },
}
UNSEEN: dict[str, dict[str, Any]] = {
    "sd15 bf16, 512 px": {"side": 512},
    "sd15 bf16, packed": {"side": 256, "compute": {"packed": True}},
    "sd15 int8, batch 2": {
        "side": 256,
        "schedule": {"batch_size": 2},
        "memory": {"base": "int8"},
    },
    "sdxl/6 fp32": {"size": SMALL_SDXL, "side": 512, "compute": {"precision": "fp32"}},
    "flux 1024 bf16, 512 px, recomputed": {
        "size": SMALL_FLUX,
        "side": 512,
        "compute": RECOMPUTED,
    },
    "flux 3072 int8, 512 px, rank 64, recomputed": {
        "size": WIDE_FLUX,
        "side": 512,
        "compute": RECOMPUTED,
        "memory": {"base": "int8", "text": "int8"},
        "adapter": {"rank": 64},
    },
}
"""Measured after the formula was settled."""
RUNS |= UNSEEN
FULL: dict[str, dict[str, Any]] = {
    "flux.1 dev, 12 B, nf4": {
        "size": FLUX_DEV,
        "side": 256,
        "compute": RECOMPUTED,
        "memory": {"base": "nf4", "text": "nf4"},
        "schedule": {"steps": 1},
    },
    "sdxl, 2.6 B, bf16": {"size": SDXL, "side": 512, "schedule": {"steps": 1}},
}
"""As large as the published ones; their random weights take 34 and 7 GB of disk."""


def main() -> None:
    """Run each in turn and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="random models are kept here")
    parser.add_argument("--only", nargs="*", default=[], help="names that hold one of these")
    parser.add_argument("--full", action="store_true", help="the models of full size instead")
    parser.add_argument("--one", help="(internal) run this one here")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.cache, args.one)))
        return
    runs = FULL if args.full else RUNS
    print("| Run | estimated GiB | measured GiB | off |\n|---|---|---|---|")
    for name in runs:
        if args.only and not any(word in name for word in args.only):
            continue
        prepare_models(args.cache, name)
        told = child(args.cache, name)
        guess, peak = told["estimated"] / GIB, told["measured"] / GIB
        print(f"| {name} | {guess:.2f} | {peak:.2f} | {guess / peak - 1:+.0%} |", flush=True)
        print(f"<!-- {told['phases']} -->", flush=True)


def prepare_models(cache: Path, name: str) -> None:
    """Write the model in a process of its own, so that nothing of it is counted."""
    code = (
        f"import memory; from pathlib import Path; memory.model_of(Path({str(cache)!r}), {name!r})"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT / "benchmarks")


def child(cache: Path, name: str) -> dict[str, Any]:
    """What `measure` finds in a fresh process."""
    command = [sys.executable, str(Path(__file__)), "--cache", str(cache), "--one", name]
    out = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    found: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    return found


def model_of(cache: Path, name: str) -> tuple[str, Path]:
    """The family and the folder of a run's model."""
    size = (RUNS | FULL)[name].get("size")
    if size is None:
        return "sd", make_model(cache)
    if name.startswith("flux"):
        return "flux", make_flux(cache, size)
    return "sdxl", make_sdxl(cache, size)


def measure(cache: Path, name: str) -> dict[str, Any]:
    """Estimated and measured bytes at the peak up to the last step, and the seconds of a step."""
    sys.path.insert(0, str(ROOT))
    from trainer.engine.memory import phases
    from trainer.planning import plan_of
    from trainer.prepare import prepare

    with tempfile.TemporaryDirectory() as runs:
        job = job_of(cache, name, runs)
        plan = plan_of(job)
        found = phases(job, plan, job.model.outline(job.adapter.targets))
        parts = prepare(job, plan, lambda event: None)
        before = peak_so_far()
        steps = [sum(step.seconds.values()) for step in parts.loop.steps(after=0)]
    told = {k: round(getattr(found, k) / GIB, 2) for k in ("words", "pictures", "steps")}
    parts_told = {k: round(getattr(found, k) / GIB, 2) for k in ("weights", "kept", "adapter")}
    return {
        "estimated": found.peak,
        "measured": peak_so_far(),
        "phases": f"{told} {parts_told}, peak before the steps {before / GIB:.2f}, "
        f"last step {steps[-1]:.1f} s",
    }


def peak_so_far() -> int:
    """The largest resident size of this process in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def job_of(cache: Path, name: str, runs: str) -> Any:
    """The job of a configuration."""
    from trainer.job.file import merge, parse_job

    asked = (RUNS | FULL)[name]
    family, folder = model_of(cache, name)
    side = asked["side"]
    job = {
        "runs": runs,
        "model": {"kind": family, "base": str(folder), "resolution": side},
        "dataset": {
            "folder": str(make_pictures(cache, side=side)),
            "trigger": "sks",
            "class_word": "dog",
        },
        "adapter": {"rank": 16},
        "schedule": {"steps": 2, "epochs": None, "seed": 0},
        "compute": {"device": "cpu", "precision": "bf16"},
        "samples": {"every": 0},
    }
    return parse_job(merge(job, {k: v for k, v in asked.items() if k not in ("size", "side")}))


if __name__ == "__main__":
    main()
