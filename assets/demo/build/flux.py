"""Trains FLUX's twin of the demo model: a transformer, T5 and CLIP by flow matching.

First plain flow matching, then guidance distillation (Meng et al. 2023, arXiv:2210.03142): the
finished model, told a guidance, learns to answer what it answered with and without the caption,
so that one pass renders what took two, as FLUX.1 dev does.

The VAE, CLIP and its tokenizer begin as the Stable Diffusion twin's (`--sd`).
"""

import argparse
import copy
import logging
import math
import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch
from diffusers import FluxTransformer2DModel
from flux_words import LENGTH
from spread import Spread
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel, T5TokenizerFast
from unet import Cache, say, tokenise

logger = logging.getLogger(__name__)

SIDE = 8
"""Patches on a side: 16 latents, two by two."""
TRANSFORMER = {
    "in_channels": 32,
    "num_layers": 2,
    "num_single_layers": 6,
    "attention_head_dim": 32,
    "num_attention_heads": 8,
    "joint_attention_dim": 192,
    "pooled_projection_dim": 192,
    "guidance_embeds": True,
    "axes_dims_rope": [4, 14, 14],
}
NOISY_SHARE = 0.4
"""Share of pictures trained at times from 0.6 on, where the caption alone decides the layout."""
MOST_GUIDANCE = 6.0

Batch = tuple[Tensor, ...]
"""Patches `(B, 64, 32)`, noise, times `(B,)` from 0 to 1, tokens of CLIP and of T5."""
Pair = tuple[Tensor, Tensor]


def main() -> None:
    """Train, or go on from the checkpoint; write the parts as it goes."""
    args = arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.manual_seed(args.seed)
    cache = Cache(**torch.load(args.work / "latents.pt", weights_only=True))
    words = (
        CLIPTokenizer.from_pretrained(args.sd / "tokenizer"),
        T5TokenizerFast.from_pretrained(args.work / "tokenizer_2"),
    )
    model = build(args.sd, words[1])
    run = Run(model, args.work)
    run.restore()
    while run.part < 2:
        seconds = (args.seconds, args.distil)[run.part]
        feed = Feed(cache, words, seed=args.seed + run.step)
        nothing = [tokenise(tokenizer, [""]) for tokenizer in words]
        loss = flow_loss if run.part == 0 else Guide(run.teacher(), nothing)
        train(run, feed, loss, args, seconds)
        run.next()


def arguments() -> argparse.Namespace:
    """What the command line says."""
    here = Path(__file__).parent.parent
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("build/demo"))
    parser.add_argument("--sd", type=Path, default=here / "sd", help="the other demo model")
    parser.add_argument("--seconds", type=float, default=4500)
    parser.add_argument("--distil", type=float, default=1000)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-every", type=int, default=250)
    return parser.parse_args()


def train(
    run: "Run", feed: "Feed", loss: Callable[..., Pair], args: argparse.Namespace, seconds: float
) -> None:
    """Steps until the seconds of this part are spent."""
    backward = in_turns(run.model, loss)
    errors: list[float] = []
    began = time.time()
    while run.seconds < seconds:
        run.warm(run.seconds / seconds, args.rate / (1 + 2 * run.part))
        errors.append(backward(feed.draw(args.batch)))
        run.learn(args.batch)
        run.seconds += time.time() - began
        began = time.time()
        if run.step % 50 == 0:
            run.report(errors)
            errors.clear()
        if run.step % args.save_every == 0:
            run.save()


def build(sd: Path, tokenizer: T5TokenizerFast) -> nn.ModuleDict:
    """A fresh transformer of 11 M and T5 of 2 M parameters; CLIP as it is in the other model."""
    transformer = FluxTransformer2DModel(**TRANSFORMER)
    for name, module in transformer.named_modules():
        if name.endswith(
            ("norm.linear", "norm1.linear", "norm1_context.linear", "norm_out.linear")
        ):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    nn.init.zeros_(transformer.proj_out.weight)
    t5 = T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=192,
            d_kv=32,
            d_ff=512,
            num_layers=3,
            num_heads=6,
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
            is_encoder_decoder=False,
            use_cache=False,
        )
    )
    nn.init.normal_(t5.get_input_embeddings().weight, std=1.0)
    clip = CLIPTextModel.from_pretrained(sd / "text_encoder", dtype=torch.float32)
    clip.set_attn_implementation("eager")
    return nn.ModuleDict({"transformer": transformer, "t5": t5, "clip": clip})


