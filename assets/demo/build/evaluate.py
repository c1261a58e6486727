"""Measures the finished pipeline: the VAE on held-out emoji, the pictures by their concepts.

Prints every figure, writes `figures.json` and `grid.png` into the pipeline's folder.
naming.py says how a picture is named.
"""

import argparse
import copy
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from concepts import COLOURS, STYLES, TRAINED, caption
from diffusers import DiffusionPipeline, FluxPipeline
from naming import naming_figures
from picture import SIDE
from PIL import Image
from torch import Tensor
from vae import held_out, psnr

logger = logging.getLogger(__name__)

HUES = {
    "red": 0,
    "orange": 30,
    "yellow": 55,
    "green": 110,
    "teal": 175,
    "blue": 215,
    "purple": 270,
    "pink": 325,
}
"""Degrees; a saturated pixel belongs to the nearest."""


def main() -> None:
    """Print and write the figures."""
    args = arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_grad_enabled(False)
    pipe = DiffusionPipeline.from_pretrained(args.pipeline, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    for name in ("unet", "vae"):
        if name in pipe.components:
            pipe.components[name].to(memory_format=torch.channels_last)
    figures = autoencoder_figures(pipe.vae, held_out(args.work))
    prompts = [prompt(i) for i in range(args.pictures)]
    pictures = paint(
        pipe, [text for text, _, _ in prompts], steps=args.steps, guidance=args.guidance
    )
    figures |= naming_figures(pipe.vae, args.work, pictures, prompts)
    figures |= {"sampling_steps": args.steps, "guidance": args.guidance}
    for name, value in figures.items():
        logger.info("%s: %s", name, value)
    (args.pipeline / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    tile(pictures[: args.rows * 10], 10).quantize(256).save(
        args.pipeline / "grid.png", optimize=True
    )


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("build/demo"))
    parser.add_argument("--pipeline", type=Path, default=Path(__file__).parent.parent / "sd")
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--rows", type=int, default=6, help="rows of ten in grid.png")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=4.0)
    return parser.parse_args()


def autoencoder_figures(vae: torch.nn.Module, pictures: Tensor) -> dict[str, object]:
    """Mean PSNR, and by hue how far saturated pixels are off, in steps of 255."""
    decibels = psnr(vae, pictures)
    rebuilt = torch.cat(
        [vae.decode(vae.encode(p).latent_dist.mode()).sample for p in pictures.split(30)]
    )
    error = (rebuilt.clamp(-1, 1) - pictures) * 127.5
    hue, saturation = hue_of(pictures)
    nearest = torch.stack([turn(hue, degrees) for degrees in HUES.values()]).argmin(dim=0)
    off, lean = {}, {}
    for i, name in enumerate(HUES):
        pixels = error.movedim(1, -1)[(nearest == i) & (saturation > 0.4)]
        off[name] = round(pixels.abs().mean().item(), 1)
        lean[name] = [round(value, 1) for value in pixels.mean(dim=0).tolist()]
    return {
        "vae_held_out_pictures": len(pictures),
        "vae_psnr_db": round(decibels.mean().item(), 2),
        "vae_psnr_worst_tenth_db": round(decibels.quantile(0.1).item(), 2),
        "vae_colour_error_of_255": off,
        "vae_colour_lean_rgb_of_255": lean,
    }


def hue_of(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Hue in degrees and saturation of `(N, 3, h, w)`, each `(N, h, w)`."""
    red, green, blue = ((pictures + 1) / 2).unbind(dim=1)
    hue = torch.atan2(3**0.5 * (green - blue), 2 * red - green - blue).rad2deg() % 360
    top = torch.stack([red, green, blue]).amax(dim=0)
    bottom = torch.stack([red, green, blue]).amin(dim=0)
    return hue, (top - bottom) / top.clamp_min(1e-3)


def turn(hue: Tensor, degrees: float) -> Tensor:
    """Distance on the colour circle."""
    return 180 - ((hue - degrees).abs() - 180).abs()


def prompt(index: int) -> tuple[str, str, str]:
    """The `index`-th prompt, its concept and its background; every concept in turn."""
    slug = TRAINED[index * 53 % len(TRAINED)]
    round_ = index // len(TRAINED)
    style = STYLES[(index + round_) % 2]
    shade = "white" if index % 2 else list(COLOURS)[1 + index // 2 % (len(COLOURS) - 1)]
    return caption(slug, style=style, background=shade), slug, shade


def paint(
    pipe: DiffusionPipeline, texts: list[str], *, steps: int, guidance: float, batch: int = 15
) -> Tensor:
    """`(N, 3, 128, 128)` in [-1, 1]; picture i comes from seed i. Two threads take turns."""
    more = {}
    if isinstance(pipe, FluxPipeline):
        more["max_sequence_length"] = pipe.tokenizer_2.model_max_length
        more["height"] = more["width"] = SIDE  # 1024 unless told, whatever the model

    def batch_at(start: int) -> Tensor:
        part = texts[start : start + batch]
        own = type(pipe)(**pipe.components | {"scheduler": copy.deepcopy(pipe.scheduler)})
        own.set_progress_bar_config(disable=True)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            out = own(
                part,
                generator=[torch.Generator().manual_seed(start + i) for i in range(len(part))],
                num_inference_steps=steps,
                guidance_scale=guidance,
                output_type="pt",
                **more,
            ).images
        logger.info("pictures %d to %d of %d", start + 1, start + len(part), len(texts))
        return out.float() * 2 - 1

    with ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return torch.cat(list(pool.map(batch_at, range(0, len(texts), batch))))


def tile(pictures: Tensor, columns: int) -> Image.Image:
    """A contact sheet of `(N, 3, h, w)`."""
    rows = ((pictures + 1) * 127.5).round().clamp(0, 255).byte().unflatten(0, (-1, columns))
    sheet = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)
    return Image.fromarray(sheet.permute(1, 2, 0).numpy())


if __name__ == "__main__":
    main()
