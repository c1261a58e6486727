"""Trains the AutoencoderKL: 128 px pictures to `(8, 16, 16)` latents and back.

Mostly 64 px crops, whole pictures at the end. The learning rate follows the clock, so a
run ends when its seconds are spent. Held-out emoji are only looked at, never learned from.
"""

import argparse
import copy
import logging
import math
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from concepts import COLOURS, SUBJECT
from diffusers import AutoencoderKL
from picture import SIDE, Pack, centred, colour, compose, crop, load_pack, load_split, premultiply
from picture import varied as vary
from spread import Spread
from torch import Generator, Tensor

logger = logging.getLogger(__name__)

CONFIG = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [32, 64, 96, 128],
    "layers_per_block": 1,
    "latent_channels": 8,
    "norm_num_groups": 8,
    "sample_size": SIDE,
    "scaling_factor": 1.0,
    "mid_block_add_attention": False,
}
WHOLE_FROM = 0.8
"""Share of the time after which whole pictures replace crops."""


@dataclass
class Progress:
    """What a checkpoint must bring back."""

    step: int = 0
    seconds: float = 0.0


def main() -> None:
    """Train, or go on from the checkpoint; write `vae/` when the time is spent."""
    args = arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    model = build()
    ema = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=args.rate, betas=(0.9, 0.98), weight_decay=1e-3, fused=True
    )
    checkpoint = args.work / "vae.pt"
    progress = restore(checkpoint, model, ema, optimizer)
    pictures, unseen = learned(args.work), held_out(args.work)
    logger.info("%d pictures to learn, %d held out", len(pictures), len(unseen))
    generator = torch.Generator().manual_seed(args.seed + progress.step)
    spread = Spread(list(model.parameters()))
    sums, began = torch.zeros(2), time.time()
    while progress.seconds < args.seconds:
        done = progress.seconds / args.seconds
        for group in optimizer.param_groups:
            group["lr"] = rate_at(done, args.rate, progress.step)
        batch = sample(pictures, args.batch, whole=done > WHOLE_FROM, generator=generator)
        sums += learn(model, optimizer, batch, spread)
        follow(ema, model, decay=min(0.998, (1 + progress.step) / (20 + progress.step)))
        progress.step += 1
        progress.seconds += time.time() - began
        began = time.time()
        if progress.step % 100 == 0:
            report(progress, sums / 100, done)
            sums.zero_()
        if progress.step % 250 == 0:
            save(checkpoint, model, ema, optimizer, progress)
            logger.info("held out: %.2f dB", psnr(ema, unseen).mean())
            began = time.time()
    save(checkpoint, model, ema, optimizer, progress)
    logger.info("held out at the end: %.2f dB", psnr(ema, unseen).mean())
    ema.save_pretrained(args.work / "vae")


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("build/demo"))
    parser.add_argument("--seconds", type=float, default=2200)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def build() -> AutoencoderKL:
    """A fresh autoencoder with small posterior noise."""
    model = AutoencoderKL(**CONFIG).to(memory_format=torch.channels_last)
    with torch.no_grad():
        model.quant_conv.bias[CONFIG["latent_channels"] :] = -6.0
    return model


def rate_at(done: float, peak: float, step: int) -> float:
    """Cosine in the share of time done, after 100 warm-up steps."""
    return peak * min(1.0, (step + 1) / 100) * (0.01 + 0.495 * (1 + math.cos(math.pi * done)))


def learned(work: Path) -> Tensor:
    """`(N, 4, 160, 160)` uint8 of all emoji that training may see."""
    barred = set(load_split(work)["held_out"]) | set(SUBJECT)
    packs = [load_pack(work, style) for style in ("noto", "flat", "twemoji")]
    keep = [[i for i, name in enumerate(p.names) if name not in barred] for p in packs]
    return torch.cat([p.pixels[k] for p, k in zip(packs, keep, strict=True)])


def held_out(work: Path) -> Tensor:
    """`(N, 3, 128, 128)` held-out emoji of both base styles on plain backgrounds."""
    names = load_split(work)["held_out"]
    return torch.stack(
        [lay(pack, slug, i) for pack in both(work) for i, slug in enumerate(names)]
    ).contiguous(memory_format=torch.channels_last)


def both(work: Path) -> list[Pack]:
    """The two styles that the base knows."""
    return [load_pack(work, style) for style in ("noto", "flat")]


