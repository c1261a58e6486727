"""Pictures as tensors: loading packs, composing on a background, cutting crops.

Shapes: B batch; RGBA in [0, 1] with colour premultiplied; RGB in [-1, 1].
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from concepts import COLOURS
from torch import Generator, Tensor

SIDE = 128
"""Side in px of what the model draws."""


@dataclass(frozen=True)
class Pack:
    """One style's pictures: names and `(N, 4, 160, 160)` uint8 RGBA, not premultiplied."""

    names: list[str]
    pixels: Tensor

    def find(self, slug: str) -> Tensor:
        """`(4, 160, 160)` premultiplied float RGBA of one emoji."""
        return premultiply(self.pixels[self.names.index(slug)])


def load_pack(work: Path, style: str) -> Pack:
    """A pack that rasterise.py wrote."""
    with np.load(work / "pictures" / f"{style}.npz") as file:
        pixels = torch.from_numpy(file["pixels"]).permute(0, 3, 1, 2).contiguous()
        return Pack([str(name) for name in file["names"]], pixels)


def load_split(work: Path) -> dict[str, list[str]]:
    """Slugs that rasterise.py set aside: `held_out`, `subject` and `shared`."""
    split: dict[str, list[str]] = json.loads((work / "pictures" / "split.json").read_text())
    return split


def premultiply(pixels: Tensor) -> Tensor:
    """uint8 RGBA to float RGBA whose colour is multiplied by alpha, `(..., 4, h, w)`."""
    rgba = pixels.float() / 255
    alpha = rgba[..., 3:, :, :]
    return torch.cat([rgba[..., :3, :, :] * alpha, alpha], dim=-3)


def resize(rgba: Tensor, side: int) -> Tensor:
    """`(4, h, w)` to `(4, side, side)`."""
    out = F.interpolate(
        rgba[None], size=(side, side), mode="bilinear", antialias=True, align_corners=False
    )
    return out[0]


def compose(rgba: Tensor, background: Tensor) -> Tensor:
    """Lay premultiplied `(..., 4, h, w)` on `(..., 3)` colours in [0, 1]: RGB in [-1, 1]."""
    colour = background[..., None, None]
    return (rgba[..., :3, :, :] + (1 - rgba[..., 3:, :, :]) * colour) * 2 - 1


def colour(name: str) -> Tensor:
    """`(3,)` in [0, 1] of a named background."""
    return torch.tensor(COLOURS[name]) / 255


def place(rgba: Tensor, *, side: int, left: int, top: int) -> Tensor:
    """Scale a picture to `side` px and set it on an empty `(4, 128, 128)` canvas."""
    canvas = torch.zeros(4, SIDE, SIDE)
    canvas[:, top : top + side, left : left + side] = resize(rgba, side)
    return canvas


def centred(rgba: Tensor, *, side: int = 112) -> Tensor:
    """The plain placing that evaluation uses."""
    margin = (SIDE - side) // 2
    return place(rgba, side=side, left=margin, top=margin)


def varied(rgba: Tensor, generator: Generator, *, least: int = 104, slack: int = 3) -> Tensor:
    """Placed with a small random scale and shift; more variety costs the UNet time it lacks."""
    side = draw(least, 121, generator)
    middle = (SIDE - side) // 2
    left, top = (middle + draw(-slack, slack + 1, generator) for _ in range(2))
    return place(rgba, side=side, left=left, top=top)


def crop(rgba: Tensor, *, side: int, generator: Generator) -> Tensor:
    """A `(4, side, side)` window at a random scale, mostly of the picture's middle."""
    window = draw(side, side * 3 // 2 + 1, generator)
    room = rgba.shape[-1] - window
    left, top = ((draw(0, room + 1, generator) + draw(0, room + 1, generator)) // 2 for _ in "xy")
    out = resize(rgba[:, top : top + window, left : left + window], side)
    return out.flip(-1) if draw(0, 2, generator) else out


def draw(low: int, high: int, generator: Generator) -> int:
    """A whole number in [low, high)."""
    return int(torch.randint(low, high, (), generator=generator))
