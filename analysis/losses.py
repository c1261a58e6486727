"""The model's own judgement: its denoising loss on given pictures, at every setting of a sweep.

Each picture is asked about with the same noises and times at every setting, so that settings are
compared in pairs. Several settings go through the model together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.crew import Crew
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
        self._latents: dict[str, Tensor] = {}

    def column(
        self,
        name: str,
        settings: Sequence[Setting],
        pictures: Sequence[Shown],
        crew: Crew,
        progress: Callable[[int, int], None],
    ) -> Column:
        """The losses at all settings `(S, I, D)` and of the base model, the control `(I, D)`.

        Args:
            name: The judgement's, by which other processes find the pictures.
            settings: What is judged.
            pictures: What the model is asked about; a task each.
            crew: Who shares the work.
            progress: Told of how many pictures are done. What it raises is raised here.
        """
        losses = np.full((1 + len(settings), len(pictures), self._draws), np.nan)
        done = 0

        def told(index: int, answer: Any) -> None:
            nonlocal done
            losses[:, index] = answer
            done += 1
            progress(done, len(pictures))

        asked = [(s.epoch, s.strength) for s in settings]
        crew.share(
            [
                {"judgement": name, "settings": asked, "picture": index}
                for index in range(len(pictures))
            ],
            lambda task: self.losses(name, settings, pictures, task["picture"]),
            told,
            stop=lambda: False,
        )
        return Column(losses[1:], losses[0])

    def losses(
        self, name: str, settings: Sequence[Setting], pictures: Sequence[Shown], index: int
    ) -> Any:
        """Of one of a judgement's pictures: `(1 + S, D)`, the base model's first; numpy."""
        if name not in self._latents:
            self._latents[name] = encoded(self._model, [picture.pixels for picture in pictures])
        picture, latents = pictures[index], self._latents[name][index]
        rows = [Row(), *(Row(self._names[s.epoch], s.strength) for s in settings)]
        noise, times = self._chance(latents, index)
        losses = []
        for start in range(0, len(rows), self._together):
            some = rows[start : start + self._together]
            losses.append(self._ask(self._asked(picture, latents, noise, times, some), some))
        return np.concatenate(losses)

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
        return noise, torch.stack([self._model.draw_time(shape, die) for die in dice])

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
