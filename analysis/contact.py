"""contact-sheet.png: a block for each prompt and seed; its rows are epochs, its columns strengths.

It knows no scores. The pictures of a block are laid out by `sheet`.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from analysis.report_file import Cell, Key, Told, as_cell, key, label_of, shot_of
from analysis.sheet import Row, sheet

_SIDE, _LEAST_SIDE = 128, 32
_PIXELS = 16_000_000
"""Of all pictures together; some viewers refuse much larger files."""

_GAP, _LINE = 28, 20
_INK, _PAPER = "#1d2530", "#ffffff"


def contact_sheet(folder: Path, told: Told, readable: Collection[str]) -> Image.Image | None:
    """All pictures on one; None when there are none.

    Args:
        folder: What the pictures' names are relative to.
        told: report.json.
        readable: Names of pictures that can be opened.
    """
    if not told["controls"] or not told["summary"]:
        return None
    pictures = {
        (cell["prompt"], cell["seed"], *key(cell)): folder / cell["picture"]
        for cell in _all(told)
        if cell["picture"] in readable and cell["picture"]
    }
    side = _side(len(told["controls"]) * (len(told["summary"]) + 1))
    blocks = [
        _titled(_block(told, pictures, (one["prompt"], one["seed"]), side), shot_of(told, one))
        for one in told["controls"]
    ]
    return _laid_out(blocks, _heading(told), max(1, len(told["seeds"])))


def _all(told: Told) -> list[Cell]:
    return [*map(as_cell, told["controls"]), *told["cells"]]


def _side(pictures: int) -> int:
    """How large each can be, px."""
    return max(_LEAST_SIDE, min(_SIDE, math.isqrt(_PIXELS // pictures)))


def _block(
    told: Told,
    pictures: Mapping[tuple[int, int, int, float], Path],
    shot: tuple[int, int],
    side: int,
) -> Image.Image:
    """One prompt and seed; the base model's own picture stands first in the first row."""
    settings = [key(one) for one in told["summary"]]
    strengths = sorted({strength for _, strength in settings})
    rows = []
    for number, epoch in enumerate(sorted({epoch for epoch, _ in settings})):
        base = pictures.get((*shot, 0, 0.0), Path()) if number == 0 else Path()
        some = [pictures.get((*shot, epoch, strength), Path()) for strength in strengths]
        rows.append(Row(label_of(told, epoch), [base, *some]))
    titles = ["base model", *(f"{strength:g}" for strength in strengths)]
    return sheet(rows, titles, side=side)


def _titled(block: Image.Image, title: str) -> Image.Image:
    """The block with its prompt above, in at most two lines."""
    font = ImageFont.load_default(15)
    letters = max(12, int(block.width / 8.5))
    lines = textwrap.wrap(" ".join(title.split()), letters, max_lines=2, placeholder=" …") or [""]
    whole = Image.new("RGB", (block.width, block.height + _LINE * len(lines) + 8), _PAPER)
    ImageDraw.Draw(whole).multiline_text((6, 0), "\n".join(lines), fill=_INK, font=font)
    whole.paste(block, (0, _LINE * len(lines) + 8))
    return whole


def _laid_out(blocks: Sequence[Image.Image], heading: str, seeds: int) -> Image.Image:
    """Blocks on a sheet that is about square; a prompt's seeds stay in one row where they fit."""
    width = max(block.width for block in blocks) + _GAP
    height = max(block.height for block in blocks) + _GAP
    square = max(1, min(len(blocks), round(math.sqrt(len(blocks) * height / width))))
    columns = square // seeds * seeds or square
    top = 56
    size = (columns * width + _GAP, top + math.ceil(len(blocks) / columns) * height)
    whole = Image.new("RGB", size, _PAPER)
    font = ImageFont.load_default(20)
    ImageDraw.Draw(whole).text((_GAP + 6, 18), heading, fill=_INK, font=font)
    for number, block in enumerate(blocks):
        row, column = divmod(number, columns)
        whole.paste(block, (_GAP + column * width, top + row * height))
    return whole


def _heading(told: Told) -> str:
    choice = told["verdict"]["choice"]
    title = " ".join(told["title"].split())[:60]
    if choice is None:
        return f"{title}: no choice"
    at: Key = key(choice)
    return f"{title}: {label_of(told, at[0])} at strength {at[1]:g} is the choice"