def lay(pack: Pack, slug: str, index: int) -> Tensor:
    """Every second one on white, the others on the named colours in turn."""
    names = list(COLOURS)
    name = "white" if index % 2 else names[index // 2 % len(names)]
    return compose(centred(pack.find(slug)), colour(name))


def sample(pictures: Tensor, batch: int, *, whole: bool, generator: Generator) -> Tensor:
    """Random pictures on random plain backgrounds, `(B, 3, s, s)`.

    One in five has its colour channels shuffled, so that rare greens and teals are learned.
    """
    count = batch // 2 if whole else batch
    rows = torch.randint(len(pictures), (count,), generator=generator)
    cut = [vary(p, generator) if whole else crop(p, side=64, generator=generator)
           for p in premultiply(pictures[rows])]  # fmt: skip
    shades = torch.rand(count, 3, generator=generator)
    shades[torch.rand(count, generator=generator) < 0.5] = 1.0
    rgb = compose(torch.stack(cut), shades)
    for i in range(0, count, 5):
        rgb[i] = rgb[i, torch.randperm(3, generator=generator)]
    return rgb.contiguous(memory_format=torch.channels_last)


def learn(
    model: AutoencoderKL, optimizer: torch.optim.Optimizer, batch: Tensor, spread: Spread
) -> Tensor:
    """One step; returns (mean absolute error, mean squared error)."""
    numbers = spread.backward([partial(error_of, model, part) for part in batch.chunk(4)])
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return numbers


def error_of(model: AutoencoderKL, batch: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of a part of a batch, and (mean absolute error, mean squared error)."""
    posterior = model.encode(batch).latent_dist
    error = model.decode(posterior.sample()).sample.float() - batch
    kl = 0.5 * (posterior.mean.float() ** 2 + posterior.var.float() - 1 - posterior.logvar.float())
    absolute, square = error.abs().mean(), error.square().mean()
    loss = absolute + 2 * square + 0.1 * edges(error) + 0.5 * tints(error) + 3e-5 * kl.mean()
    return loss, torch.stack([absolute, square]).detach()


def edges(error: Tensor) -> Tensor:
    """Mean absolute error of the pictures' differences between neighbours."""
    return error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()


def tints(error: Tensor) -> Tensor:
    """Mean absolute error of red-green and yellow-blue.

    Emoji differ mostly in lightness and from blue to orange; without this term green and
    magenta stay grey for thousands of steps.
    """
    red, green, blue = error.unbind(dim=1)
    return (red - green).abs().mean() + ((red + green) / 2 - blue).abs().mean()


@torch.no_grad()
def follow(ema: AutoencoderKL, model: AutoencoderKL, *, decay: float) -> None:
    """Move the average towards the model."""
    torch._foreach_lerp_(list(ema.parameters()), list(model.parameters()), 1 - decay)


@torch.no_grad()
def psnr(model: AutoencoderKL, pictures: Tensor) -> Tensor:
    """`(N,)` dB of each picture's reconstruction from its latent mean."""
    values = []
    for part in pictures.split(30):
        with torch.autocast("cpu", torch.bfloat16):
            out = model.decode(model.encode(part).latent_dist.mode()).sample
        square = ((out.float().clamp(-1, 1) - part) / 2).square().mean(dim=(1, 2, 3))
        values.append(-10 * square.log10())
    return torch.cat(values)


def report(progress: Progress, means: Tensor, done: float) -> None:
    """One line of numbers."""
    logger.info(
        "step %d, %.0f s, %.0f%%: absolute error %.4f, train %.2f dB",
        progress.step, progress.seconds, 100 * done, means[0], -10 * math.log10(means[1] / 4),
    )  # fmt: skip


def save(
    path: Path,
    model: AutoencoderKL,
    ema: AutoencoderKL,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
) -> None:
    """Write the checkpoint whole or not at all."""
    state = {
        "model": model.state_dict(),
        "ema": ema.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": vars(progress),
    }
    torch.save(state, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").rename(path)


def restore(
    path: Path, model: AutoencoderKL, ema: AutoencoderKL, optimizer: torch.optim.Optimizer
) -> Progress:
    """Load the checkpoint if there is one."""
    if not path.exists():
        return Progress()
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    ema.load_state_dict(state["ema"])
    optimizer.load_state_dict(state["optimizer"])
    return Progress(**state["progress"])


if __name__ == "__main__":
    main()
