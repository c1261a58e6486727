"""Seconds and memory of one optimizer step, beside the Diffusers and kohya scripts.

    python benchmarks/train_step.py --cache FOLDER --rounds 3 \
        --diffusers-script DIFFUSERS/examples/dreambooth/train_dreambooth_lora.py \
        --diffusers-python VENV/bin/python \
        --sd-scripts SD_SCRIPTS --sd-scripts-python VENV/bin/python

An SD1.5-size model with random weights is trained on random pictures by each program in turn, in
a process of its own, ended after `--steps` steps. benchmarks/README.md says how.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from floor import flops_needed, matmul_rate
from random_model import make_model, make_pictures

ROOT = Path(__file__).resolve().parents[1]
SIDE = 256
RANK = 8
WARM_UP = 3
"""Steps that are not counted: they allocate, pack and fill caches."""

PROMPT = "a photo of sks dog"


@dataclass(frozen=True, slots=True)
class Measured:
    """One process's steps.

    Attributes:
        seconds: Wall time of a step, median after warm-up.
        cpu: The same in CPU-seconds of all threads.
        gib: Largest resident size up to the last step.
    """

    seconds: float
    cpu: float
    gib: float


@dataclass(frozen=True, slots=True)
class Contender:
    """A program to measure: makes the command line for a fresh folder to write to."""

    name: str
    python: Path
    command: Callable[[Path], list[str]]
    place: Path


def main() -> None:
    """Measure and print, or be the process that is measured."""
    if sys.argv[1:2] == ["--watched"]:
        run_watched(Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
        return
    asked = arguments()
    model, pictures = make_model(asked.cache), make_pictures(asked.cache, side=SIDE)
    contenders = [
        contender
        for contender in (
            diffusers(asked, model, pictures),
            kohya(asked, model, pictures),
            ours("ours", model, pictures),
            ours("ours, packed", model, pictures, packed=True),
            ours("ours, packed, kohya's layers", model, pictures, packed=True, targets="linear"),
        )
        if contender and (not asked.only or contender.name in asked.only)
    ]
    found: dict[str, list[Measured]] = {contender.name: [] for contender in contenders}
    rates = []
    for number in range(asked.rounds):
        rates.append(matmul_rate())
        for contender in contenders:
            measured = measure(contender, asked.steps)
            found[contender.name].append(measured)
            print(
                f"round {number + 1}  {contender.name:<30} {measured.seconds:6.2f} s"
                f"  {measured.cpu:6.2f} cpu-s  {measured.gib:5.2f} GiB",
                flush=True,
            )
    report(found, statistics.median(rates), flops_needed(side=SIDE, rank=RANK))


def arguments() -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--cache", type=Path, required=True, help="model and pictures are kept here"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12, help=f"per process; {WARM_UP} warm up")
    parser.add_argument("--diffusers-script", type=Path)
    parser.add_argument("--diffusers-python", type=Path, default=Path(sys.executable))
    parser.add_argument("--sd-scripts", type=Path)
    parser.add_argument("--sd-scripts-python", type=Path)
    parser.add_argument("--only", action="append", help="name of a contender; may be repeated")
    asked = parser.parse_args()
    asked.cache = asked.cache.absolute()
    return asked


def diffusers(asked: argparse.Namespace, model: Path, pictures: Path) -> Contender | None:
    """The Diffusers DreamBooth script, as its page tells to run it."""
    if not asked.diffusers_script:
        return None
    settings = {
        "pretrained_model_name_or_path": model,
        "instance_data_dir": pictures,
        "instance_prompt": PROMPT,
        "resolution": SIDE,
        "train_batch_size": 1,
        "gradient_accumulation_steps": 1,
        "learning_rate": 1e-4,
        "lr_scheduler": "constant",
        "lr_warmup_steps": 0,
        "max_train_steps": 1000,
        "checkpointing_steps": 1000,
        "rank": RANK,
        "mixed_precision": "bf16",
        "seed": 0,
    }
    script = asked.diffusers_script.absolute()
    return Contender(
        "Diffusers",
        asked.diffusers_python,
        lambda folder: [str(script), *options(settings | {"output_dir": folder})],
        script.parent,
    )


def kohya(asked: argparse.Namespace, model: Path, pictures: Path) -> Contender | None:
    """Kohya's train_network.py, with its own means of speed: cached latents and SDPA."""
    if not asked.sd_scripts:
        return None
    root = asked.sd_scripts.absolute()
    settings = {
        "pretrained_model_name_or_path": model,
        "train_data_dir": pictures.parent,
        "resolution": f"{SIDE},{SIDE}",
        "train_batch_size": 1,
        "learning_rate": 1e-4,
        "lr_scheduler": "constant",
        "max_train_steps": 1000,
        "network_module": "networks.lora",
        "network_dim": RANK,
        "network_alpha": RANK,
        "network_train_unet_only": None,
        "optimizer_type": "AdamW",
        "mixed_precision": "bf16",
        "cache_latents": None,
        "sdpa": None,
        "seed": 0,
        "max_data_loader_n_workers": 0,
        "tokenizer_cache_dir": model.parent / "tokenizers",
    }
    return Contender(
        "kohya",
        asked.sd_scripts_python,
        lambda folder: ["train_network.py", *options(settings | {"output_dir": folder})],
        root,
    )


