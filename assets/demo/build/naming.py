"""Which concept a picture shows, by its nearest training picture.

A picture's foreground is what differs from the colour of its border, specks left out. It is cut
out, brought to one size on white, encoded by the VAE, and compared (mean squared difference of
latents, also mirrored) to the training pictures of every concept on the same background, treated
the same way.
"""

import logging
from pathlib import Path

import numpy as np
import torch
from concepts import STYLES, TRAINED
from picture import SIDE, centred, colour, compose, load_pack, resize
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import avg_pool2d

logger = logging.getLogger(__name__)

DIFFERENT = 0.25
"""Of a range of 2, and over 3x3 px: from here on a pixel is not background."""

SPECK = 0.03
"""Share of all that differs, under which a patch standing alone is no part of the thing drawn.

Without this a single stain at the edge doubles the box that is cut out, and a picture that
anybody recognises is compared at half its size.
"""


def naming_figures(
    vae: torch.nn.Module, work: Path, pictures: Tensor, prompts: list[tuple[str, str, str]]
) -> dict[str, object]:
    """The share of pictures whose nearest training picture shows the prompted concept."""
    drawn = latents_of(vae, pictures)
    packs = {style: load_pack(work, style) for style in STYLES}
    known = torch.stack([centred(packs[style].find(slug)) for slug in TRAINED for style in STYLES])
    right: dict[str, list[bool]] = {"white": [], "coloured": []}
    wrong = []
    for shade in {shade for _, _, shade in prompts}:
        there = latents_of(vae, compose(known, colour(shade).expand(len(known), 3)))
        for i in (i for i, (_, _, s) in enumerate(prompts) if s == shade):
            found = TRAINED[nearest(drawn[i], there) // len(STYLES)]
            right["white" if shade == "white" else "coloured"].append(found == prompts[i][1])
            if found != prompts[i][1]:
                wrong.append(f"{prompts[i][0]} -> {found}")
    count = len(prompts)
    logger.info("named otherwise: %s", "; ".join(sorted(wrong)))
    return {
        "concepts": len(TRAINED),
        "pictures": count,
        "named_as_prompted": round(1 - len(wrong) / count, 3),
        "named_on_white": round(sum(right["white"]) / len(right["white"]), 3),
        "named_on_colours": round(sum(right["coloured"]) / len(right["coloured"]), 3),
    }


def nearest(latent: Tensor, known: Tensor) -> int:
    """Index of the nearest of `(N, 2, C, h, w)`, plain or mirrored."""
    distance = (known - latent[:1]).square().flatten(2).mean(dim=2).amin(dim=1)
    return int(distance.argmin())


def latents_of(vae: torch.nn.Module, pictures: Tensor) -> Tensor:
    """`(N, 2, C, h, w)`: the latents of each foreground on white and of its mirror image."""
    cut = torch.stack([foreground(picture) for picture in pictures])
    both = torch.stack([cut, cut.flip(-1)], dim=1).flatten(0, 1)
    with torch.autocast("cpu", torch.bfloat16):
        parts = [vae.encode(part).latent_dist.mode().float() for part in both.split(32)]
    return torch.cat(parts).unflatten(0, (-1, 2))


def foreground(picture: Tensor) -> Tensor:
    """What differs from the border's median colour, cut out, 112 px, centred on white."""
    edges = (picture[:, :3], picture[:, -3:], picture[:, :, :3], picture[:, :, -3:])
    border = torch.cat([edge.flatten(1) for edge in edges], dim=1)
    plain = border.median(dim=1).values[:, None, None]
    difference = (picture - plain).abs().amax(dim=0)
    mask = without_specks(avg_pool2d(difference[None], 3, stride=1, padding=1)[0] > DIFFERENT)
    if not mask.any():
        return torch.ones_like(picture)
    rows, columns = mask.any(dim=1).nonzero()[:, 0], mask.any(dim=0).nonzero()[:, 0]
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    cut = torch.cat([torch.where(mask, (picture + 1) / 2, 0), mask[None]])[
        :, top:bottom, left:right
    ]
    side = int(max(cut.shape[1:]))
    square = torch.zeros(4, side, side)
    y, x = (side - cut.shape[1]) // 2, (side - cut.shape[2]) // 2
    square[:, y : y + cut.shape[1], x : x + cut.shape[2]] = cut
    canvas = torch.zeros(4, SIDE, SIDE)
    canvas[:, 8:120, 8:120] = resize(square, 112)
    return compose(canvas, colour("white"))


def without_specks(mask: Tensor) -> Tensor:
    """The mask's connected patches (corners touch) but for the smallest."""
    patches, _ = ndimage.label(mask.numpy(), np.ones((3, 3)))
    sizes = np.bincount(patches.ravel())
    sizes[0] = 0
    return torch.from_numpy((sizes >= max(1, SPECK * sizes.sum()))[patches])
