"""Contact sheets: pictures in rows and columns with a word at each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

_GAP = 6
_INK = "#1d2530"
_PAPER = "#ffffff"
_TEXT = 13


@dataclass(frozen=True, slots=True)
class Row:
    """A line of pictures and what it is called."""

    label: str
    pictures: Sequence[Path]


def sheet(rows: Sequence[Row], columns: Sequence[str], *, side: int = 128) -> Image.Image:
    """The rows below one another, column titles above, each picture `side` px wide.

    A picture that is missing leaves its place empty.
    """
    font = ImageFont.load_default(_TEXT)
    margin = max((int(font.getlength(row.label)) for row in rows), default=0) + 2 * _GAP
    titles = [_wrapped(title, side, font) for title in columns]
    top = max((title.count("\n") + 1 for title in titles), default=1) * (_TEXT + 5) + _GAP
    width = margin + len(columns) * (side + _GAP)
    picture = Image.new("RGB", (width, top + len(rows) * (side + _GAP)), _PAPER)
    draw = ImageDraw.Draw(picture)
    for index, title in enumerate(titles):
        draw.multiline_text((margin + index * (side + _GAP), 3), title, fill=_INK, font=font)
    for number, row in enumerate(rows):
        y = top + number * (side + _GAP)
        draw.text((_GAP, y + side // 2 - _TEXT), row.label, fill=_INK, font=font)
        for index, path in enumerate(row.pictures):
            if path.is_file():
                with Image.open(path) as opened:
                    picture.paste(_fitted(opened, side), (margin + index * (side + _GAP), y))
    return picture


def _fitted(opened: Image.Image, side: int) -> Image.Image:
    scale = side / max(opened.size)
    size = (max(1, round(opened.width * scale)), max(1, round(opened.height * scale)))
    return opened.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _wrapped(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines[:3])
