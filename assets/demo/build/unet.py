"""Trains the UNet and the text encoder together on cached latents, v-prediction.

The learning rate follows the clock, so a run ends when its seconds are spent.
`--compile` is a third faster on two cores that do nothing else; without it two threads take turns,
which is the faster way on a busy machine.
"""

import argparse
import copy
import logging
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from concepts import caption
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from spread import Spread
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

logger = logging.getLogger(__name__)

UNET = {
    "sample_size": 16,
    "in_channels": 8,
    "out_channels": 8,
    "block_out_channels": [64, 128, 192],
    "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": 4,
    "cross_attention_dim": 192,
}
SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
    "clip_sample": False,
    "set_alpha_to_one": True,
    "steps_offset": 0,
}

NOISY_SHARE = 0.5
"""Share of pictures trained at times from 600 on, beside those that fall there by chance."""


@dataclass(frozen=True)
class Cache:
    """What latents.py wrote: latents, and for each its picture and background."""

    latents: Tensor
    labels: Tensor
    shades: Tensor
    captions: list[tuple[str, str]]
    colours: list[str]


def main() -> None:
    """Train, or go on from the checkpoint; write `unet/` and `text_encoder/` as it goes."""
    args = arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.manual_seed(args.seed)
    cache = Cache(**torch.load(args.work / "latents.pt", weights_only=True))
    tokenizer = CLIPTokenizer.from_pretrained(args.work / "tokenizer")
    model = nn.ModuleDict({"text": build_text(tokenizer), "unet": build_unet()})
    if args.start:
        take_over(model, args.start)
    run = Run(model, args.rate, args.work / "unet.pt")
    run.restore()
    backward = whole(model) if args.compile else in_turns(model)
    feed = Feed(cache, tokenizer, seed=args.seed + run.step)
    errors: list[float] = []
    began = time.time()
    while run.seconds < args.seconds:
        done = run.seconds / args.seconds
        run.warm(done, args.rate)
        errors.append(backward(feed.draw(args.batch)))
        run.learn(args.batch)
        run.seconds += time.time() - began
        began = time.time()
        if run.step % 50 == 0:
            run.report(errors)
            errors.clear()
        if run.step % args.save_every == 0:
            run.save(args.work)
    run.save(args.work)


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("build/demo"))
    parser.add_argument("--seconds", type=float, default=7200)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-every", type=int, default=500)
    parser.add_argument("--compile", action="store_true", help="needs a C++ compiler")
    parser.add_argument("--start", type=Path, help="a pipeline to begin from, e.g. ../sd")
    return parser.parse_args()


def build_unet() -> UNet2DConditionModel:
    """A fresh UNet of 11 M parameters; plain attention is faster on sequences this short."""
    model = UNet2DConditionModel(**UNET).to(memory_format=torch.channels_last)
    model.set_attn_processor(AttnProcessor())
    return model


