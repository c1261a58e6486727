"""Whether the demo's LoRAs do what they were trained for; prints the figures.

Style: a linear classifier on simple picture features (colour, saturation, shading, edges) is
trained on emoji that neither model has seen, 3D ones against the base's two styles, all passed
through the base's VAE so that it judges style and not softness. It then names 48 pictures of
the LoRA and the same 48 (prompts, seeds) of the base model. The prompts ask for concepts that
are not in the LoRA's training captions.

Subject: for 48 seeds, the picture of the subject's prompt with the LoRA against the one
without; which is nearer to the subject's real pictures (mean squared difference of VAE
latents to the nearest real one, on its background)?

    python benchmarks/demo_lora.py --style runs/.../demo-style-e0120.safetensors
    python benchmarks/demo_lora.py --subject runs/.../demo-subject-e0060.safetensors
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from style_features import features

from trainer.core import device
from trainer.engine.sampling import Recipe, encode, render_arrays, use_lora
from trainer.families.sd import SdConfig

DEMO = Path(__file__).resolve().parents[1] / "assets" / "demo"
CONCEPTS = (
    "a banana",
    "a frog",
    "a robot",
    "a bus",
    "a penguin",
    "a pizza",
    "a strawberry",
    "a fox",
    "a sunflower",
    "a trophy",
    "an elephant",
    "a bell",
)
"""Known to the base, absent from the style's captions."""
FRESH = (
    "a lion",
    "a snail",
    "a tulip",
    "a carrot",
    "a cookie",
    "a lemon",
    "an alien",
    "a helicopter",
    "a castle",
    "a key",
    "a top hat",
    "a duck",
)
"""Twelve more, looked at late, when most of the demo's settings were chosen by the others."""
SEEDS = 4
SUBJECT_SEEDS = 48
STEPS = 20
GUIDANCE = 3.0


def main() -> None:
    """Print the figures, and write the pictures beside the LoRA when asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--style", type=Path)
    parser.add_argument("--subject", type=Path)
    parser.add_argument("--fresh", action="store_true", help="twelve other concepts and seeds")
    parser.add_argument("--sheet", type=Path, help="write the pictures here, LoRA above base")
    args = parser.parse_args()
    if args.style:
        print(json.dumps(judge_style(args.style, args.sheet, fresh=args.fresh)))
    if args.subject:
        print(json.dumps(judge_subject(args.subject, args.sheet)))


def judge_style(lora: Path, sheet: Path | None = None, *, fresh: bool = False) -> dict[str, float]:
    """Share of pictures that the classifier calls 3D, with the LoRA and without."""
    prompts = [concept for concept in (FRESH if fresh else CONCEPTS) for _ in range(SEEDS)]
    seeds = [1000 * fresh + i for i in range(len(prompts))]
    base, drawn = painted(None, prompts, seeds), painted(lora, prompts, seeds)
    if sheet:
        save_sheet(sheet, drawn, base)
    classifier, accuracy = trained_classifier()
    return {
        "pictures": len(prompts),
        "classifier_accuracy": round(accuracy, 3),
        "lora_called_3d": round(float(classifier.predict(features(drawn)).mean()), 3),
        "base_called_3d": round(float(classifier.predict(features(base)).mean()), 3),
    }


def judge_subject(lora: Path, sheet: Path | None = None) -> dict[str, float]:
    """Share of seeds for which the LoRA's picture is the nearer one to the real pictures."""
    prompts = ["a sks cat face"] * SUBJECT_SEEDS
    seeds = list(range(SUBJECT_SEEDS))
    base, drawn = painted(None, prompts, seeds), painted(lora, prompts, seeds)
    if sheet:
        save_sheet(sheet, drawn, base)
    files = sorted((DEMO / "subject").glob("*.png"))
    real = latents(np.stack([opened(f) for f in files]))
    with_lora, without = (distance(latents(p), real) for p in (drawn, base))
    return {
        "seeds": SUBJECT_SEEDS,
        "nearer_with_lora": round(float((with_lora < without).mean()), 3),
        "distance_with_lora": round(float(with_lora.mean()), 4),
        "distance_without": round(float(without.mean()), 4),
    }


