"""Draws the emoji packs as 160 px RGBA arrays, one `.npz` per pack.

Run it in a folder that has the unpacked npm packages; see README.md.
"""

import argparse
import io
import json
import logging
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cairosvg
import numpy as np
from concepts import CATEGORIES, SUBJECT, held_out
from PIL import Image

logger = logging.getLogger(__name__)

SIDE = 160
PACKS = {"noto": "noto", "flat": "fluent-emoji-flat", "twemoji": "twemoji"}


def main() -> None:
    """Write `pictures/{noto,flat,twemoji,3d}.npz` and `pictures/split.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("build/demo"))
    parser.add_argument("--packages", type=Path, help="the npm packages; WORK/npm unless said")
    args = parser.parse_args()
    packages = args.packages or args.work / "npm"
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    out = args.work / "pictures"
    out.mkdir(parents=True, exist_ok=True)
    packs = {style: read_pack(packages, name) for style, name in PACKS.items()}
    points = code_points(packs["noto"])
    slugs = [slug for slug in chosen(packs["noto"]) if slug in packs["flat"]["icons"]]
    three = find_3d(packages, points)
    shared = [slug for slug in slugs if slug in three]
    split = {"held_out": held_out(shared), "subject": SUBJECT, "shared": shared}
    (out / "split.json").write_text(json.dumps(split, indent=1))
    for style, pack in packs.items():
        if not (out / f"{style}.npz").exists():
            save(out / f"{style}.npz", dict(draw_all(pack, chosen(pack))))
    if not (out / "3d.npz").exists():
        save(out / "3d.npz", {slug: read_picture(three[slug]) for slug in shared})


def read_pack(folder: Path, name: str) -> dict[str, Any]:
    """An iconify package's icons, metadata and characters in one dict."""
    root = next(folder.glob(f"*{name}*/"))
    pack: dict[str, Any] = json.loads((root / "icons.json").read_text())
    pack["categories"] = json.loads((root / "metadata.json").read_text())["categories"]
    pack["chars"] = json.loads((root / "chars.json").read_text())
    return pack


def chosen(pack: dict[str, Any]) -> list[str]:
    """The slugs of the pictorial categories that the pack can draw."""
    return [s for c in CATEGORIES for s in pack["categories"][c] if s in pack["icons"]]


def code_points(pack: dict[str, Any]) -> dict[str, str]:
    """Slug to code points without variation selectors."""
    return {slug: bare(points) for points, slug in pack["chars"].items()}


def bare(points: str) -> str:
    """Code points without the selector that asks for a colour glyph."""
    return "-".join(p for p in points.lower().split("-") if p != "fe0f")


def find_3d(folder: Path, points: dict[str, str]) -> dict[str, Path]:
    """Slug to its Fluent 3D picture, joined by code point."""
    root = next(folder.glob("*fluent-emoji-3d*/")) / "assets"
    files = {bare(path.stem): path for path in root.glob("*.webp")}
    return {slug: files[p] for slug, p in points.items() if p in files}


def draw_all(pack: dict[str, Any], slugs: list[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Rasterise in two processes, in order."""
    size = pack.get("width", 16), pack.get("height", 16)
    bodies = [svg(pack["icons"][slug], size) for slug in slugs]
    with ProcessPoolExecutor(2) as pool:
        yield from zip(slugs, pool.map(draw, bodies, chunksize=16), strict=True)


def svg(icon: dict[str, Any], size: tuple[int, int]) -> str:
    """A stand-alone SVG from an iconify body."""
    width, height = icon.get("width", size[0]), icon.get("height", size[1])
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width} {height}">{icon["body"]}</svg>'
    )


def draw(source: str) -> np.ndarray:
    """`(160, 160, 4)` uint8 of one SVG."""
    png = cairosvg.svg2png(source.encode(), output_width=SIDE, output_height=SIDE)
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


def read_picture(path: Path) -> np.ndarray:
    """`(160, 160, 4)` uint8 of one picture file."""
    picture = Image.open(path).convert("RGBA").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def save(path: Path, pictures: dict[str, np.ndarray]) -> None:
    """Write names and one stacked array."""
    np.savez(path, names=np.array(list(pictures)), pixels=np.stack(list(pictures.values())))
    logger.info("%s: %d pictures", path.name, len(pictures))


if __name__ == "__main__":
    main()
