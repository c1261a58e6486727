"""Rendering with a model that is in memory: sample pictures, class pictures, proofs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from trainer.core.errors import AdapterError, ModelError
from trainer.weights import entry
from trainer.weights.family import require_family
from trainer.weights.files import read, save
from trainer.weights.layouts import place, to_diffusers

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from trainer.families.base import LoadedModel
    from trainer.weights.files import LoraFile

_LONGEST = 200
"""Characters of an error that another library words, which may list every module."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How pictures are rendered.

    Attributes:
        size: (width, height), px.
        steps: Denoising steps.
        guidance: How strictly the prompt is followed; 1 is not at all beyond the model's own.
        negative: What the picture should not show.
    """

    size: tuple[int, int]
    steps: int
    guidance: float
    negative: str = ""


@dataclass(frozen=True, slots=True)
class Words:
    """Prompts, already encoded, one row each; kept on the CPU.

    `negative` has one row for all, or one for each.
    """

    prompts: tuple[str, ...]
    positive: dict[str, Tensor]
    negative: dict[str, Tensor]

    def only(self, index: int) -> Words:
        """One of the prompts alone."""
        row = slice(index, index + 1)
        positive = {name: value[row] for name, value in self.positive.items()}
        return Words(self.prompts[row], positive, self.negative)

    def repeated(self, count: int) -> Words:
        """The one prompt, `count` times."""
        positive = {k: v.expand(count, *v.shape[1:]) for k, v in self.positive.items()}
        return Words(self.prompts * count, positive, self.negative)

    @classmethod
    def stacked(cls, some: Sequence[Words]) -> Words:
        """Several, each of one prompt, below one another."""
        prompts = tuple(prompt for words in some for prompt in words.prompts)
        positive = {k: torch.cat([words.positive[k] for words in some]) for k in some[0].positive}
        negative = {k: torch.cat([words.negative[k] for words in some]) for k in some[0].negative}
        return cls(prompts, positive, negative)


def encode(model: LoadedModel, prompts: Sequence[str], negative: str) -> Words:
    """Run the text encoder over the prompts, one at a time, so that company changes nothing."""
    with torch.no_grad(), evaluating(model):
        rows = [model.encode_captions((prompt,)) for prompt in prompts]
        none = model.encode_negative(negative)
    positive = {name: torch.cat([row[name] for row in rows]).cpu() for name in rows[0]}
    return Words(tuple(prompts), positive, {name: value.cpu() for name, value in none.items()})


def render(model: LoadedModel, words: Words, seeds: Sequence[int], recipe: Recipe) -> list[Image]:
    """One picture for each prompt, with the seed in the same place."""
    return [_as_image(p) for p in render_arrays(model, words, seeds, recipe)]


def render_arrays(model: LoadedModel, words: Words, seeds: Sequence[int], recipe: Recipe) -> Any:
    """The same as floats: `(N, H, W, 3)` in [0, 1], numpy."""
    device, dtype = model.plan.device, model.plan.dtype
    count = len(words.prompts)
    positive = {k: v.to(device, dtype) for k, v in words.positive.items()}
    negative = {
        k: v.to(device, dtype).expand(count, *v.shape[1:]) for k, v in words.negative.items()
    }
    width, height = recipe.size
    with torch.no_grad(), evaluating(model):
        pictures = model.pipeline()(
            **model.render_arguments(positive, negative),
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            width=width,
            height=height,
            num_inference_steps=recipe.steps,
            guidance_scale=recipe.guidance,
            output_type="np",
        ).images
    if not np.isfinite(pictures).all():
        raise ModelError(
            "the picture holds NaN",
            hint="where this was not 32 bits already, compute.precision = 'fp32' may mend it",
        )
    return pictures


def use_lora(model: LoadedModel, path: Path, strength: float = 1.0) -> None:
    """Load a LoRA file through Diffusers' own door, as any other program would.

    Where Diffusers does not read kohya's layout for this model, it is given the same update in
    its own.

    Raises:
        AdapterError: It is no LoRA file, or made for another model.
    """
    file = read(path)
    require_family(file.family, model.naming, path)
    pipeline: Any = model.pipeline()
    try:
        with _readable(model, file) as readable:
            pipeline.load_lora_weights(
                readable.parent, weight_name=readable.name, use_safetensors=True
            )
        pipeline.set_adapters(_loaded(pipeline), strength)
    except (ValueError, RuntimeError, KeyError) as error:
        first = shorten(str(error).strip().splitlines()[0], _LONGEST, placeholder=" ...")
        raise AdapterError(
            f"the LoRA does not fit this model: {first}",
            where=str(path),
            hint="the base model that it was trained on",
        ) from error


def _loaded(pipeline: Any) -> list[str]:
    """The adapters that a pipeline has; a file of another family may load nothing, silently."""
    names = {name for part in pipeline.get_list_adapters().values() for name in part}
    if not names:
        raise ValueError("none of its modules is one of the model's")
    return sorted(names)


@contextmanager
def _readable(model: LoadedModel, file: LoraFile) -> Iterator[Path]:
    """The file, or a copy of it in a layout that Diffusers reads for this model."""
    found = (place(name, model.naming, file.layout) for name in file.pairs)
    modules = [where for where in found if where is not None]
    if file.layout == "diffusers":
        read = all(where.original is None for where in modules)
    else:
        read = model.diffusers_reads(name for where in modules for name in where.names)
    if read:
        yield file.path
        return
    weights = file.weights(model.naming)
    with TemporaryDirectory() as folder:
        path = Path(folder) / file.path.name
        told = {entry.KEY: entry.write(weights, model.naming)}
        save(path, to_diffusers(weights, model.naming), told, "fp32")
        yield path


@contextmanager
def evaluating(model: LoadedModel) -> Iterator[None]:
    """Dropout off inside the block."""
    networks = model.in_memory
    before = [network.training for network in networks]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for network, training in zip(networks, before, strict=True):
            network.train(training)


def _as_image(array: Any) -> Image:
    from PIL import Image

    return Image.fromarray((array * 255).round().clip(0, 255).astype("uint8"))
