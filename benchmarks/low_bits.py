"""Gradients of a FLUX transformer of full width on weights in few bits, beside those on bf16.

    python benchmarks/low_bits.py --cache FOLDER

The random model of benchmarks/memory.py (width 3072, 3 double and 3 single blocks) takes two
steps on each base, in a process of its own: the same pictures, noise, timesteps and adapter.
Printed: the peak beside the plan's estimate, the losses, and of the gradients of all LoRA
matrices at both steps the cosine with those on bf16 and the length beside theirs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import memory
from memory import GIB, ROOT

BASES = {
    "bf16": "flux 3072 bf16",
    "int8": "flux 3072 int8",
    "fp8": "flux 3072 fp8",
    "nf4": "flux 3072 nf4",
}


def main() -> None:
    """Take the steps on each base in turn and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="random models are kept here")
    parser.add_argument("--one", nargs=2, help="(internal) run this one here, gradients to a file")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(take_steps(args.cache, args.one[0], Path(args.one[1]))))
        return
    memory.prepare_models(args.cache, BASES["bf16"])
    print("| base | estimated GiB | measured GiB | losses | cosine, both | length, both |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        files = {base: Path(folder) / f"{base}.pt" for base in BASES}
        for base, name in BASES.items():
            command = [sys.executable, __file__, "--cache", str(args.cache)]
            command += ["--one", name, str(files[base])]
            out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
            told = json.loads(out.stdout.strip().splitlines()[-1])
            cosines, lengths = compare(files[base], files["bf16"])
            print(
                f"| {base} | {told['estimated'] / GIB:.2f} | {told['measured'] / GIB:.2f} "
                f"| {in_words(told['losses'])} | {in_words(cosines)} | {in_words(lengths)} |",
                flush=True,
            )


def take_steps(cache: Path, name: str, file: Path) -> dict[str, Any]:
    """Two steps; writes each step's gradients as one vector."""
    sys.path.insert(0, str(ROOT))
    import torch
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    from trainer.engine.memory import phases
    from trainer.planning import plan_of
    from trainer.prepare import prepare

    taken = []

    def keep(optimizer: Any, args: Any, kwargs: Any) -> None:
        groups = optimizer.param_groups
        grads = [p.grad.float().flatten() for group in groups for p in group["params"]]
        taken.append(torch.cat(grads))

    with tempfile.TemporaryDirectory() as runs:
        job = memory.job_of(cache, name, runs)
        plan = plan_of(job)
        found = phases(job, plan, job.model.outline(job.adapter.targets))
        parts = prepare(job, plan, lambda event: None)
        register_optimizer_step_pre_hook(keep)
        losses = [step.loss for step in parts.loop.steps(after=0)]
    torch.save(taken, file)
    return {"estimated": found.peak, "measured": memory.peak_so_far(), "losses": losses}


def compare(ours: Path, plain: Path) -> tuple[list[float], list[float]]:
    """Cosine and ratio of lengths of each step's gradients."""
    import torch

    read = [torch.load(file, weights_only=True) for file in (ours, plain)]
    pairs = [(a.double(), b.double()) for a, b in zip(*read, strict=True)]  # sums of millions
    cosines = [torch.cosine_similarity(a, b, dim=0).item() for a, b in pairs]
    return cosines, [(a.norm() / b.norm()).item() for a, b in pairs]


def in_words(values: list[float]) -> str:
    """Four digits of each."""
    return ", ".join(f"{value:.4f}" for value in values)


if __name__ == "__main__":
    main()
