"""Tells 3D emoji from flat ones: a logistic regression on simple picture features.

Trained on the sheets in `../eval`, each cell passed through the VAE first, so that it judges
style and not the VAE's softness. Run as a script it prints the cross-validated accuracy.
"""

import argparse
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor

logger = logging.getLogger(__name__)

SHEETS = ("noto", "flat", "3d")
LUMA = torch.tensor([0.3, 0.59, 0.11])
STEEPNESS = torch.tensor([0, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 10.0])


@dataclass(frozen=True)
class Classifier:
    """Weights on standardised features."""

    mean: Tensor
    deviation: Tensor
    weights: Tensor

    def is_3d(self, pictures: Tensor) -> Tensor:
        """`(N,)` bool for `(N, 3, 128, 128)` in [-1, 1]."""
        rows = (features_of(pictures) - self.mean) / self.deviation
        return with_one(rows) @ self.weights > 0


def main() -> None:
    """Print the share of cells called right, nine-fold, for each style."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, default=Path(__file__).parent.parent)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    rows, is_3d = examples(args.demo)
    cells = len(rows) // len(SHEETS)
    fold = torch.arange(cells).repeat(len(SHEETS)) % 9
    right = torch.zeros(len(rows))
    for k in range(9):
        seen = fit(rows[fold != k], is_3d[fold != k])
        called = with_one((rows[fold == k] - seen.mean) / seen.deviation) @ seen.weights > 0
        right[fold == k] = (called == (is_3d[fold == k] > 0.5)).float()
    for name, part in zip(SHEETS, right.split(cells), strict=True):
        logger.info("%s: %.2f called right", name, part.mean())


def train(demo: Path) -> Classifier:
    """A classifier from all three sheets."""
    return fit(*examples(demo))


def examples(demo: Path) -> tuple[Tensor, Tensor]:
    """`(270, F)` features of all cells and `(270,)` whether each is 3D."""
    vae = AutoencoderKL.from_pretrained(demo / "sd" / "vae", torch_dtype=torch.float32)
    rows = [features_of(through(vae, cells(demo / "eval", name))) for name in SHEETS]
    is_3d = [torch.full((len(r),), float(n == "3d")) for r, n in zip(rows, SHEETS, strict=True)]
    return torch.cat(rows), torch.cat(is_3d)


def cells(folder: Path, name: str) -> Tensor:
    """`(N, 3, 128, 128)` in [-1, 1] of one contact sheet."""
    index = json.loads((folder / "names.json").read_text())
    sheet = np.array(Image.open(folder / f"{name}.webp").convert("RGB"))
    tiles = torch.from_numpy(sheet).unfold(0, index["side"], index["side"])
    tiles = tiles.unfold(1, index["side"], index["side"]).flatten(0, 1)
    return tiles[: len(index["names"])].float() / 127.5 - 1


@torch.no_grad()
def through(vae: AutoencoderKL, pictures: Tensor) -> Tensor:
    """What the VAE makes of them."""
    parts = (vae.decode(vae.encode(part).latent_dist.mode()).sample for part in pictures.split(15))
    return torch.cat(list(parts)).clamp(-1, 1)


def fit(rows: Tensor, is_3d: Tensor, *, decay: float = 0.01) -> Classifier:
    """Logistic regression, both classes of equal weight."""
    mean, deviation = rows.mean(dim=0), rows.std(dim=0) + 1e-6
    inputs = with_one((rows - mean) / deviation)
    weights = torch.zeros(inputs.shape[1], requires_grad=True)
    balance = torch.where(is_3d > 0.5, 0.5 / is_3d.mean(), 0.5 / (1 - is_3d).mean())
    optimizer = torch.optim.LBFGS([weights], max_iter=300, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.binary_cross_entropy_with_logits(inputs @ weights, is_3d, weight=balance)
        value = value + decay * weights[:-1].square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return Classifier(mean, deviation, weights.detach())


def with_one(rows: Tensor) -> Tensor:
    """Rows with a constant for the bias."""
    return torch.cat([rows, torch.ones(len(rows), 1)], dim=1)


def features_of(pictures: Tensor) -> Tensor:
    """`(N, F)`; see `features`."""
    return torch.stack([features(picture.clamp(-1, 1)) for picture in pictures])


def features(picture: Tensor) -> Tensor:
    """Gradients, tones, scales of detail, histograms, slopes and number of colours inside."""
    inside = body(picture)
    rgb = (picture + 1) / 2
    light = (rgb * LUMA[:, None, None]).sum(dim=0)
    top, bottom = rgb.amax(dim=0), rgb.amin(dim=0)
    saturation = (top - bottom) / top.clamp_min(0.01)
    across, down = rgb.diff(dim=2).abs().amax(dim=0), rgb.diff(dim=1).abs().amax(dim=0)
    steep = torch.maximum(F.pad(across, (0, 1)), F.pad(down, (0, 0, 0, 1)))
    tones = torch.stack([saturation, top, light, bottom, *rgb])[:, inside]
    found = [
        torch.histogram(steep[inside], STEEPNESS)[0] / inside.sum(),
        tones.mean(dim=1),
        tones.std(dim=1),
        detail(rgb, light, inside),
        torch.histc(light[inside], 8, 0, 1) / inside.sum(),
        torch.histc(saturation[inside], 8, 0, 1) / inside.sum(),
        slopes(rgb, light, saturation, inside),
        palette(rgb[:, inside], levels=12),
        palette(rgb[:, inside], levels=6),
    ]
    return torch.cat(found).nan_to_num()


def body(picture: Tensor) -> Tensor:
    """`(h, w)` bool: what differs from the border's colour, less its outermost two pixels."""
    edges = (picture[:, :3], picture[:, -3:], picture[:, :, :3], picture[:, :, -3:])
    border = torch.cat([edge.flatten(1) for edge in edges], dim=1).median(dim=1).values
    mask = ((picture - border[:, None, None]).abs().amax(dim=0) > 0.25).float()
    inner = -F.max_pool2d(-mask[None, None], 5, 1, 2)[0, 0] > 0.5
    return inner if inner.sum() > 50 else torch.ones_like(inner)


