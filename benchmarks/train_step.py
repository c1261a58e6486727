"""Seconds and memory of one optimizer step, beside the Diffusers and kohya scripts.

    python benchmarks/train_step.py --cache FOLDER --rounds 3 [--family sdxl] \
        --diffusers-scripts DIFFUSERS/examples/dreambooth --diffusers-python VENV/bin/python \
        --sd-scripts SD_SCRIPTS --sd-scripts-python VENV/bin/python

A model with random weights is trained on random pictures by each program in turn, in a process of
its own, ended after `--steps` steps. benchmarks/README.md says how.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contenders import RANK, TARGETS, Contender, Material, contenders
from floor import flops_needed, matmul_rate
from random_model import make_pictures

WARM_UP = 3
"""Steps that are not counted: they allocate, pack and fill caches."""

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
MAKE = """
from pathlib import Path
import random_families, random_model
cache, Size = Path({cache!r}), random_families.Size
{call}
"""
CALLS = {
    "sd": "random_model.make_model(cache)",
    "sdxl": "random_families.make_sdxl(cache, Size(192, words=1280, text_layers=8))",
    "flux": "random_families.make_flux(cache, Size(3072, 1, 2, words=2048, text_layers=4))",
}
"""Makes each family's model; text encoders are as large beside the denoiser as in the real one."""


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


def main() -> None:
    """Measure and print, or be the process that is measured."""
    if sys.argv[1:2] == ["--watched"]:
        run_watched(Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
        return
    asked = arguments()
    material = Material(
        asked.family,
        asked.side,
        make_model(asked.cache, asked.family),
        make_pictures(asked.cache, side=asked.side),
    )
    chosen = [
        contender
        for contender in contenders(asked, material)
        if not asked.only or contender.name in asked.only
    ]
    found: dict[str, list[Measured]] = {contender.name: [] for contender in chosen}
    rates = []
    for number in range(asked.rounds):
        rates.append(matmul_rate())
        for contender in chosen:
            measured = measure(contender, asked.steps, asked.threads)
            found[contender.name].append(measured)
            print(
                f"round {number + 1}  {contender.name:<30} {measured.seconds:6.2f} s"
                f"  {measured.cpu:6.2f} cpu-s  {measured.gib:5.2f} GiB",
                flush=True,
            )
    flops = flops_needed(
        asked.family, material.model, side=asked.side, rank=RANK, targets=TARGETS[asked.family]
    )
    report(found, statistics.median(rates), flops)


def make_model(cache: Path, family: str) -> Path:
    """The family's model, written by a process of its own so that its memory is given back."""
    code = MAKE.format(cache=str(cache), call=f"print({CALLS[family]})")
    place = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=place, check=True, stdout=subprocess.PIPE, text=True
    )
    return Path(done.stdout.splitlines()[-1])


def arguments() -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--cache", type=Path, required=True, help="model and pictures are kept here"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12, help=f"per process; {WARM_UP} warm up")
    parser.add_argument("--family", choices=CALLS, default="sd")
    parser.add_argument("--threads", type=int, help="of each program; all cores when left out")
    parser.add_argument("--side", type=int, default=256, help="of the pictures, px")
    parser.add_argument("--diffusers-scripts", type=Path, help="their examples/dreambooth")
    parser.add_argument("--diffusers-python", type=Path, default=Path(sys.executable))
    parser.add_argument("--sd-scripts", type=Path)
    parser.add_argument("--sd-scripts-python", type=Path)
    parser.add_argument("--only", action="append", help="name of a contender; may be repeated")
    asked = parser.parse_args()
    asked.cache = asked.cache.absolute()
    return asked


def measure(contender: Contender, steps: int, threads: int | None) -> Measured:
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
            env=os.environ | OFFLINE | ({"OMP_NUM_THREADS": str(threads)} if threads else {}),
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
