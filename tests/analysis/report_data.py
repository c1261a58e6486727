"""A made-up analysis on disk: pictures that change with epoch and strength, and report.json."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFilter

NASTY = '</script><script>alert(1)</script> "a, b" & <b>ünï</b>\n“second line” 🦊'
PROMPTS = (
    "sks fox in the snow",
    "sks fox on a beach, at dusk",
    "sks fox wearing a red hat",
    NASTY,
    "a fox",
)


@dataclass(frozen=True)
class Made:
    """What is made up.

    Attributes:
        broken: A cell (epoch, strength, prompt, seed) that has no picture.
        distinct: Whether every cell has a file of its own.
        noise: Add grain, so that pictures weigh as much as photos do.
    """

    epochs: Sequence[int] = (20, 40, 60, 80, 100, 120)
    strengths: Sequence[float] = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2)
    prompts: Sequence[str] = PROMPTS
    seeds: Sequence[int] = (1000, 1001)
    side: int = 64
    broken: tuple[int, float, int, int] | None = (20, 0.2, 0, 0)
    noise: float = 0
    verdict: dict[str, Any] = field(default_factory=dict)

    @property
    def last(self) -> int:
        return self.epochs[-1]


METRICS = (
    ("fidelity", "Likeness to the references", "learned", "higher", "trigger"),
    ("fit", "Loss on held-out pictures", "learned", "lower", "all"),
    ("brisque", "BRISQUE", "quality", "lower", "all"),
    ("diversity", "Diversity over seeds", "quality", "higher", "all"),
    ("ssim", "SSIM to the control", "aside", "neither", "all"),
)


def write_analysis(folder: Path, made: Made | None = None) -> Path:
    """Write report.json and its pictures; the folder."""
    made = made or Made()
    (folder / "cells").mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps(told(folder, made)), encoding="utf-8")
    return folder


def told(folder: Path, made: Made) -> dict[str, Any]:
    """report.json's values; pictures are drawn on the way."""
    shots = [(p, k) for p in range(len(made.prompts)) for k in range(len(made.seeds))]
    settings = [(e, s) for e in made.epochs for s in made.strengths]
    return {
        "version": 1,
        "made": "2026-11-26T14:00:00+00:00",
        "title": "made up",
        "source": {"kind": "run", "name": "2026-11-26-made-up"},
        "recipe": {"base model": "demo", "steps": 20, "guidance": 3.0, "size": "64 x 64 px"},
        "versions": {"sweetspot": "0.1.0", "torch": "2.14.1"},
        "checkpoints": [
            {"epoch": e, "label": f"epoch {e}", "file": f"made-up-e{e:04}.safetensors", "step": e}
            for e in made.epochs
        ],
        "strengths": list(made.strengths),
        "prompts": [
            {"text": text, "kind": "trigger" if text != "a fox" else "plain"}
            for text in made.prompts
        ],
        "seeds": list(made.seeds),
        "metrics": [
            {
                "name": name,
                "title": title,
                "axis": axis,
                "better": better,
                "limits": [None, None],
                "counts": counts,
                "meaning": "What a high and a low value say, in one sentence.",
                "distrust": "When this number misleads, in one sentence.",
            }
            for name, title, axis, better, counts in METRICS
        ],
        "controls": [_control(folder, made, *shot) for shot in shots],
        "cells": [_cell(folder, made, *at, *shot) for at in settings for shot in shots],
        "summary": [_summary(made, *at) for at in settings],
        "judged": [_judged(made, *at) for at in settings],
        "verdict": {**_verdict(made), **made.verdict},
        "references": {"training": ["00.png", "01.png"], "held_out": ["02.png"]},
    }


def _dose(made: Made, epoch: int, strength: float) -> float:
    """How hard the LoRA acts: 0 none, 1 at the last epoch and strength 1."""
    return strength * math.sqrt(epoch / made.last if epoch else 1)


def _scores(made: Made, dose: float, prompt: int, seed: int) -> dict[str, float | None]:
    own = 0.03 * math.sin(7 * prompt + 3 * seed)
    plain = made.prompts[prompt] == "a fox"
    return {
        "fidelity": None if plain else 0.3 + 0.5 * math.tanh(1.6 * dose) + own,
        "brisque": 24 + 30 * own + 14 * max(0, dose - 0.6) ** 2,
        "diversity": 0.3 - 0.14 * dose + own,
        "ssim": 1 - 0.5 * dose + own if dose else None,
    }


def _control(folder: Path, made: Made, prompt: int, seed: int) -> dict[str, Any]:
    return {
        "prompt": prompt,
        "seed": seed,
        "picture": _picture(folder, made, f"c-{prompt}-{seed}", 0, prompt, seed),
        "status": "ok",
        "reason": "",
        "scores": _scores(made, 0, prompt, seed),
    }


