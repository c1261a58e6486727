"""Pictures per second of SSIM and BRISQUE: ours against scikit-image and piq one by one.

    python benchmarks/scoring.py --photos FOLDER [--sides 512 1024] [--count 256]

Photos of the folder are cut square, brought to each size and saved as PNG files, with spoilt
copies beside them; each copy is scored against its photo. Every way tells both numbers of every
picture. benchmarks/README.md says more.
"""

from __future__ import annotations

import argparse
import importlib
import io
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from analysis.metrics.base import metrics
from analysis.metrics.brisque import Brisque, by_piq, measured, piq_offline
from analysis.metrics.burn import burn
from analysis.metrics.measure_match import luma
from analysis.metrics.measure_ssim import ssim
from analysis.scoring import Item, score

SLOW = 16
"""Pictures that the ways that go one by one are timed on."""

Way = Callable[[Any, Any], tuple[float, float]]
"""A picture and its control -> SSIM and BRISQUE."""


@dataclass(frozen=True)
class Took:
    """Seconds a picture, and what was told of each."""

    seconds: float
    told: list[tuple[float, float]]


def main() -> None:
    """Measure each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--count", type=int, default=256)
    asked = parser.parse_args()
    for side in asked.sides:
        with tempfile.TemporaryDirectory() as place:
            items = make(asked.photos, Path(place), side, asked.count)
            with piq_offline():
                measure(items, side)


def make(photos: Path, place: Path, side: int, count: int) -> list[Item]:
    """Photos as controls, and `count` spoilt copies of them."""
    files = [f for f in sorted(photos.rglob("*")) if f.suffix.lower() in (".jpg", ".png")]
    items = []
    for number in range(count):
        source = files[number % len(files)]
        control = place / f"control-{number % len(files)}.png"
        with Image.open(source) as opened:
            photo = ImageOps.fit(opened.convert("RGB"), (side, side), Image.Resampling.LANCZOS)
        if not control.exists():
            photo.save(control)
        items.append(Item(place / f"{number}.png", control))
        spoilt(photo, number // len(files)).save(items[-1].picture)
    return items


def spoilt(photo: Image.Image, how: int) -> Image.Image:
    """Noise, blur, or strong compression."""
    match how % 3:
        case 0:
            noise = np.random.default_rng(0).normal(0, 8, (photo.height, photo.width, 3))
            return Image.fromarray(np.clip(np.asarray(photo) + noise, 0, 255).astype(np.uint8))
        case 1:
            return photo.filter(ImageFilter.GaussianBlur(1.5))
        case _:
            file = io.BytesIO()
            photo.save(file, "JPEG", quality=30)
            return Image.open(file).convert("RGB")


def measure(items: Sequence[Item], side: int) -> None:
    """Print the table of one size, and how far scores are apart."""
    few = items[:SLOW]
    pairs = [(opened(item.picture), opened(item.control)) for item in few]
    chosen = {kind: metrics[kind]() for kind in ("ssim", "brisque")}
    ways: dict[str, Way] = {
        "skimage + piq fp64": lambda a, b: (by_skimage(a, b), mirrored_mean(a, "fp64")),
        "skimage + piq fp32": lambda a, b: (by_skimage(a, b), mirrored_mean(a, "fp32")),
        "skimage + piq fp64, no mirror": lambda a, b: (by_skimage(a, b), by_piq(a)),
        "skimage + piq fp32, no mirror": lambda a, b: (by_skimage(a, b), _fp32(a)),
        **of_the_ancestors(),
    }
    ours = {
        "ours, one process": lambda: whole(items, chosen, 0),
        "ours, two processes": lambda: whole(items, chosen, 2),
        "decoding alone, one process": lambda: whole(items, {}, 0),
        "decoding alone, two processes": lambda: whole(items, {}, 2),
    }
    print(f"\n{side} px, {len(items)} PNG files; one by one on {len(few)}, two torch threads")
    print(f"{'':32} {'files, ms':>10} {'a second':>9} {'in memory, ms':>14}")
    rows = {name: (one_by_one(few, way), in_memory(pairs, way)) for name, way in ways.items()}
    for name, (files, memory) in rows.items():
        line(name, files.seconds, memory.seconds)
    alone = in_memory(pairs, by_ours)
    totals = {name: run() for name, run in ours.items()}
    for name, seconds in totals.items():
        line(name, seconds, alone.seconds if name == "ours, one process" else None)
    for name, (files, memory) in rows.items():
        fast = files.seconds / totals["ours, two processes"]
        print(f"  {fast:5.1f}x {name}; in memory {memory.seconds / alone.seconds:.1f}x", end="")
        print(f"; SSIM and BRISQUE differ by at most {apart(alone, memory)}")
    took = timed(lambda: [burn(picture) for picture, _ in pairs]) / len(pairs)
    print(f"  burn takes {took * 1e3:.1f} ms more")


def line(name: str, seconds: float, memory: float | None) -> None:
    """A row of the table."""
    beside = "" if memory is None else f"{memory * 1e3:14.1f}"
    print(f"{name:32} {seconds * 1e3:10.1f} {1 / seconds:9.1f} {beside}", flush=True)


def apart(one: Took, other: Took) -> str:
    """The largest difference of each of the two numbers."""
    gaps = np.abs(np.array(one.told) - np.array(other.told)).max(axis=0)
    return " and ".join(f"{gap:.1e}" for gap in gaps)


def opened(path: Path | None) -> Any:
    """`(H, W, 3)`."""
    assert path is not None
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def by_ours(picture: Any, control: Any) -> tuple[float, float]:
    """Our two numbers, without decoding and processes."""
    found = measured(picture)
    assert isinstance(found, Brisque)
    return ssim(luma(picture), luma(control)), found.score


def by_skimage(picture: Any, control: Any) -> float:
    """SSIM with the settings of Wang and others, 2004."""
    from skimage.metrics import structural_similarity

    return float(
        structural_similarity(
            luma(picture),
            luma(control),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
        )
    )


def mirrored_mean(picture: Any, precision: Literal["fp32", "fp64"]) -> float:
    """BRISQUE by piq, mean of the picture and its mirror image."""
    both = (picture, picture[:, ::-1])
    return sum(by_piq(one, precision=precision) for one in both) / 2


def _fp32(picture: Any) -> float:
    return by_piq(picture, precision="fp32")


def of_the_ancestors() -> dict[str, Way]:
    """The ancestors' formulas, where our port of them is there: other numbers, on purpose."""
    try:
        similarity = importlib.import_module("analysis.ancestor").ssim
        brisque = importlib.import_module("analysis.ancestor_brisque").score
    except (ImportError, AttributeError) as absent:
        print(f"the ancestors' way is left out: {absent}")
        return {}
    return {"the ancestors' formulas": lambda a, b: (similarity(luma(a), luma(b)), brisque(a))}


def one_by_one(items: Sequence[Item], way: Way) -> Took:
    """Decode a picture and its control, tell both numbers, go on to the next."""
    way(opened(items[0].picture), opened(items[0].control))
    told: list[tuple[float, float]] = []
    seconds = timed(
        lambda: told.extend(way(opened(item.picture), opened(item.control)) for item in items)
    )
    return Took(seconds / len(items), told)


def in_memory(pairs: Sequence[tuple[Any, Any]], way: Way) -> Took:
    """The same on decoded pictures; the faster of two rounds."""
    told: list[tuple[float, float]] = []
    seconds = min(timed(lambda: told.extend(way(*pair) for pair in pairs)) for _ in range(2))
    return Took(seconds / len(pairs), told[: len(pairs)])


def whole(items: Sequence[Item], chosen: dict[str, Any], processes: int) -> float:
    """Seconds a picture of a whole `score`, the start of processes included."""
    return timed(lambda: score(chosen, items, processes=processes)) / len(items)


def timed(what: Callable[[], object]) -> float:
    """Seconds it takes."""
    before = time.perf_counter()
    what()
    return time.perf_counter() - before


if __name__ == "__main__":
    main()
