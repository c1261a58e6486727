"""The model's own judgement: its denoising loss on given pictures, at every setting of a sweep.

Each picture is asked about with the same noises and times at every setting, so that settings are
compared in pairs. Several settings go through the model together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.judgements.base import Shown
from analysis.reference import encoded
from analysis.table import Column, Setting
from trainer.core.batch import Batch
from trainer.core.draws import generator
from trainer.engine.bank import Bank, Row
from trainer.engine.sampling import evaluating

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.families.base import LoadedModel


class Judge:
    """Asks a model with LoRAs on it.

    Args:
        model: The base model.
        bank: The LoRAs on it.
        names: What the bank calls the LoRA of each epoch.
        draws: Noises and times a picture.
        together: Rows that go through the model at once.
    """

    def __init__(
        self,
        model: LoadedModel,
        bank: Bank,
        names: Mapping[int, str],
        *,
        draws: int,
        together: int,
    ) -> None:
        self._model, self._bank, self._names = model, bank, names
        self._draws, self._together = draws, max(1, together // draws)
        self._words: dict[tuple[str, float, str], dict[str, Tensor]] = {}

    def column(
        self,
        settings: Sequence[Setting],
        pictures: Sequence[Shown],
        progress: Callable[[int, int], None],
    ) -> Column:
        """The losses at all settings `(S, I, D)` and of the base model, the control `(I, D)`."""
        rows = [Row(), *(Row(self._names[s.epoch], s.strength) for s in settings)]
        losses = np.full((len(rows), len(pictures), self._draws), np.nan)
        latents = encoded(self._model, [picture.pixels for picture in pictures])
        for index, picture in enumerate(pictures):
            noise, times = self._chance(latents[index], index)
            for start in range(0, len(rows), self._together):
                some = rows[start : start + self._together]
                asked = self._asked(picture, latents[index], noise, times, some)
                losses[start : start + len(some), index] = self._ask(asked, some)
            progress(index + 1, len(pictures))
        return Column(losses[1:], losses[0])

    def _ask(self, batch: Batch, rows: Sequence[Row]) -> Any:
        import torch

        each = [row for row in rows for _ in range(self._draws)]
        placed = batch.to(torch.device(self._model.plan.device))
        with torch.no_grad(), evaluating(self._model), self._bank.rows(each):
            losses = self._model.losses(placed)
        return losses.double().cpu().numpy().reshape(len(rows), self._draws)

    def _chance(self, latents: Tensor, index: int) -> tuple[Tensor, Tensor]:
        """Noises `(D, C, h, w)` and times `(D,)` of a picture, the same for every setting."""
        import torch

        dice = [generator(0, "judge", index, draw) for draw in range(self._draws)]
        shape = (latents.shape[0], latents.shape[1], latents.shape[2])
        noise = torch.stack([self._model.draw_noise(shape, die) for die in dice])
        return noise, torch.stack([self._model.draw_time(die) for die in dice])

    def _asked(
        self, picture: Shown, latents: Tensor, noise: Tensor, times: Tensor, rows: Sequence[Row]
    ) -> Batch:
        import torch

        count = len(rows) * self._draws
        words = [self._said(row, picture.caption) for row in rows for _ in range(self._draws)]
        return Batch(
            names=(picture.name,) * count,
            captions=(picture.caption,) * count,
            latents=latents.expand(count, *latents.shape),
            noise=noise.repeat(len(rows), 1, 1, 1),
            times=times.repeat(len(rows)),
            weights=torch.ones(count),
            frames=torch.tensor(picture.frame, dtype=torch.float32).expand(count, -1),
            conditioning={k: torch.cat([w[k] for w in words]) for k in words[0]},
        )

    def _said(self, row: Row, caption: str) -> dict[str, Tensor]:
        """The caption as the text encoder, with its LoRA if there is one, says it."""
        import torch

        speaks = bool(row.adapter) and self._bank.speaks(row.adapter)
        said = row if speaks else Row()
        key = (said.adapter, said.strength, caption)
        if key not in self._words:
            with torch.no_grad(), evaluating(self._model), self._bank.rows([said]):
                found = self._model.encode_captions((caption,))
            self._words[key] = {name: value.cpu() for name, value in found.items()}
        return self._words[key]
