"""Class pictures for prior preservation: a person's own folder, or rendered by the base model.

Rendered ones are kept in the cache folder under a name made of everything that decides
them, so that they are rendered once and reused by every run that needs the same.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.core.files import hash_text, write_atomically

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.PngImagePlugin import PngInfo

Render = Callable[[list[int]], "list[Image]"]
"""Seeds -> pictures."""


def class_folder(cache: Path, *facts: str) -> Path:
    """Where class pictures with these facts (model, prompt, size, settings) are kept."""
    return cache / "prior" / hash_text(*facts)[:16]


def fill(
    folder: Path,
    *,
    count: int,
    batch: int,
    render: Render,
    progress: Callable[[int, int], None],
) -> None:
    """Render the pictures that the folder lacks. Each has its number as its seed."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [n for n in range(count) if not (folder / f"{n:05d}.png").is_file()]
    progress(count - len(missing), count)
    for start in range(0, len(missing), batch):
        seeds = missing[start : start + batch]
        for seed, image in zip(seeds, render(seeds), strict=True):
            write_atomically(folder / f"{seed:05d}.png", as_png(image))
        progress(count - len(missing) + start + len(seeds), count)


def as_png(image: Image, told: PngInfo | None = None) -> bytes:
    """The picture as a PNG file's bytes, with text chunks when there are any."""
    import io

    buffer = io.BytesIO()
    image.save(buffer, format="PNG", pnginfo=told)
    return buffer.getvalue()
