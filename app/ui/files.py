"""Pictures and reports for the pages, from folders that a person opened and from nowhere else."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from app.home import home
from app.ui.desk import followed
from trainer.core.errors import RunError

if TYPE_CHECKING:
    from app.ui.desk import Desk

PICTURES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
    ".gif": "image/gif",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".avif": "image/avif",
}
SIDES = (160, 320, 640)
"""Longest sides of thumbnails, px."""
_REPORT = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""A report holds all it shows; it may ask for nothing and run in no page's name."""


class GoneError(RunError):
    """A file that may not be shown, or is not there; which of them is not told."""


def routes(desk: Desk) -> APIRouter:
    """`/file`, `/thumb` and `/report`."""
    router = APIRouter()

    @router.get("/file")
    def file(path: str) -> Response:
        found = shown(desk, path, PICTURES)
        return FileResponse(found, media_type=PICTURES[found.suffix.lower()], headers=_KEPT)

    @router.get("/thumb")
    def thumb(path: str, side: int = 320) -> Response:
        found = shown(desk, path, PICTURES)
        if side not in SIDES:
            side = min(SIDES, key=lambda known: abs(known - side))
        return Response(thumbnail(found, side), media_type="image/webp", headers=_KEPT)

    @router.get("/report")
    def report(work: str) -> Response:
        folder = desk.work(work).path.resolve()
        found = followed(folder / "report.html")
        if found is None or not found.is_relative_to(folder) or not found.is_file():
            raise RunError("there is no report yet", where=work)
        policy = f"{_REPORT}; sandbox allow-scripts allow-downloads"
        return FileResponse(
            found, media_type="text/html", headers={"Content-Security-Policy": policy}
        )

    return router


_KEPT = {"Cache-Control": "private, max-age=0, must-revalidate"}


def shown(desk: Desk, path: str, kinds: dict[str, str]) -> Path:
    """A file of these kinds in an opened folder, links followed.

    Raises:
        GoneError: It is none of that.
    """
    asked = Path(path)
    right = asked.is_absolute() and not path.startswith(("\\\\", "//"))
    if right and asked.suffix.lower() in kinds:
        real = followed(asked)
        if real and real.suffix.lower() in kinds and desk.may_show(real) and real.is_file():
            return real
    raise GoneError("there is no such picture in an opened folder", where=path)


def thumbnail(path: Path, side: int) -> bytes:
    """A WebP with this longest side, upright, made once for each state of the file.

    Raises:
        GoneError: The file is no picture.
    """
    stat = path.stat()
    key = f"{path}\n{stat.st_mtime_ns}\n{stat.st_size}\n{side}"
    kept = home() / "thumbs" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.webp"
    if kept.is_file():
        return kept.read_bytes()
    made = _shrunk(path, side)
    kept.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=kept.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(made)
    Path(temporary).replace(kept)
    return made


def _shrunk(path: Path, side: int) -> bytes:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            opened.draft("RGB", (side, side))
            picture = ImageOps.exif_transpose(opened)
            picture.thumbnail((side, side))
            has_holes = "A" in picture.getbands() or "transparency" in picture.info
            picture = picture.convert("RGBA" if has_holes else "RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError) as error:
        raise GoneError(f"this picture cannot be read: {error}", where=str(path)) from None
    out = io.BytesIO()
    picture.save(out, "WEBP", quality=82, method=2)
    return out.getvalue()
