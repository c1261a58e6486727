"""Puts the trained parts together as a Diffusers pipeline folder in half precision."""

import argparse
import json
import logging
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer
from unet import SCHEDULER

logger = logging.getLogger(__name__)

KEPT = ("README.md", "figures.json", "grid.png")
"""Files of an older folder that are not the pipeline's own."""


def main() -> None:
    """Write the pipeline beside its place, then swap it in."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("build/demo"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "sd")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    fresh, old = args.out.with_name("sd.new"), args.out.with_name("sd.old")
    shutil.rmtree(fresh, ignore_errors=True)
    load(args.work).to(torch.float16).save_pretrained(fresh)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(args.work / "tokenizer" / name, fresh / "tokenizer" / name)
    tidy(fresh)
    if args.out.exists():
        for name in KEPT:
            if (args.out / name).exists():
                shutil.copy(args.out / name, fresh / name)
        args.out.rename(old)
    fresh.rename(args.out)
    shutil.rmtree(old, ignore_errors=True)
    size = sum(path.stat().st_size for path in args.out.rglob("*") if path.is_file())
    logger.info("wrote a pipeline of %.1f MB", size / 1e6)


def load(work: Path) -> StableDiffusionPipeline:
    """The pipeline from the work folder's parts."""
    return StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(work / "vae_folded"),
        text_encoder=CLIPTextModel.from_pretrained(work / "text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(work / "tokenizer"),
        unet=UNet2DConditionModel.from_pretrained(work / "unet"),
        scheduler=DDIMScheduler(**SCHEDULER),
        safety_checker=None,
        feature_extractor=None,
        image_encoder=None,
        requires_safety_checker=False,
    )


def tidy(folder: Path) -> None:
    """Drop the names of the folders that the parts were loaded from."""
    for path in folder.rglob("*.json"):
        settings = json.loads(path.read_text())
        if settings.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(settings, indent=2) + "\n")


if __name__ == "__main__":
    main()