def in_turns(model: nn.ModuleDict, loss: Callable[..., Pair]) -> Callable[[Batch], float]:
    """Gradients of a batch in quarters, by threads of one core each."""
    torch.set_num_threads(1)
    nn.functional.scaled_dot_product_attention = plain_attention
    spread = Spread(list(model.parameters()))

    def backward(batch: Batch) -> float:
        quarters = zip(*(tensor.chunk(4) for tensor in batch), strict=True)
        return spread.backward([partial(loss, model, *part) for part in quarters]).item()

    return backward


def plain_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, **_: object
) -> Tensor:
    """Attention with all probabilities at once: on 88 places a quarter of a step is saved."""
    scores = query @ key.mT * query.shape[-1] ** -0.5
    if attn_mask is not None:
        scores = scores + attn_mask
    return scores.softmax(dim=-1).to(value.dtype) @ value


class Feed:
    """Batches of patches, noise, times and captions, drawn at random."""

    def __init__(
        self, cache: Cache, words: tuple[CLIPTokenizer, T5TokenizerFast], *, seed: int
    ) -> None:
        self.cache, self.tokenizers = cache, words
        self.words = random.Random(seed)
        self.generator = torch.Generator().manual_seed(seed)

    def draw(self, count: int) -> Batch:
        """A batch of `count`."""
        rows = torch.randint(len(self.cache.latents), (count,), generator=self.generator)
        latents = patches(self.cache.latents[rows].float())
        noise = torch.randn(latents.shape, generator=self.generator)
        said = [say(self.cache, int(row), self.words) for row in rows]
        tokens = [tokenise(tokenizer, said) for tokenizer in self.tokenizers]
        return latents, noise, sample_times(count, self.generator), *tokens


def patches(latents: Tensor) -> Tensor:
    """`(B, C, 16, 16)` -> `(B, 64, 4 C)`, as FluxPipeline packs them."""
    count, channels = latents.shape[:2]
    apart = latents.view(count, channels, SIDE, 2, SIDE, 2).permute(0, 2, 4, 1, 3, 5)
    return apart.reshape(count, SIDE * SIDE, channels * 4)


def sample_times(count: int, generator: torch.Generator) -> Tensor:
    """`(count,)` from picture (0) to noise (1): logit-normal, and more that are near noise."""
    times = torch.sigmoid(torch.randn(count, generator=generator) + 0.3)
    noisy = 0.6 + 0.4 * torch.rand(count, generator=generator)
    return torch.where(torch.rand(count, generator=generator) < NOISY_SHARE, noisy, times)


def flow_loss(
    model: nn.ModuleDict, latents: Tensor, noise: Tensor, times: Tensor, clip: Tensor, t5: Tensor
) -> Pair:
    """Mean squared error of the velocity, and the same to report."""
    answer = velocity(model, latents, noise, times, [clip, t5], torch.ones_like(times))
    error = (answer - (noise - latents)).square().mean()
    return error, error.detach()


class Guide:
    """The loss of guidance distillation: distance from what the teacher answers with guidance."""

    def __init__(self, teacher: nn.ModuleDict, nothing: list[Tensor]) -> None:
        self.teacher, self.nothing = teacher, nothing

    def __call__(
        self,
        model: nn.ModuleDict,
        latents: Tensor,
        noise: Tensor,
        times: Tensor,
        clip: Tensor,
        t5: Tensor,
    ) -> Pair:
        """Guidance is 1 for a fifth of the pictures, else up to `MOST_GUIDANCE`."""
        plain = torch.ones_like(times)
        drawn = 1 + (MOST_GUIDANCE - 1) * torch.rand(len(times))
        guidance = torch.where(torch.rand(len(times)) < 0.2, plain, drawn)
        empty = [tokens.expand(len(times), -1) for tokens in self.nothing]
        with torch.no_grad():
            said = velocity(self.teacher, latents, noise, times, [clip, t5], plain)
            unsaid = velocity(self.teacher, latents, noise, times, empty, plain)
            wanted = unsaid + guidance[:, None, None] * (said - unsaid)
        answer = velocity(model, latents, noise, times, [clip, t5], guidance)
        error = ((answer - wanted).square().mean(dim=(1, 2)) / guidance).mean()
        return error, error.detach()


