"""Puts the trained parts together as a Diffusers pipeline folder in half precision."""

import argparse
import json
import logging
import shutil
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5TokenizerFast
from unet import SCHEDULER

logger = logging.getLogger(__name__)

DEMO = Path(__file__).parent.parent
KEPT = ("README.md", "figures.json", "grid.png")
"""Files of an older folder that are not the pipeline's own."""


def main() -> None:
    """Write the pipeline beside its place, then swap it in."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("build/demo"))
    parser.add_argument("--family", choices=("sd", "flux"), default="sd")
    parser.add_argument("--sd", type=Path, default=DEMO / "sd", help="the other demo model")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    out = DEMO / args.family
    fresh, old = (out.with_name(f"{args.family}.{age}") for age in ("new", "old"))
    shutil.rmtree(fresh, ignore_errors=True)
    made = load(args.work) if args.family == "sd" else load_flux(args.work, args.sd)
    words = args.work if args.family == "sd" else args.sd
    made.to(torch.float16).save_pretrained(fresh)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(words / "tokenizer" / name, fresh / "tokenizer" / name)
    tidy(fresh)
    if out.exists():
        for name in KEPT:
            if (out / name).exists():
                shutil.copy(out / name, fresh / name)
        out.rename(old)
    fresh.rename(out)
    shutil.rmtree(old, ignore_errors=True)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
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


def load_flux(work: Path, sd: Path) -> DiffusionPipeline:
    """FLUX's twin: its own transformer and text encoders, the other's VAE and CLIP tokenizer."""
    vae = AutoencoderKL.from_pretrained(sd / "vae")
    vae.register_to_config(shift_factor=0.0)
    return FluxPipeline(
        vae=vae,
        text_encoder=CLIPTextModel.from_pretrained(work / "flux" / "text_encoder"),
        text_encoder_2=T5EncoderModel.from_pretrained(work / "flux" / "text_encoder_2"),
        tokenizer=CLIPTokenizer.from_pretrained(sd / "tokenizer"),
        tokenizer_2=T5TokenizerFast.from_pretrained(work / "tokenizer_2"),
        transformer=FluxTransformer2DModel.from_pretrained(work / "flux" / "transformer"),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
    )


def tidy(folder: Path) -> None:
    """Drop the names of the folders that the parts were loaded from."""
    for path in folder.rglob("*.json"):
        settings = json.loads(path.read_text())
        if settings.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(settings, indent=2) + "\n")


if __name__ == "__main__":
    main()