def _cell(
    folder: Path, made: Made, epoch: int, strength: float, prompt: int, seed: int
) -> dict[str, Any]:
    dose = _dose(made, epoch, strength)
    name = f"{epoch}-{strength}-{prompt}-{seed}"
    broken = (epoch, strength, prompt, seed) == made.broken
    scores = _scores(made, dose, prompt, seed)
    return {
        "epoch": epoch,
        "strength": strength,
        "prompt": prompt,
        "seed": seed,
        "picture": None if broken else _picture(folder, made, name, dose, prompt, seed),
        "status": "failed" if broken else "ok",
        "reason": "the memory is too small for <this> picture" if broken else "",
        "scores": dict.fromkeys(scores) if broken else scores,
        "unscored": {},
    }


def _picture(folder: Path, made: Made, name: str, dose: float, prompt: int, seed: int) -> str:
    side = made.side
    skies = ("#dbe9f4", "#f6d9b8", "#dfe8d2", "#e6dcf0", "#efe3d8")
    image = Image.new("RGB", (side, side), skies[prompt % len(skies)])
    draw = ImageDraw.Draw(image)
    lean = (seed - 0.5) * side / 12
    grey, red, turned = (128, 134, 145), (214, 96, 32), min(1, dose)
    fur = tuple(round(a + (b - a) * turned) for a, b in zip(grey, red, strict=True))
    draw.rectangle((0, side * 0.8, side, side), fill="#9fb3a1")
    draw.ellipse((side * 0.26 + lean, side * 0.3, side * 0.74 + lean, side * 0.86), fill=fur)
    for left in (0.26, 0.56):
        x = side * left + lean
        draw.polygon(
            [(x, side * 0.42), (x + side * 0.09, side * 0.14), (x + side * 0.18, side * 0.4)],
            fill=fur,
        )
    for left in (0.4, 0.56):
        x = side * left + lean
        draw.ellipse((x, side * 0.48, x + side * 0.06, side * 0.55), fill="#1b1b1b")
    if dose > 1:
        grain = Image.effect_noise((side, side), 90 * (dose - 1)).convert("RGB")
        image = Image.blend(image, grain, min(0.4, dose - 1))
    if made.noise:
        grain = Image.effect_noise((side, side), made.noise).convert("RGB")
        image = Image.blend(image, grain.filter(ImageFilter.SMOOTH), 0.5)
    image.save(folder / "cells" / f"{name}.png")
    return f"cells/{name}.png"


def _span(mean: float, half: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - half, "high": mean + half}


def _summary(made: Made, epoch: int, strength: float) -> dict[str, Any]:
    dose = _dose(made, epoch, strength)
    now, base = _scores(made, dose, 0, 0), _scores(made, 0, 0, 0)
    halves = {"fidelity": 0.06, "brisque": 2.0, "diversity": 0.03, "ssim": 0.05}
    return {
        "epoch": epoch,
        "strength": strength,
        "metrics": {n: _span(v, 2 * halves[n]) for n, v in now.items() if v is not None},
        "difference": {
            n: _span(v - b, halves[n] * (0.3 + dose))
            for n, v in now.items()
            if v is not None and (b := base[n]) is not None
        },
    }


def _judged(made: Made, epoch: int, strength: float) -> dict[str, Any]:
    dose = _dose(made, epoch, strength)
    fit = _span(0.36 - 0.06 * dose + 0.05 * dose**2, 0.01)
    return {"epoch": epoch, "strength": strength, "metrics": {"fit": fit}}


def _verdict(made: Made) -> dict[str, Any]:
    epochs, strengths = made.epochs, made.strengths
    middle = len(epochs) // 3, len(strengths) // 2
    choice = {"epoch": epochs[middle[0]], "strength": strengths[middle[1]]}
    tied = [choice, {**choice, "epoch": epochs[min(middle[0] + 1, len(epochs) - 1)]}]
    burnt = [{"epoch": e, "strength": strengths[-1]} for e in epochs[middle[0] :]]
    return {
        "rule": "sweetspot",
        "state": "chosen",
        "choice": choice,
        "headline": f"Keep epoch {choice['epoch']} at strength {choice['strength']:g}; one other "
        "setting cannot be told apart from it, and it is the earliest and gentlest.",
        "sentences": [
            "Its likeness to the pictures of what was trained is 0.412 above the base model's.",
            "The length of training was too long: from epoch 100 on quality is lost.",
            "And a prompt with </script> in it changes nothing.",
        ],
        "tied": tied,
        "vetoed": [
            {**at, "reasons": ["BRISQUE is surely worse by 9 <than> before"]} for at in burnt
        ],
        "chance": [{**tied[0], "p": 0.31}, {**tied[1], "p": 0.69}],
        "thin": "The evidence is thin: 3 prompts, 2 seeds; more would say more.",
        "smallest_difference": 0.031,
        "overtrained_from": epochs[-2:][0],
        "trained": "too long",
        "copies": [
            {
                "epoch": made.last,
                "strength": strengths[-1],
                "prompt": 0,
                "seed": 0,
                "training": "00.png",
                "similarity": 0.97,
            }
        ],
        "safe_strengths": [
            {"epoch": e, "low": strengths[:2][-1], "high": strengths[-2:][0]} for e in epochs[1:]
        ],
        "learned_metric": "fidelity",
    }
