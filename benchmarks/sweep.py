"""Pictures per second of a sweep, against three other ways to render the same cells.

    python benchmarks/sweep.py RUN_OR_LORA_FILES... [--base demo] [--side 128] [--steps 20]
    python benchmarks/sweep.py --random FOLDER      an SD1.5-size model with random weights, 256 px

The ways: a fresh pipeline and `load_lora_weights` for each cell; one pipeline and `set_adapters`;
plain batched generation without any LoRA (the floor); and ours. They take turns, each on a share
of the cells, in one process. benchmarks/README.md says more.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from random_model import make_model

from analysis.cell import Cell
from analysis.renders import fitting
from analysis.studio import lora_files
from trainer.core import device
from trainer.engine.bank import Bank, Row
from trainer.engine.sampling import Recipe, Words, encode, render, use_lora
from trainer.families.sd import SdConfig
from trainer.weights.files import read

PROMPTS = ("a banana", "a frog", "a robot")
STRENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2)


@dataclass(frozen=True)
class Bench:
    """What all ways share."""

    base: str
    loras: tuple[Path, ...]
    plan: device.Plan
    recipe: Recipe
    cells: tuple[Cell, ...]
    together: int

    def load(self) -> Any:
        """A fresh model."""
        return SdConfig(base=self.base).load(self.plan)


def main() -> None:
    """Measure and print."""
    asked = arguments()
    base, loras = asked.base, lora_files(asked.loras) if asked.loras else []
    if asked.random:
        base = str(make_model(asked.random))
        loras = random_loras(base, asked.random, count=asked.checkpoints)
    loras = loras[: asked.checkpoints]
    plan = device.plan("auto", asked.precision)
    recipe = Recipe((asked.side,) * 2, asked.steps, asked.guidance)
    cells = tuple(
        Cell(number + 1, strength, prompt, seed)
        for number in range(len(loras))
        for strength, prompt, seed in itertools.product(
            STRENGTHS[: asked.strengths], PROMPTS[: asked.prompts], range(asked.seeds)
        )
    )
    together = asked.together or fitting(recipe.size, plan.device)
    bench = Bench(base, tuple(loras), plan, recipe, cells, together)
    print(
        f"{len(cells)} cells: {len(loras)} LoRAs, {plan.precision}, {asked.side} px, "
        f"{asked.steps} steps, {together} in one pass"
    )
    measure(bench, asked.rounds, asked.few)


def arguments() -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("loras", type=Path, nargs="*", help="LoRA files, or a folder of them")
    parser.add_argument("--base", default="demo")
    parser.add_argument("--random", type=Path, help="make a random SD1.5-size model in this folder")
    parser.add_argument("--checkpoints", type=int, default=6)
    parser.add_argument("--strengths", type=int, default=6)
    parser.add_argument("--prompts", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--together", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--few", type=int, default=6, help="cells a round of the two slow ways")
    return parser.parse_args()


def measure(bench: Bench, rounds: int, few: int) -> None:
    """Let the ways take turns; print pictures per second and the medians of each round's ratio."""
    ways: dict[str, tuple[Callable[[Sequence[Cell]], None], Sequence[Cell]]] = {
        "fresh pipeline a cell": (
            Reloading(bench),
            bench.cells[:: max(1, len(bench.cells) // few)],
        ),
        "set_adapters": (Switching(bench), bench.cells[:: max(1, len(bench.cells) // few)]),
        "no LoRA, Diffusers": (Plain(bench, ours=False), bench.cells),
        "no LoRA, our engine": (Plain(bench, ours=True), bench.cells),
        "ours": (Ours(bench), bench.cells),
        "ours, mixed passes": (Ours(bench, mixed=True), bench.cells),
    }
    for way, cells in ways.values():
        way(cells[:2])  # warm up
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name, (way, cells) in ways.items():
            started = time.perf_counter()
            way(cells)
            rates[name].append(len(cells) / (time.perf_counter() - started))
            print(f"round {number + 1}  {name:<22} {rates[name][-1]:7.3f} pictures/s", flush=True)
    for name, found in rates.items():
        ratio = statistics.median(o / f for o, f in zip(rates["ours"], found, strict=True))
        print(f"{name:<22} {statistics.median(found):7.3f} pictures/s   ours is {ratio:5.2f}x")


class Reloading:
    """A new pipeline for each cell, with its LoRA loaded."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def __call__(self, cells: Sequence[Cell]) -> None:
        for cell in cells:
            model = self.bench.load()
            use_lora(model, self.bench.loras[cell.epoch - 1], cell.strength)
            words = encode(model, [cell.prompt], "")
            render(model, words, [cell.seed], self.bench.recipe)


class Switching:
    """One Diffusers pipeline with all LoRAs loaded, switched for each cell."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.model = bench, bench.load()
        self.pipeline: Any = self.model.pipeline()
        for number, path in enumerate(bench.loras, start=1):
            self.pipeline.load_lora_weights(
                path.parent, weight_name=path.name, adapter_name=f"l{number}"
            )

    def __call__(self, cells: Sequence[Cell]) -> None:
        import torch

        width, height = self.bench.recipe.size
        for cell in cells:
            self.pipeline.set_adapters([f"l{cell.epoch}"], [cell.strength])
            with torch.no_grad():
                self.pipeline(
                    cell.prompt,
                    generator=torch.Generator().manual_seed(cell.seed),
                    width=width,
                    height=height,
                    num_inference_steps=self.bench.recipe.steps,
                    guidance_scale=self.bench.recipe.guidance,
                )


class Plain:
    """The base model alone, in passes of the same size: by plain Diffusers, or by our engine."""

    def __init__(self, bench: Bench, *, ours: bool) -> None:
        import torch

        self.bench, self.model = bench, bench.load()
        if not ours:
            self.model.vae.to(memory_format=torch.contiguous_format)
        words = {
            p: encode(self.model, [p], "") for p in dict.fromkeys(c.prompt for c in bench.cells)
        }
        self.words = words

    def __call__(self, cells: Sequence[Cell]) -> None:
        for start in range(0, len(cells), self.bench.together):
            some = cells[start : start + self.bench.together]
            words = Words.stacked([self.words[cell.prompt] for cell in some])
            render(self.model, words, [cell.seed for cell in some], self.bench.recipe)


class Ours:
    """The bank: each row with its own LoRA and strength.

    Passes hold one checkpoint's cells, as a full grid's do, or are mixed as in a race.
    """

    def __init__(self, bench: Bench, *, mixed: bool = False) -> None:
        self.bench, self.model, self.mixed = bench, bench.load(), mixed
        weights = {p.stem: read(p).weights(SdConfig.naming) for p in bench.loras}
        self.bank = Bank(self.model, weights)
        self.words = {
            p: encode(self.model, [p], "") for p in dict.fromkeys(c.prompt for c in bench.cells)
        }

    def __call__(self, cells: Sequence[Cell]) -> None:
        if self.mixed:
            cells = sorted(cells, key=lambda cell: (cell.prompt, cell.seed, cell.epoch))
        for start in range(0, len(cells), self.bench.together):
            some = cells[start : start + self.bench.together]
            rows = [Row(self.bench.loras[cell.epoch - 1].stem, cell.strength) for cell in some]
            words = Words.stacked([self.words[cell.prompt] for cell in some])
            with self.bank.rows(rows):
                render(self.model, words, [cell.seed for cell in some], self.bench.recipe)


def random_loras(base: str, folder: Path, *, count: int) -> list[Path]:
    """LoRA files of rank 8 on the attention layers, with random values."""
    import torch

    from trainer.adapters.lora import LoraConfig
    from trainer.weights.attach import attach
    from trainer.weights.files import save
    from trainer.weights.layouts import Weights, to_kohya

    paths = [folder / "loras" / f"random-e{number:04d}.safetensors" for number in range(count)]
    for number, path in enumerate(paths):
        if path.is_file():
            continue
        model = SdConfig(base=base).load(device.plan("cpu", "bf16"))
        adapter = attach(model, LoraConfig(rank=8, alpha=8), text_encoders=(), seed=number)
        for module in adapter.modules:
            torch.nn.init.normal_(module.b, std=0.01)
        path.parent.mkdir(parents=True, exist_ok=True)
        save(
            path, to_kohya(Weights(adapter.state(), adapter.alphas()), SdConfig.naming), {}, "fp16"
        )
    return paths


if __name__ == "__main__":
    main()