def ours(
    name: str, model: Path, pictures: Path, *, packed: bool = False, targets: str = "attention"
) -> Contender:
    """Sweetspot's worker on a run folder, as the app starts it."""

    def command(folder: Path) -> list[str]:
        from trainer.job.file import parse_job
        from trainer.job.run import Run

        values: dict[str, Any] = {
            "runs": str(folder),
            "model": {"base": str(model), "resolution": SIDE},
            "dataset": {"folder": str(pictures), "trigger": "sks", "class_word": "dog"},
            "adapter": {"rank": RANK, "alpha": float(RANK), "targets": targets},
            "optimizer": {"kind": "adamw", "learning_rate": 1e-4},
            "schedule": {"steps": 1000, "kind": "constant", "warmup": 0.0, "seed": 0},
            "compute": {"device": "cpu", "precision": "bf16", "packed": packed},
            "samples": {"every": 0},
        }
        return ["-m", "trainer.worker", str(Run.create(parse_job(values)).path)]

    return Contender(name, Path(sys.executable), command, ROOT)


def options(settings: dict[str, Any]) -> list[str]:
    """`--name value` pairs; None for a switch."""
    return [
        word
        for name, value in settings.items()
        for word in ([f"--{name}"] if value is None else [f"--{name}", str(value)])
    ]


def measure(contender: Contender, steps: int) -> Measured:
    """Run a program in a fresh folder until it has taken its steps."""
    with tempfile.TemporaryDirectory() as place:
        log, out = Path(place) / "steps.jsonl", Path(place) / "out"
        out.mkdir()
        done = subprocess.run(
            [
                str(contender.python),
                str(Path(__file__).resolve()),
                *("--watched", str(log), str(steps)),
                *contender.command(out),
            ],
            cwd=contender.place,
            env=os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        told = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        if len(told) < steps:
            sys.exit(f"{contender.name} took {len(told)} of {steps} steps:\n{done.stdout[-4000:]}")
    return Measured(_median_gap(told, "wall"), _median_gap(told, "cpu"), told[-1]["gib"])


def _median_gap(told: list[dict[str, float]], clock: str) -> float:
    times = [step[clock] for step in told[WARM_UP - 1 :]]
    return statistics.median(after - before for before, after in itertools.pairwise(times))


def run_watched(log: Path, steps: int, command: list[str]) -> None:
    """Become the program in `command`, writing a line at each optimizer step; then stop.

    The line is written when the step is done, so a gap between two lines is a whole step with
    whatever the program does around it.
    """
    from torch.optim import Optimizer
    from torch.optim.optimizer import register_optimizer_step_post_hook

    file = log.open("w", encoding="utf-8")
    taken = 0

    def told(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        nonlocal taken
        taken += 1
        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        line = {"wall": time.perf_counter(), "cpu": time.process_time(), "gib": largest}
        file.write(json.dumps(line) + "\n")
        file.flush()
        if taken == steps:
            os._exit(0)

    register_optimizer_step_post_hook(told)
    sys.path[0] = str(Path.cwd())
    if command[0] == "-m":
        sys.argv = command[1:]
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = command
        runpy.run_path(command[0], run_name="__main__")


def report(found: dict[str, list[Measured]], rate: float, flops: float) -> None:
    """The table: medians over the rounds, and medians of the rounds' ratios."""
    floor = flops / rate
    print(f"\nfloor: {flops / 1e9:.0f} GFLOP a step / {rate / 1e12:.2f} TFLOP/s = {floor:.2f} s")
    peers = [name for name in ("Diffusers", "kohya") if name in found]
    heads = "".join(f"{'time / ' + peer:>18}{'memory / ' + peer:>20}" for peer in peers)
    print(f"{'':<30}{'s/step':>8}{'cpu-s':>8}{'GiB':>7}{'of floor':>10}{heads}")
    for name, rounds in found.items():
        seconds = statistics.median(one.seconds for one in rounds)
        cpu = statistics.median(one.cpu for one in rounds)
        gib = statistics.median(one.gib for one in rounds)
        ratios = "".join(
            f"{ratio(rounds, found[peer], 'seconds'):>17.2f}x"
            f"{ratio(rounds, found[peer], 'gib'):>19.2f}x"
            for peer in peers
        )
        print(f"{name:<30}{seconds:>8.2f}{cpu:>8.2f}{gib:>7.2f}{floor / seconds:>10.0%}{ratios}")


def ratio(ours: list[Measured], theirs: list[Measured], what: str) -> float:
    """Median of the ratios within each round."""
    pairs = zip(ours, theirs, strict=True)
    return statistics.median(getattr(a, what) / getattr(b, what) for a, b in pairs)


if __name__ == "__main__":
    main()
