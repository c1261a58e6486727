"""The programs that train_step.py compares: how each is told to train the same LoRA.

Nothing here measures; nothing of a peer is part of this repository.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

ROOT = Path(__file__).resolve().parents[1]
RANK = 8
PROMPT = "a photo of sks dog"
SCRIPTS = {
    "sd": "train_dreambooth_lora.py",
    "sdxl": "train_dreambooth_lora_sdxl.py",
    "flux": "train_dreambooth_lora_flux.py",
}
TARGETS = {
    "sd": r".*\.attn[12]\.(to_[qkv]|to_out\.0)",
    "sdxl": r".*\.attn[12]\.(to_[qkv]|to_out\.0)",
    "flux": r".*\.(attn\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)"
    r"|ff(_context)?\.net\.(0\.proj|2))",
}
"""What Diffusers' scripts adapt of each family unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Material:
    """What every program trains on."""

    family: str
    side: int
    model: Path
    pictures: Path


@dataclass(frozen=True, slots=True)
class Contender:
    """A program to measure: makes the command line for a fresh folder to write to."""

    name: str
    python: Path
    command: Callable[[Path], list[str]]
    place: Path


def contenders(asked: argparse.Namespace, material: Material) -> Iterator[Contender]:
    """Those that can be run with what was asked for."""
    if asked.diffusers_scripts:
        script = (asked.diffusers_scripts / SCRIPTS[material.family]).absolute()
        yield diffusers("Diffusers", asked.diffusers_python, script, material)
        if material.family == "flux":
            more = {"cache_latents": None}
            name = "Diffusers, latents cached"
            yield diffusers(name, asked.diffusers_python, script, material, more)
    if asked.sd_scripts and material.family == "sd":
        yield kohya(asked, material)
    yield ours("ours", material)
    yield ours("ours, packed", material, packed=True)
    if material.family == "sd":
        yield ours("ours, packed, kohya's layers", material, packed=True, targets="linear")


def diffusers(
    name: str,
    python: Path,
    script: Path,
    material: Material,
    more: dict[str, Any] | None = None,
) -> Contender:
    """A Diffusers DreamBooth script, as its page tells to run it."""
    settings = {
        "pretrained_model_name_or_path": material.model,
        "instance_data_dir": material.pictures,
        "instance_prompt": PROMPT,
        "resolution": material.side,
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
        **({"lora_alpha": RANK, "guidance_scale": 1} if material.family == "flux" else {}),
        **(more or {}),
    }
    return Contender(
        name,
        python,
        lambda folder: [str(script), *options(settings | {"output_dir": folder})],
        script.parent,
    )


def kohya(asked: argparse.Namespace, material: Material) -> Contender:
    """Kohya's train_network.py, with its own means of speed: cached latents and SDPA."""
    settings = {
        "pretrained_model_name_or_path": material.model,
        "train_data_dir": material.pictures.parent,
        "resolution": f"{material.side},{material.side}",
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
        "tokenizer_cache_dir": material.model.parent / "tokenizers",
    }
    return Contender(
        "kohya",
        asked.sd_scripts_python,
        lambda folder: ["train_network.py", *options(settings | {"output_dir": folder})],
        asked.sd_scripts.absolute(),
    )


def ours(
    name: str, material: Material, *, packed: bool = False, targets: str | None = None
) -> Contender:
    """Sweetspot's worker on a run folder, as the app starts it."""

    def command(folder: Path) -> list[str]:
        from trainer.job.file import parse_job
        from trainer.job.run import Run

        values: dict[str, Any] = {
            "runs": str(folder),
            "model": {
                "kind": material.family,
                "base": str(material.model),
                "resolution": material.side,
            },
            "dataset": {"folder": str(material.pictures), "trigger": "sks", "class_word": "dog"},
            "adapter": {
                "rank": RANK,
                "alpha": float(RANK),
                "targets": targets or TARGETS[material.family],
            },
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