def velocity(
    model: nn.ModuleDict,
    latents: Tensor,
    noise: Tensor,
    times: Tensor,
    tokens: list[Tensor],
    guidance: Tensor,
) -> Tensor:
    """What the transformer answers on the lines from pictures to noise, `(B, 64, 32)`."""
    share = times[:, None, None]
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    places = torch.stack([torch.zeros_like(rows), rows, columns], dim=-1).reshape(-1, 3)
    clip, t5 = tokens
    answer: Tensor = model["transformer"](
        hidden_states=(1 - share) * latents + share * noise,
        encoder_hidden_states=model["t5"](t5).last_hidden_state,
        pooled_projections=model["clip"](clip).pooler_output,
        timestep=times,
        guidance=guidance,
        img_ids=places.float(),
        txt_ids=torch.zeros(LENGTH, 3),
        return_dict=False,
    )[0]
    return answer.float()


class Run:
    """The optimizers, the average of the weights and how far the run has come."""

    FOLDERS: ClassVar = {
        "transformer": "transformer",
        "t5": "text_encoder_2",
        "clip": "text_encoder",
    }

    def __init__(self, model: nn.ModuleDict, work: Path) -> None:
        self.model, self.work, self.path = model, work, work / "flux.pt"
        self.ema = copy.deepcopy(model).requires_grad_(False)
        inner = [
            p
            for name, p in model["transformer"].named_parameters()
            if p.ndim == 2 and "blocks." in name and ".norm" not in name
        ]
        rest = [p for p in model.parameters() if all(p is not other for other in inner)]
        self.optimizers = [
            torch.optim.Muon(inner, weight_decay=1e-2, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, betas=(0.9, 0.98), weight_decay=1e-2, fused=True),
        ]
        self.part, self.step, self.pictures, self.seconds = 0, 0, 0, 0.0

    def warm(self, done: float, peak: float) -> None:
        """Set the rate: 100 warm-up steps, level for a third of the time, then cosine."""
        falling = max(0.0, (done - 0.33) / 0.67)
        share = min(1.0, (self.step + 1) / 100) * (0.01 + 0.495 * (1 + math.cos(math.pi * falling)))
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = peak * share

    def learn(self, count: int) -> None:
        """One step of the optimizers and of the average."""
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.pictures += count
        decay = min(0.996, self.step / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.ema.parameters()), list(self.model.parameters()), 1 - decay
            )

    def next(self) -> None:
        """End a part: the next goes on from the average."""
        self.model.load_state_dict(self.ema.state_dict())
        self.part, self.seconds = self.part + 1, 0.0
        self.save()
        if self.part == 1:
            torch.save(self.ema.state_dict(), self.work / "flux_teacher.pt")

    def teacher(self) -> nn.ModuleDict:
        """The model as the first part left it."""
        teacher = copy.deepcopy(self.model).requires_grad_(False)
        teacher.load_state_dict(torch.load(self.work / "flux_teacher.pt", weights_only=True))
        return teacher

    def report(self, errors: list[float]) -> None:
        """One line of numbers."""
        logger.info(
            "part %d, step %d, %.0f s: velocity error %.4f, %d pictures, rate %.1e",
            *(self.part + 1, self.step, self.seconds, sum(errors) / len(errors), self.pictures),
            self.optimizers[0].param_groups[0]["lr"],
        )

    def save(self) -> None:
        """Write the checkpoint whole or not at all, and the averaged models."""
        state = {"model": self.model.state_dict(), "ema": self.ema.state_dict()}
        state["optimizers"] = [optimizer.state_dict() for optimizer in self.optimizers]
        come = {name: getattr(self, name) for name in ("part", "step", "pictures", "seconds")}
        torch.save(state | come, self.path.with_suffix(".tmp"))
        self.path.with_suffix(".tmp").rename(self.path)
        for name, folder in self.FOLDERS.items():
            self.ema[name].save_pretrained(self.work / "flux" / folder)

    def restore(self) -> None:
        """Go on from the checkpoint if there is one."""
        if not self.path.exists():
            return
        state = torch.load(self.path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        for optimizer, its in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(its)
        self.part, self.step, self.pictures, self.seconds = (
            state[k] for k in ("part", "step", "pictures", "seconds")
        )


if __name__ == "__main__":
    main()
