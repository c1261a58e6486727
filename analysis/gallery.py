"""The rendered pictures of a sweep, on disk.

A picture's name is a hash of all that made it, and the picture carries that recipe, so what is
there need not be rendered again, and nothing can pass for what it is not. Pictures that were
rendered in one pass appear together or not at all: a sweep that was killed goes on with the
very passes that an unbroken one would have made.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from analysis.cell import Cell, Darkroom
from trainer.core.files import folder_written_atomically, plain_disk_errors
from trainer.data.prior import as_png

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

RECIPE = "sweetspot"
"""The PNG text chunk that holds the recipe."""

_WHOLE = "pass-"


class Gallery:
    """The folder of pictures, and what names them."""

    def __init__(self, folder: Path, darkroom: Darkroom) -> None:
        self.folder = folder
        self._darkroom = darkroom
        self._sound: set[str] = set()
        folder.mkdir(parents=True, exist_ok=True)

    def take_in(self) -> None:
        """Take in whole passes that a kill left beside their places; nobody else may be at it."""
        for left in sorted(self.folder.glob(f"{_WHOLE}*")):
            if ".tmp-" not in left.name:
                self._take_in(left)

    def path(self, cell: Cell) -> Path:
        """Where the cell's picture is, or will be."""
        return self.folder / self._darkroom.name(cell)

    def has(self, cell: Cell) -> bool:
        """Whether the picture is there, undamaged. A damaged one is as good as none."""
        path = self.path(cell)
        if path.name not in self._sound and _is_sound(path):
            self._sound.add(path.name)
        return path.name in self._sound

    def add(self, pictures: Mapping[Cell, Picture]) -> None:
        """Keep what one pass has rendered.

        Raises:
            ResourceError: The disk is full, or the place cannot be written.
        """
        if not pictures:
            return
        first = min(self.path(cell).stem for cell in pictures)
        place = self.folder / f"{_WHOLE}{first}"
        with folder_written_atomically(place) as folder:
            for cell, picture in pictures.items():
                told = PngInfo()
                told.add_text(RECIPE, json.dumps(self._darkroom.facts(cell), sort_keys=True))
                (folder / self.path(cell).name).write_bytes(as_png(picture, told))
        self._take_in(place)
        self._sound.update(self.path(cell).name for cell in pictures)

    def _take_in(self, place: Path) -> None:
        """Move the pictures of a whole pass to their places; goes on where a kill ended it."""
        with plain_disk_errors(self.folder):
            for path in sorted(place.glob("*.png")):
                path.replace(self.folder / path.name)
            shutil.rmtree(place)


def _is_sound(path: Path) -> bool:
    """Whether all of the file's checksums hold."""
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            Image.open(file, formats=("PNG",)).verify()
    except FileNotFoundError:
        return False
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        return False
    return True
