"""Writes what the demo shows and tests with: the style set, the subject set, the eval sheets.

All pictures come from emoji that the base has not seen in that form; see the READMEs there.
"""

import argparse
import json
import logging
from pathlib import Path

import numpy as np
import torch
from concepts import COLOURS, STYLE, SUBJECT, phrase
from evaluate import tile
from picture import centred, colour, compose, load_pack, load_split
from PIL import Image
from rasterise import bare, find_3d, read_pack
from torch import Tensor

logger = logging.getLogger(__name__)

SUBJECT_SHADES = ("white", "white", "blue", "white", "pink", "white", "green", "white", "yellow")
"""Some on colours, so that the background is not learned as part of the subject."""


HELD_OUT = ("whale", "rooster", "goose", "radio", "compass", "crystal-ball", "megaphone", "poodle")
"""Emoji of the eval sheets that the style is judged by in an analysis; they never train."""


def main() -> None:
    """Write `style/`, `style-held-out/`, `subject/` and `eval/`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=Path, default=Path("build/demo/npm"))
    parser.add_argument("--work", type=Path, default=Path("build/demo"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    chars = read_pack(args.packages, "noto")["chars"]
    files = find_3d(args.packages, {slug: bare(points) for points, slug in chars.items()})
    for slug in STYLE:
        write(args.out / "style", files[slug], "white", phrase(slug))
    for slug, shade in zip(SUBJECT, SUBJECT_SHADES, strict=True):
        where = "" if shade == "white" else f", on a {shade} background"
        write(args.out / "subject", files[slug], shade, f"a sks cat face{where}")
    names = load_split(args.work)["held_out"]
    sheets = args.out / "eval"
    sheets.mkdir(exist_ok=True)
    for style in ("noto", "flat", "3d"):
        pack = load_pack(args.work, style)
        pictures = torch.stack([on_white(pack.find(slug)) for slug in names])
        tile(pictures, 10).save(sheets / f"{style}.webp", quality=92, method=6)
    index = {"side": 128, "columns": 10, "names": names}
    (sheets / "names.json").write_text(json.dumps(index, indent=1) + "\n")
    hold_out(sheets, args.out / "style-held-out")
    logger.info("%d emoji a sheet", len(names))


def write(folder: Path, source: Path, shade: str, text: str, *, side: int = 256) -> None:
    """One training picture on a plain background with a margin, and its caption."""
    folder.mkdir(exist_ok=True)
    canvas = Image.new("RGBA", (side, side), (*COLOURS[shade], 255))
    margin = side // 16
    art = (
        Image.open(source)
        .convert("RGBA")
        .resize((side - 2 * margin,) * 2, Image.Resampling.LANCZOS)
    )
    canvas.alpha_composite(art, (margin, margin))
    name = files_name(source, text)
    Image.fromarray(np.asarray(canvas)[..., :3]).save(folder / f"{name}.png", optimize=True)
    (folder / f"{name}.txt").write_text(text + "\n")


def hold_out(sheets: Path, folder: Path) -> None:
    """A few pictures of the 3D sheet by themselves, with captions."""
    index = json.loads((sheets / "names.json").read_text())
    side, columns = index["side"], index["columns"]
    folder.mkdir(exist_ok=True)
    with Image.open(sheets / "3d.webp") as sheet:
        for slug in HELD_OUT:
            row, column = divmod(index["names"].index(slug), columns)
            corner = (column * side, row * side)
            cell = sheet.crop((*corner, corner[0] + side, corner[1] + side)).convert("RGB")
            cell.save(folder / f"{slug}.png", optimize=True)
            (folder / f"{slug}.txt").write_text(phrase(slug) + "\n")


def files_name(source: Path, text: str) -> str:
    """A readable stem: the caption's noun, and the code point where captions repeat."""
    noun = text.split(",")[0].removeprefix("a ").removeprefix("an ").replace(" ", "-")
    return f"{noun}-{bare(source.stem)}" if "sks" in noun else noun


def on_white(rgba: Tensor) -> Tensor:
    """`(3, 128, 128)` in [-1, 1]."""
    return compose(centred(rgba), colour("white"))


if __name__ == "__main__":
    main()
