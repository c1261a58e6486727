"""The scores of a sweep as they come: every cell is scored once, and stands in a table.

It knows where pictures are and what they are compared with; what numbers mean it leaves to metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from analysis.cell import Cell
from analysis.findings import Spot
from analysis.metrics.base import MetricConfig, Unscored
from analysis.metrics.memorised import copies
from analysis.scoring import Item, References, score
from analysis.table import Column, Setting, Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analysis.judgements.base import Shelf
    from analysis.metrics.base import Eye
    from analysis.studio import Studio

Progress = Callable[[int, int], None]


def lacking(
    wanted: Mapping[str, MetricConfig], shelf: Shelf, kinds: Sequence[str], seeds: int
) -> dict[str, str]:
    """Metrics that cannot be asked here, each with the reason.

    Args:
        wanted: The metrics that are asked for.
        shelf: What there is to compare with.
        kinds: The kind of each prompt.
        seeds: Pictures of each prompt.
    """
    found: dict[str, str] = {}
    for name, kind in wanted.items():
        reasons = {
            kind.absent(): True,
            "there are no pictures of what was trained": "reference" in kind.needs
            and not (shelf.held_out or shelf.training),
            "there are no training pictures": "training" in kind.needs and not shelf.training,
            "no pictures were held out": "held_out" in kind.needs and not shelf.held_out,
            "there is one seed": "seeds" in kind.needs and seeds < 2,
            "there are no prompts of its kind": kind.counts not in ("all", *kinds),
        }
        why = next((reason for reason, holds in reasons.items() if holds and reason), "")
        if why:
            found[name] = why
    return found


@dataclass(slots=True)
class Marks:
    """Scores by cell and metric.

    Attributes:
        copied: Pictures that are copies, controls too: index of the training picture, how alike.
    """

    studio: Studio
    configs: Mapping[str, MetricConfig]
    shelf: Shelf
    eye: Eye | None
    scores: dict[Cell, dict[str, float]] = field(default_factory=dict)
    unscored: dict[Cell, dict[str, Unscored]] = field(default_factory=dict)
    copied: dict[Cell, tuple[int, float]] = field(default_factory=dict)

    def take(self, cells: Sequence[Cell], progress: Progress) -> None:
        """Score the cells that are rendered and not scored yet."""
        new = [c for c in cells if c not in self.scores and self.studio.gallery.has(c)]
        alone = {n: m for n, m in self.configs.items() if "seeds" not in m.needs}
        grouped = {n: m for n, m in self.configs.items() if "seeds" in m.needs}
        self._note(new, alone, progress)
        if grouped:
            self._note(self._with_other_seeds(new), grouped, progress)
        self._find_copies(new)

    def _with_other_seeds(self, cells: Sequence[Cell]) -> list[Cell]:
        """These cells and all other seeds of their settings and prompts, as far as rendered."""
        whole = dict.fromkeys(
            replace(cell, seed=seed) for cell in cells for seed in self.studio.seeds
        )
        return [cell for cell in whole if self.studio.gallery.has(cell)]

    def _note(
        self, cells: Sequence[Cell], configs: Mapping[str, MetricConfig], progress: Progress
    ) -> None:
        groups: dict[tuple[int, float, str], int] = {}
        items = [
            Item(
                self.studio.gallery.path(cell),
                self._control(cell),
                cell.prompt,
                groups.setdefault((cell.epoch, cell.strength, cell.prompt), len(groups)),
            )
            for cell in cells
        ]
        beside = References(
            [shown.pixels for shown in self.shelf.training],
            [shown.pixels for shown in self.shelf.held_out],
            self.eye,
        )
        for cell, scored in zip(
            cells, score(configs, items, beside, progress=progress), strict=True
        ):
            values, reasons = self.scores.setdefault(cell, {}), self.unscored.setdefault(cell, {})
            values.update(scored.values)
            reasons.update(scored.unscored)
            for name in scored.values:
                reasons.pop(name, None)

    def _control(self, cell: Cell) -> Path | None:
        control = Cell(0, 0.0, cell.prompt, cell.seed)
        gallery = self.studio.gallery
        return None if cell.is_control or not gallery.has(control) else gallery.path(control)

    def _find_copies(self, cells: Sequence[Cell]) -> None:
        """Copies, unless the base model's own picture is as like: then nothing was copied."""
        training = [shown.pixels for shown in self.shelf.training]
        for cell in cells if training else ():
            (copy,) = copies([self.picture(cell)], training)
            control = self.copied.get(Cell(0, 0.0, cell.prompt, cell.seed))
            if copy is not None and (control is None or control[0] != copy.training):
                self.copied[cell] = (copy.training, copy.similarity)

    def picture(self, cell: Cell) -> NDArray[np.uint8]:
        """A rendered cell: `(H, W, 3)`."""
        with Image.open(self.studio.gallery.path(cell)) as opened:
            return np.asarray(opened.convert("RGB"))

    def copies_of(self, settings: Sequence[Setting]) -> dict[int, float]:
        """Share of copies among each setting's pictures that ask for what was trained, by index."""
        asked = [p.text for p in self.studio.prompts if p.kind == "trigger"]
        shares: dict[int, float] = {}
        for index, setting in enumerate(settings):
            cells = [c for c in self.studio.cells([setting]) if c.prompt in asked]
            scored = [c for c in cells if c in self.scores]
            if scored:
                shares[index] = sum(c in self.copied for c in scored) / len(scored)
        return shares

    def table(self, settings: Sequence[Setting]) -> Table:
        """The numbers so far."""
        studio = self.studio
        return Table(
            settings=tuple(settings),
            prompts=studio.prompts,
            seeds=studio.seeds,
            columns={name: self._column(name, settings) for name in self.configs},
            judged={},
        )

    def _column(self, name: str, settings: Sequence[Setting]) -> Column:
        studio = self.studio
        shape = (len(studio.prompts), len(studio.seeds))
        counts = self.configs[name].counts
        counted = [counts in ("all", prompt.kind) for prompt in studio.prompts]

        def numbers(cells: Sequence[Cell]) -> NDArray[np.float64]:
            found = [self.scores.get(cell, {}).get(name, np.nan) for cell in cells]
            grid = np.array(found, dtype=np.float64).reshape(shape)
            grid[~np.array(counted)] = np.nan
            return grid

        values = [numbers(studio.cells([setting])) for setting in settings]
        return Column(np.stack(values), numbers(studio.controls))

    def spots(self, settings: Sequence[Setting]) -> dict[tuple[int, int, int], Spot]:
        """Where every picture is, by indices of setting (-1: control), prompt and seed."""
        seeds = len(self.studio.seeds)
        found: dict[tuple[int, int, int], Spot] = {}
        rows = [(-1, self.studio.controls)]
        rows += [(i, self.studio.cells([setting])) for i, setting in enumerate(settings)]
        for index, cells in rows:
            for place, cell in enumerate(cells):
                found[index, *divmod(place, seeds)] = self._spot(cell)
        return found

    def _spot(self, cell: Cell) -> Spot:
        studio = self.studio
        if cell in studio.renderer.failed:
            return Spot(None, "failed", studio.renderer.failed[cell])
        if not studio.gallery.has(cell):
            return Spot(None, "not rendered", "dropped from the race before its turn")
        unscored = {name: value.reason for name, value in self.unscored.get(cell, {}).items()}
        path = studio.gallery.path(cell)
        return Spot(f"{path.parent.name}/{path.name}", unscored=unscored)
