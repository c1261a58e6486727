"""Scales the VAE's latents to mean 0 and deviation 1, then caches them for the UNet.

Stable Diffusion has a scaling factor but no shift, so both are folded into `quant_conv` and
`post_quant_conv`, and the scaling factor stays 1.
"""

import argparse
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from concepts import COLOURS, STYLES, TRAINED
from diffusers import AutoencoderKL
from picture import colour, compose, load_pack, varied
from torch import Generator, Tensor

logger = logging.getLogger(__name__)

WHITE_SHARE = 0.45


def main() -> None:
    """Write `vae_folded/` and `latents.pt`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("build/demo"))
    parser.add_argument("--variants", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scaled", type=Path, help="a VAE already scaled, e.g. ../sd/vae")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_grad_enabled(False)
    vae = AutoencoderKL.from_pretrained(args.scaled or args.work / "vae")
    vae.float().to(memory_format=torch.channels_last)
    if not args.scaled:
        probe, _, _ = encode(vae, args.work, variants=3, seed=args.seed)
        fold(vae, probe.mean(dim=(0, 2, 3)), probe.std(dim=(0, 2, 3)))
    vae.save_pretrained(args.work / "vae_folded")
    latents, labels, shades = encode(vae, args.work, args.variants, seed=args.seed)
    logger.info(
        "%d latents, mean %.3f, deviation %.3f", len(latents), latents.mean(), latents.std()
    )
    logger.info("deviation by channel %s", latents.std(dim=(0, 2, 3)).tolist())
    torch.save(
        {
            "latents": latents.half(),
            "labels": labels,
            "shades": shades,
            "captions": [(slug, style) for slug in TRAINED for style in STYLES],
            "colours": list(COLOURS),
        },
        args.work / "latents.pt",
    )


def encode(
    vae: AutoencoderKL, work: Path, variants: int, *, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Latent means `(N, 8, 16, 16)` of varied pictures, which picture, which background."""
    packs = {style: load_pack(work, style) for style in STYLES}
    pairs = [(slug, style) for slug in TRAINED for style in STYLES]

    def views_of(index: int) -> tuple[Tensor, Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed + index)
        slug, style = pairs[index]
        shade = backgrounds(variants, generator)
        rgba = packs[style].find(slug)
        views = torch.stack([varied(rgba, generator) for _ in range(variants)])
        colours = torch.stack([colour(list(COLOURS)[k]) for k in shade])
        rgb = compose(views, colours).contiguous(memory_format=torch.channels_last)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            latents = vae.encode(rgb).latent_dist.mode().float()
        return latents, torch.full((variants,), index), shade

    with ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        found = list(pool.map(views_of, range(len(pairs))))
    latents, labels, shades = zip(*found, strict=True)
    return torch.cat(latents), torch.cat(labels), torch.cat(shades)


def backgrounds(count: int, generator: Generator) -> Tensor:
    """Indices into COLOURS; 0, white, most often."""
    shade = torch.randint(1, len(COLOURS), (count,), generator=generator)
    shade[torch.rand(count, generator=generator) < WHITE_SHARE] = 0
    return shade


def fold(vae: AutoencoderKL, mean: Tensor, deviation: Tensor) -> None:
    """Make `encode` give (latent - mean) / deviation and `decode` undo it, exactly."""
    count = len(mean)
    before, after = vae.quant_conv, vae.post_quant_conv
    after.bias += (after.weight * mean[None, :, None, None]).sum(dim=(1, 2, 3))
    after.weight *= deviation[None, :, None, None]
    before.weight[:count] /= deviation[:, None, None, None]
    before.bias[:count] = (before.bias[:count] - mean) / deviation
    before.bias[count:] -= 2 * deviation.log()


if __name__ == "__main__":
    main()
