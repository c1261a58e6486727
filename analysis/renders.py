"""Fills a gallery: cells of several checkpoints and strengths go through the model together.

The base model and all LoRAs are loaded once; each row of a pass has its own LoRA at its own
strength (`trainer.engine.bank`). A cell that cannot be rendered is told of, and the rest goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import TYPE_CHECKING

from analysis.cell import Cell
from analysis.crew import Crew, Stop
from analysis.gallery import Gallery
from trainer.core.device import free_memory
from trainer.core.errors import UserError, is_out_of_memory
from trainer.core.events import Emit, Preparing, Rendered, Warned
from trainer.engine.bank import Bank, Row
from trainer.engine.sampling import Recipe, Words, encode, render

if TYPE_CHECKING:
    from PIL.Image import Image

    from trainer.families.base import LoadedModel

_PIXELS_CPU = 36 * 128 * 128
"""Pixels in a pass on a CPU: more do not go faster, and decoding them takes memory."""

_PIXELS_CARD = 16 * 512 * 512


class Renderer:
    """Renders cells into a gallery.

    Args:
        model: The base model.
        bank: The LoRAs on it.
        names: What the bank calls the LoRA of each epoch.
        recipe: Size, steps, guidance, negative prompt.
        gallery: Where the pictures go.

    Attributes:
        failed: Cells that cannot be rendered, and why.
    """

    def __init__(
        self,
        model: LoadedModel,
        bank: Bank,
        names: Mapping[int, str],
        recipe: Recipe,
        gallery: Gallery,
    ) -> None:
        self._model, self._bank, self._names = model, bank, names
        self._recipe, self._gallery = recipe, gallery
        self._words: dict[tuple[str, float, str], Words] = {}
        self.failed: dict[Cell, str] = {}
        self.passes = 0

    def fill(
        self, cells: Sequence[Cell], together: int, crew: Crew, emit: Emit, stop: Stop
    ) -> None:
        """Have what the gallery lacks of the cells rendered, `together` in one pass.

        The passes are cut from the whole list, so that they are the same whatever is there and
        whoever renders them. What another process could not render is tried here, and told.

        Raises:
            StoppedError: `stop` said so, after a whole pass.
            ResourceError: The disk is full.
        """
        passes = [cells[i : i + together] for i in range(0, len(cells), together)]
        self._share(self._missing(passes), len(cells), crew, emit, stop)
        left = self._missing(passes)
        if left:
            self._share(left, len(cells), Crew(), emit, stop)

    def _missing(self, passes: Sequence[Sequence[Cell]]) -> list[list[Cell]]:
        """What each pass lacks, where it lacks something."""
        lacking = (
            [c for c in some if not self._gallery.has(c) and c not in self.failed]
            for some in passes
        )
        return [some for some in lacking if some]

    def _share(
        self, passes: Sequence[Sequence[Cell]], total: int, crew: Crew, emit: Emit, stop: Stop
    ) -> None:
        done = total - sum(map(len, passes))
        emit(Preparing("cells", done, total))

        def told(index: int, _: None) -> None:
            nonlocal done
            for cell in passes[index]:
                if self._gallery.has(cell):
                    path = f"{self._gallery.folder.name}/{self._gallery.path(cell).name}"
                    emit(Rendered(cell.epoch, cell.strength, cell.prompt, cell.seed, path))
            done += len(passes[index])
            emit(Preparing("cells", done, total))

        tasks = [{"cells": [astuple(cell) for cell in some]} for some in passes]
        crew.share(
            tasks,
            lambda task: self.develop([Cell(*cell) for cell in task["cells"]], emit),
            told,
            stop,
        )

    def develop(self, cells: Sequence[Cell], emit: Emit = lambda event: None) -> None:
        """Render one pass into the gallery; where that fails, each cell by itself.

        Raises:
            ResourceError: The disk is full.
        """
        try:
            pictures = self._render(cells)
        except (UserError, RuntimeError, MemoryError) as error:
            free_memory()
            if len(cells) == 1:
                self.failed[cells[0]] = _in_words(error)
                emit(Warned(f"{_called(cells[0])} could not be rendered: {_in_words(error)}"))
                return
            half = len(cells) // 2 if is_out_of_memory(error) else 1
            for start in range(0, len(cells), half):
                self.develop(cells[start : start + half], emit)
            return
        self.passes += 1
        self._gallery.add(pictures)

    def _render(self, cells: Sequence[Cell]) -> dict[Cell, Image]:
        rows = [self.row(cell) for cell in cells]
        words = Words.stacked([self.words(cell) for cell in cells])
        with self._bank.rows(rows):
            pictures = render(self._model, words, [cell.seed for cell in cells], self._recipe)
        return dict(zip(cells, pictures, strict=True))

    def row(self, cell: Cell) -> Row:
        """The LoRA and strength of a cell, as the bank takes them."""
        return Row() if cell.is_control else Row(self._names[cell.epoch], cell.strength)

    def words(self, cell: Cell) -> Words:
        """The cell's prompt as its own text encoder says it."""
        row = self.row(cell)
        speaks = bool(row.adapter) and self._bank.speaks(row.adapter)
        key = (row.adapter, row.strength, cell.prompt) if speaks else ("", 0.0, cell.prompt)
        if key not in self._words:
            with self._bank.rows([row if speaks else Row()]):
                self._words[key] = encode(self._model, [cell.prompt], self._recipe.negative)
        return self._words[key]


def fitting(size: tuple[int, int], device: str) -> int:
    """How many pictures of this size go through the device in one pass."""
    pixels = _PIXELS_CPU if device == "cpu" else _PIXELS_CARD
    return max(1, pixels // (size[0] * size[1]))


def _called(cell: Cell) -> str:
    who = "the base model" if cell.is_control else f"epoch {cell.epoch} at {cell.strength:g}"
    return f"{who}, prompt {cell.prompt!r}, seed {cell.seed}"


def _in_words(error: BaseException) -> str:
    if is_out_of_memory(error):
        return "the memory is too small"
    said = error.problem if isinstance(error, UserError) else str(error)
    return said.strip().partition("\n")[0] or type(error).__name__