def detail(rgb: Tensor, light: Tensor, inside: Tensor) -> Tensor:
    """`(5,)` log energy between blurs of 3, 5, 9, 17 and 33 px."""
    before, found = light, []
    for size in (3, 5, 9, 17, 33):
        blurred = F.avg_pool2d(rgb[None], size, 1, size // 2, count_include_pad=False)
        after = blurred[0].mean(dim=0)
        found.append((before - after)[inside].abs().mean().clamp_min(1e-4).log())
        before = after
    return torch.stack(found)


def slopes(rgb: Tensor, light: Tensor, saturation: Tensor, inside: Tensor) -> Tensor:
    """`(9,)` size, and how light and colour change from top to bottom and left to right."""
    maps = (light, rgb[0] - rgb[1], rgb[2] - (rgb[0] + rgb[1]) / 2, saturation)
    places = torch.meshgrid(*(torch.arange(float(n)) for n in light.shape), indexing="ij")
    found = [inside.float().mean()]
    for values in (m[inside] for m in maps):
        for place in (p[inside] for p in places):
            together = ((place - place.mean()) * (values - values.mean())).mean()
            found.append(together / (place.std() * values.std() + 1e-3))
    return torch.stack(found)


def palette(colours: Tensor, *, levels: int) -> Tensor:
    """`(4,)` shares of the commonest 1, 3 and 8 colours, and their entropy, of `(3, N)`."""
    _, counts = torch.unique((colours * levels).round(), dim=1, return_counts=True)
    share = counts.sort(descending=True).values / counts.sum()
    entropy = -(share * share.log()).sum()
    return torch.stack([share[:1].sum(), share[:3].sum(), share[:8].sum(), entropy])


if __name__ == "__main__":
    main()