def painted(lora: Path | None, prompts: Sequence[str], seeds: Sequence[int]) -> NDArray[Any]:
    """`(N, 128, 128, 3)` in [0, 1]."""
    model = SdConfig(base="demo", resolution=128).load(device.plan("auto", "auto"))
    if lora:
        use_lora(model, lora)
    recipe = Recipe((model.native_side,) * 2, STEPS, GUIDANCE)
    parts = []
    for start in range(0, len(prompts), 12):
        words = encode(model, prompts[start : start + 12], "")
        parts.append(render_arrays(model, words, seeds[start : start + 12], recipe))
    return np.concatenate(parts)


def trained_classifier() -> tuple[Any, float]:
    """A linear classifier of 3D (1) against the base's styles (0), and its held-out accuracy."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    told = json.loads((DEMO / "eval" / "names.json").read_text())
    count = len(told["names"])
    styles = {name: through_vae(cells(name, count, told)) for name in ("3d", "noto", "flat")}
    points = features(np.concatenate(list(styles.values())))
    labels = np.array([1] * count + [0] * 2 * count)
    groups = np.tile(np.arange(count), 3)
    classifier = make_pipeline(
        StandardScaler(), LogisticRegression(C=0.1, max_iter=2000, class_weight="balanced")
    )
    accuracy = cross_val_score(
        classifier, points, labels, groups=groups, cv=GroupKFold(5), scoring="balanced_accuracy"
    ).mean()
    return classifier.fit(points, labels), float(accuracy)


def cells(name: str, count: int, told: dict[str, Any]) -> NDArray[Any]:
    """The pictures of an evaluation sheet."""
    side, columns = told["side"], told["columns"]
    page = np.asarray(Image.open(DEMO / "eval" / f"{name}.webp").convert("RGB"), dtype=float) / 255
    spots = [(i // columns * side, i % columns * side) for i in range(count)]
    return np.stack([page[y : y + side, x : x + side] for y, x in spots])


_VAE: list[Any] = []


def vae() -> Any:
    """The base's VAE in fp32."""
    if not _VAE:
        _VAE.append(SdConfig(base="demo", resolution=128).load(device.plan("cpu", "fp32")).vae)
    return _VAE[0]


def latents(pictures: NDArray[Any]) -> torch.Tensor:
    """`(N, C, 16, 16)`."""
    pixels = torch.from_numpy(pictures).float().permute(0, 3, 1, 2) * 2 - 1
    with torch.no_grad():
        return torch.cat([vae().encode(part).latent_dist.mean for part in pixels.split(16)])


def through_vae(pictures: NDArray[Any]) -> NDArray[Any]:
    """What the VAE makes of the pictures."""
    with torch.no_grad():
        parts = [vae().decode(part).sample for part in latents(pictures).split(16)]
    return (torch.cat(parts).clamp(-1, 1) / 2 + 0.5).permute(0, 2, 3, 1).numpy()


def distance(drawn: torch.Tensor, real: torch.Tensor) -> NDArray[Any]:
    """Mean squared difference of each picture to the nearest real one, plain or mirrored."""
    both = torch.cat([real, real.flip(-1)])
    each = (drawn[:, None] - both[None]).square().flatten(2).mean(dim=2)
    return each.amin(dim=1).numpy()


def opened(path: Path) -> NDArray[Any]:
    """A picture on white at 128 px, `(128, 128, 3)` in [0, 1]."""
    picture = Image.open(path).convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    white.alpha_composite(picture)
    small = white.convert("RGB").resize((128, 128), Image.Resampling.LANCZOS)
    return np.asarray(small, dtype=float) / 255


def save_sheet(path: Path, drawn: NDArray[Any], base: NDArray[Any]) -> None:
    """Rows of twelve: each row of the LoRA's pictures above the base's."""
    lines = []
    for start in range(0, len(drawn), 12):
        for pictures in (drawn, base):
            lines.append(np.concatenate(list(pictures[start : start + 12]), axis=1))
    page = np.concatenate(lines, axis=0)
    Image.fromarray((page * 255).round().clip(0, 255).astype("uint8")).save(path)


if __name__ == "__main__":
    main()