def build_text(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A fresh text encoder of 2 M parameters."""
    model = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=192,
            projection_dim=192,
            intermediate_size=768,
            num_hidden_layers=3,
            num_attention_heads=6,
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    nn.init.normal_(model.get_input_embeddings().weight, std=0.5)
    model.set_attn_implementation("eager")
    return model


def take_over(model: nn.ModuleDict, pipeline: Path) -> None:
    """Copy the weights of a pipeline's UNet and text encoder."""
    unet = UNet2DConditionModel.from_pretrained(pipeline / "unet", torch_dtype=torch.float32)
    text = CLIPTextModel.from_pretrained(pipeline / "text_encoder", dtype=torch.float32)
    model["unet"].load_state_dict(unet.state_dict())
    model["text"].load_state_dict(text.state_dict())


Batch = tuple[Tensor, ...]
"""Latents, noise, times, tokens and alpha bars, as `velocity_loss` takes them."""


def whole(model: nn.ModuleDict) -> Callable[[Batch], float]:
    """Gradients of a batch in one compiled piece on all cores."""
    loss_of = torch.compile(velocity_loss)

    def backward(batch: Batch) -> float:
        with torch.autocast("cpu", torch.bfloat16):
            loss, told = loss_of(model, *batch)
        loss.backward()
        return told.item()

    return backward


def in_turns(model: nn.ModuleDict) -> Callable[[Batch], float]:
    """Gradients of a batch in quarters, by threads of one core each."""
    torch.set_num_threads(1)
    spread = Spread(list(model.parameters()))

    def backward(batch: Batch) -> float:
        quarters = zip(*(tensor.chunk(4) for tensor in batch), strict=True)
        return spread.backward([partial(velocity_loss, model, *part) for part in quarters]).item()

    return backward


class Feed:
    """Batches of noise levels, noise, latents and captions, drawn at random."""

    def __init__(self, cache: Cache, tokenizer: CLIPTokenizer, *, seed: int) -> None:
        self.cache, self.tokenizer = cache, tokenizer
        self.kept = DDIMScheduler(**SCHEDULER).alphas_cumprod.float()
        self.words = random.Random(seed)
        self.generator = torch.Generator().manual_seed(seed)

    def draw(self, count: int) -> Batch:
        """A batch of `count`."""
        rows = torch.randint(len(self.cache.latents), (count,), generator=self.generator)
        times = sample_times(count, self.generator)
        latents = self.cache.latents[rows].float()
        noise = torch.randn(latents.shape, generator=self.generator)
        tokens = tokenise(self.tokenizer, [say(self.cache, int(row), self.words) for row in rows])
        return latents, noise, times, tokens, self.kept[times]


def sample_times(count: int, generator: torch.Generator) -> Tensor:
    """`(count,)` of 0 to 999, mostly near noise, where the caption alone decides the layout.

    That is what a small model is slowest to learn; below time 500 it hardly needs the words.
    """
    times = torch.randint(0, 1000, (count,), generator=generator)
    noisy = torch.randint(600, 1000, (count,), generator=generator)
    return torch.where(torch.rand(count, generator=generator) < NOISY_SHARE, noisy, times)


def say(cache: Cache, row: int, words: random.Random) -> str:
    """A caption: one in ten is empty, one in five does not name the style."""
    if words.random() < 0.1:
        return ""
    slug, style = cache.captions[int(cache.labels[row])]
    named = style if words.random() < 0.8 else None
    text = caption(slug, style=named, background=cache.colours[int(cache.shades[row])])
    if words.random() < 0.2:
        text = text.removeprefix("a ").removeprefix("an ")
    if words.random() < 0.15:
        text = f"{text}, emoji"
    return text


def tokenise(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """`(B, 32)` token ids."""
    ids: Tensor = tokenizer(
        texts, padding="max_length", truncation=True, return_tensors="pt"
    ).input_ids
    return ids


def velocity_loss(
    model: nn.ModuleDict,
    latents: Tensor,
    noise: Tensor,
    times: Tensor,
    tokens: Tensor,
    kept: Tensor,
) -> tuple[Tensor, Tensor]:
    """Mean squared error of the predicted velocity, and the same to report.

    `kept` is alpha bar, `(B,)`.
    """
    signal, spread = (a.sqrt()[:, None, None, None] for a in (kept, 1 - kept))
    hidden = model["text"](tokens).last_hidden_state
    noisy = (signal * latents + spread * noise).contiguous(memory_format=torch.channels_last)
    out = model["unet"](noisy, times, hidden).sample.float()
    error = (out - (signal * noise - spread * latents)).square().mean()
    return error, error.detach()


class Run:
    """The optimiser, the average of the weights and how far the run has come."""

    def __init__(self, model: nn.ModuleDict, rate: float, path: Path) -> None:
        self.model, self.path = model, path
        self.ema = copy.deepcopy(model).requires_grad_(False)
        embeddings = list(model["text"].get_input_embeddings().parameters())
        text = [p for p in model["text"].parameters() if all(p is not e for e in embeddings)]
        groups = [
            {"params": list(model["unet"].parameters()), "share": 1.0},
            {"params": text, "share": 0.7},
            {"params": embeddings, "share": 0.7, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(
            groups, lr=rate, betas=(0.9, 0.98), weight_decay=1e-2, fused=True
        )
        self.step, self.pictures, self.seconds = 0, 0, 0.0

    def warm(self, done: float, peak: float) -> None:
        """Set the rate: 100 warm-up steps, level for a third of the time, then cosine."""
        falling = max(0.0, (done - 0.33) / 0.67)
        rate = (
            peak
            * min(1.0, (self.step + 1) / 100)
            * (0.01 + 0.495 * (1 + math.cos(math.pi * falling)))
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]

    def learn(self, count: int) -> None:
        """One step of the optimiser and of the average."""
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.pictures += count
        decay = min(0.996, self.step / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.ema.parameters()), list(self.model.parameters()), 1 - decay
            )

    def report(self, errors: list[float]) -> None:
        """One line of numbers."""
        logger.info(
            "step %d, %.0f s: velocity error %.4f, %d pictures, rate %.1e",
            *(self.step, self.seconds, sum(errors) / len(errors), self.pictures),
            self.optimizer.param_groups[0]["lr"],
        )

    def save(self, work: Path) -> None:
        """Write the checkpoint whole or not at all, and the averaged models."""
        parts = {"model": self.model, "ema": self.ema, "optimizer": self.optimizer}
        state = {name: part.state_dict() for name, part in parts.items()}
        come = {name: getattr(self, name) for name in ("step", "pictures", "seconds")}
        torch.save(state | come, self.path.with_suffix(".tmp"))
        self.path.with_suffix(".tmp").rename(self.path)
        self.ema["unet"].save_pretrained(work / "unet")
        self.ema["text"].save_pretrained(work / "text_encoder")

    def restore(self) -> None:
        """Go on from the checkpoint if there is one."""
        if not self.path.exists():
            return
        state = torch.load(self.path, weights_only=True)
        for name, part in {
            "model": self.model,
            "ema": self.ema,
            "optimizer": self.optimizer,
        }.items():
            part.load_state_dict(state[name])
        self.step, self.pictures, self.seconds = (state[k] for k in ("step", "pictures", "seconds"))


if __name__ == "__main__":
    main()
