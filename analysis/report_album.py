"""A report's pictures, small enough to travel inside its page.

It knows no scores. Each picture is read once and kept as WebP in base64.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from trainer.core.errors import UserError
from trainer.data import image

_FEW = 6_500_000
"""Bytes that pictures may take when they can be shown well; base64 adds a third."""

_MANY = 40_000_000
"""Bytes that they may take at all, so that the page stays under 60 MB."""

_PROBED = 24
"""Pictures that are tried to foretell the size of all."""

_FAVOURED = 40
"""Pictures at most that are kept larger."""


class Look(NamedTuple):
    """How pictures are kept: longest side in px, and WebP's quality."""

    side: int
    quality: int


_GOOD = (Look(768, 85), Look(512, 85), Look(384, 85), Look(256, 85))
_SMALL = (
    Look(256, 75),
    Look(192, 75),
    Look(160, 70),
    Look(128, 65),
    Look(96, 60),
    Look(64, 50),
    Look(48, 40),
)
_FAVOURITE = Look(640, 85)


@dataclass(frozen=True, slots=True)
class Album:
    """Pictures for a page.

    Attributes:
        sources: WebP in base64, by the name in report.json.
        unreadable: Why a picture is not shown, by its name.
        look: How most pictures are kept.
        shrunk: Whether any of them is smaller than its file.
    """

    sources: dict[str, str]
    unreadable: dict[str, str]
    look: Look
    shrunk: bool


class _Kept(NamedTuple):
    content: bytes
    smaller: bool


def album(folder: Path, names: Sequence[str], favoured: Collection[str] = ()) -> Album:
    """All pictures, as large as they can be kept.

    Args:
        folder: What names are relative to.
        names: Of pictures; doubles are kept once.
        favoured: Those that are shown large; the first of them stay larger than the rest.
    """
    unique = list(dict.fromkeys(names))
    look = look_for(folder, unique)
    large = set([name for name in unique if name in favoured][:_FAVOURED])

    def keep(name: str) -> _Kept | str:
        better = max(look, _FAVOURITE) if name in large else look
        return _kept(folder / name, better)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(unique, pool.map(keep, unique), strict=True))
    kept = {name: one for name, one in found.items() if isinstance(one, _Kept)}
    return Album(
        sources={name: base64.b64encode(one.content).decode() for name, one in kept.items()},
        unreadable={name: one for name, one in found.items() if isinstance(one, str)},
        look=look,
        shrunk=any(one.smaller for one in kept.values()),
    )


def look_for(folder: Path, names: Sequence[str]) -> Look:
    """The best look at which all pictures stay within bounds, judged by a few of them."""
    few = names[:: max(1, len(names) // _PROBED)][:_PROBED]
    for looks, most in ((_GOOD, _FEW), (_SMALL, _MANY)):
        for look in looks:
            sizes = [
                len(one.content) for n in few if isinstance(one := _kept(folder / n, look), _Kept)
            ]
            if sum(sizes) / max(1, len(sizes)) * len(names) <= most:
                return look
    return _SMALL[-1]


def _kept(path: Path, look: Look) -> _Kept | str:
    """The picture as WebP; or in one sentence why it cannot be shown."""
    try:
        picture = image.read(path, background="#ffffff", max_megapixels=200)
    except UserError as error:
        return error.problem
    smaller = max(picture.size) > look.side
    if smaller:
        picture.thumbnail((look.side, look.side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", quality=look.quality, method=4)
    return _Kept(buffer.getvalue(), smaller)
