"""Networks of others that see pictures, each loaded once a process.

It knows no metric, and leaves to `hub` where weights come from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.metrics.base import Picture
from analysis.metrics.hub import located, opened, whole
from trainer.core.device import best_device

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = NDArray[np.float64]
else:
    Rows = Any

CLIP = "openai/clip-vit-large-patch14"
DINO = "facebook/dinov2-base"
"""Their usual names on the hub. OpenAI's smaller CLIP is a pickle there, which is not opened."""
CLIP_TYPES = frozenset({"clip"})
DINO_TYPES = frozenset({"dinov2", "dinov2_with_registers"})
"""What a model's config.json calls it."""

OPENAI = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
"""Mean and deviation that CLIP was trained with (arXiv:2103.00020)."""
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation of ImageNet, that DINOv2 and VGG were trained with."""

_TOGETHER = 16
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Framing:
    """How a network wants pictures: the shorter side scaled, the middle cut out, normalised.

    Attributes:
        scaled: The shorter side before cutting, px.
        side: Side of the square that is cut out, px.
        mean: By channel, of 0 to 1.
        deviation: By channel.
    """

    scaled: int
    side: int
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]

    def __call__(self, picture: Picture) -> NDArray[np.float32]:
        """`(H, W, 3)`, 0 to 255 -> `(3, side, side)`."""
        from PIL import Image

        image = Image.fromarray(picture)
        ratio = self.scaled / min(image.size)
        width, height = (max(self.scaled, int(ratio * side)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
        left, top = (width - self.side) // 2, (height - self.side) // 2
        cut = np.asarray(image.crop((left, top, left + self.side, top + self.side)))
        framed = (cut / 255 - self.mean) / self.deviation
        return np.ascontiguousarray(framed.transpose(2, 0, 1), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Onlooker:
    """An `Eye`: what a network sees in pictures. One that was looked at lately is remembered.

    Attributes:
        network: `(N, 3, side, side)` on the device -> `(N, D)`.
    """

    network: Callable[[Any], Any]
    framing: Framing
    device: str
    _known: dict[bytes, Rows] = field(default_factory=dict)

    def __call__(self, pictures: Sequence[Picture]) -> Rows:
        """`(N, D)`, rows of length 1."""
        keys = [_key(picture) for picture in pictures]
        new = {key: p for key, p in zip(keys, pictures, strict=True) if key not in self._known}
        names = list(new)
        found = {key: self._known[key] for key in keys if key in self._known}
        for at in range(0, len(names), _TOGETHER):
            some = names[at : at + _TOGETHER]
            found |= zip(some, self._look([new[key] for key in some]), strict=True)
        self._known.update({name: found[name] for name in names})
        for name in list(self._known)[: max(0, len(self._known) - _REMEMBERED)]:
            del self._known[name]
        return np.stack([found[key] for key in keys]) if keys else np.zeros((0, 0))

    def _look(self, pictures: Sequence[Picture]) -> Rows:
        import torch

        pixels = torch.from_numpy(np.stack([self.framing(picture) for picture in pictures]))
        with torch.inference_mode():
            return _unit(self.network(pixels.to(self.device)))


@dataclass(frozen=True, slots=True)
class Clip:
    """CLIP: pictures and texts in one space.

    Attributes:
        pictures: What it sees.
    """

    pictures: Onlooker
    _network: Any
    _folder: Path

    def texts(self, texts: Sequence[str]) -> Rows:
        """What it reads in each text: `(N, D)`, rows of length 1. Past 77 tokens it is cut."""
        import torch

        length = self._network.config.text_config.max_position_embeddings
        tokens = _tokenizer(self._folder)(
            list(texts),
            padding="max_length",
            truncation=True,
            max_length=length,
            return_tensors="pt",
        ).to(self.pictures.device)
        with torch.inference_mode():
            found = self._network.get_text_features(
                input_ids=tokens.input_ids, attention_mask=tokens.attention_mask
            )
        return _unit(found.pooler_output)


@cache
def clip(weights: str) -> Clip:
    """CLIP with these weights, on the best device.

    Raises:
        ModelError: They are not there, damaged, or of another network.
    """
    import transformers

    folder, device = located(weights), best_device()
    model = whole(transformers.CLIPModel, folder, CLIP_TYPES).to(device)
    side = model.config.vision_config.image_size
    see = Onlooker(
        lambda pixels: model.get_image_features(pixel_values=pixels).pooler_output,
        Framing(side, side, *OPENAI),
        device,
    )
    return Clip(see, model, folder)


@cache
def dino(weights: str) -> Onlooker:
    """The class token of DINOv2 with these weights, on the best device.

    Raises:
        ModelError: They are not there, damaged, or of another network.
    """
    import transformers

    folder, device = located(weights), best_device()
    model = whole(transformers.AutoModel, folder, DINO_TYPES).to(device)
    return Onlooker(
        lambda pixels: model(pixel_values=pixels).pooler_output,
        Framing(256, 224, *IMAGENET),
        device,
    )


def likeness(
    eye: Onlooker, pictures: Sequence[Picture], references: Sequence[Picture]
) -> list[float]:
    """The mean cosine of each picture to the references.

    The mean, since the best of several would reward a copy of one, and is higher by chance the
    more references there are.
    """
    if not pictures:
        return []
    beside = eye(references)
    return [float(value) for value in (eye(pictures) @ beside.T).mean(axis=1)]


@cache
def _tokenizer(folder: Path) -> Any:
    import transformers

    return opened(transformers.CLIPTokenizer.from_pretrained, folder)


def _unit(features: Any) -> Rows:
    """`(N, D)` on any device -> float64, rows of length 1."""
    rows = features.float().cpu().double().numpy()
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def _key(picture: Picture) -> bytes:
    return hashlib.sha256(str(picture.shape).encode() + picture.tobytes()).digest()
