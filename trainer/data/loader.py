"""From pictures to batches: what is shown when, and every draw of chance about it.

An epoch is planned as a whole, from the run's seed and the epoch's number alone: which
pictures share a batch, which batches share an optimizer step. Any process can take any
part of the plan, at any time, and gets the same tensors.
"""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.core.batch import Batch
from trainer.core.draws import chance, generator
from trainer.data.bucket import Framed
from trainer.data.caption import final_caption

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.data.encode import Captions, Latents
    from trainer.families.base import LoadedModel
    from trainer.job.pictures import DatasetConfig


@dataclass(frozen=True, slots=True)
class Slot:
    """One showing of one picture in an epoch.

    Attributes:
        item: Index into the items.
        number: Tells showings of an epoch apart, whatever their order.
        weight: What its loss counts within the optimizer step.
    """

    item: int
    number: int
    weight: float


Micro = tuple[Slot, ...]
"""Showings that go through the model together; all of one bucket."""
Group = tuple[Micro, ...]
"""Batches whose gradients make one optimizer step."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How showings are grouped.

    Attributes:
        batch_size: Showings that go through the model together, over all processes.
        accumulate: Batches that make an optimizer step.
        prior_weight: What a class picture counts against an instance picture.
    """

    batch_size: int
    accumulate: int
    prior_weight: float = 1.0


class Plan:
    """What every epoch shows. Items from `classes_from` on are class pictures (prior)."""

    def __init__(
        self, items: Sequence[Framed], shape: Shape, seed: int, classes_from: int | None = None
    ) -> None:
        self.items = items
        self._shape = shape
        self._seed = seed
        self._first_class = len(items) if classes_from is None else classes_from
        self._buckets: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        number = 0
        for index, item in enumerate(items[: self._first_class]):
            for _ in range(item.picture.repeats):
                self._buckets[item.frame.size].append((index, number))
                number += 1
        self.showings = number
        micros = sum(math.ceil(len(b) / shape.batch_size) for b in self._buckets.values())
        self.steps = math.ceil(micros / shape.accumulate)

    def epoch(self, epoch: int) -> list[Group]:
        """The optimizer steps of an epoch, in order. Every showing is in exactly one."""
        micros: list[list[tuple[int, int]]] = []
        for size in sorted(self._buckets):
            showings = list(self._buckets[size])
            chance(self._seed, "order", epoch, *size).shuffle(showings)
            step = self._shape.batch_size
            micros += [showings[i : i + step] for i in range(0, len(showings), step)]
        chance(self._seed, "batches", epoch).shuffle(micros)
        classes = self._classes(epoch)
        step = self._shape.accumulate
        return [self._group(micros[i : i + step], classes) for i in range(0, len(micros), step)]

    def _group(self, micros: list[list[tuple[int, int]]], classes: Callable[[int], int]) -> Group:
        count = sum(len(micro) for micro in micros)
        group = [tuple(Slot(i, n, 1 / count) for i, n in micro) for micro in micros]
        if self._first_class < len(self.items):
            group += self._class_micros([n for micro in micros for _, n in micro], classes, count)
        return tuple(group)

    def _class_micros(
        self, numbers: list[int], classes: Callable[[int], int], count: int
    ) -> list[Micro]:
        """As many class showings as instance showings, grouped by bucket."""
        weight = self._shape.prior_weight / count
        by_bucket: dict[tuple[int, int], list[Slot]] = defaultdict(list)
        for number in numbers:
            item = classes(number)
            slot = Slot(item, self.showings + number, weight)
            by_bucket[self.items[item].frame.size].append(slot)
        step = self._shape.batch_size
        return [
            tuple(slots[i : i + step])
            for _, slots in sorted(by_bucket.items())
            for i in range(0, len(slots), step)
        ]

    def _classes(self, epoch: int) -> Callable[[int], int]:
        """Which class item goes with an instance showing; each is used about equally often."""
        order = list(range(self._first_class, len(self.items)))
        chance(self._seed, "classes").shuffle(order)
        start = (epoch - 1) * self.showings
        return lambda number: order[(start + number) % len(order)]


class Spoken:
    """Captions that are made by chance, encoded when they come up; the last few are kept."""

    def __init__(self, model: LoadedModel, *, kept: int = 256) -> None:
        self._encode = functools.lru_cache(maxsize=kept)(functools.partial(_encoded, model))

    def of(self, caption: str) -> dict[str, Tensor]:
        """The caption's conditioning, without the batch dimension."""
        return self._encode(caption)


def _encoded(model: LoadedModel, caption: str) -> dict[str, Tensor]:
    import torch

    with torch.no_grad():
        return {k: v[0].cpu() for k, v in model.encode_captions((caption,)).items()}


@dataclass(frozen=True, slots=True)
class _Showing:
    """One row of a batch."""

    caption: str
    latents: Tensor
    noise: Tensor
    time: Tensor
    frame: tuple[int, ...]


class Loader:
    """Makes the batches of a plan.

    Args:
        model: Draws noise and times; runs the text encoder when captions vary.
        latents: Encoded pictures.
        captions: Encoded captions; None when the text encoder trains and is run in the step.
        dataset: How captions and mirroring are left to chance.
        seed: The run's.
    """

    def __init__(
        self,
        model: LoadedModel,
        plan: Plan,
        latents: Latents,
        captions: Captions | Spoken | None,
        dataset: DatasetConfig,
        *,
        seed: int,
    ) -> None:
        self.plan = plan
        self._model = model
        self._latents = latents
        self._captions = captions
        self._dataset = dataset
        self._seed = seed

    def held_out(self, items: Sequence[Framed], *, draws: int, together: int) -> Iterator[Batch]:
        """Pictures that do not train, each with `draws` noises and times, `together` a batch.

        The weights of a picture's draws sum to 1.

        The same every time it is asked for, and nothing about them is left to chance.
        """
        still = self._dataset.model_copy(
            update={"flip": False, "shuffle_tags": False, "tag_dropout": 0, "caption_dropout": 0}
        )
        plan = Plan(items, Shape(1, 1), seed=self._seed)
        loader = Loader(self._model, plan, self._latents, self._captions, still, seed=self._seed)
        for index in range(len(items)):
            slots = [Slot(index, index * draws + draw, 1 / draws) for draw in range(draws)]
            for start in range(0, draws, together):
                yield loader.batch(tuple(slots[start : start + together]), epoch=0)

    def batches(self, group: Group, epoch: int, *, rank: int, ranks: int) -> Iterator[Batch]:
        """This process's share of every batch of an optimizer step.

        A share can be empty when a batch has fewer pictures than there are processes; then
        it is one picture that counts nothing, so that all processes step together.
        """
        for micro in group:
            share = micro[rank::ranks]
            if not share:
                share = (Slot(micro[0].item, micro[0].number, 0.0),)
            yield self.batch(share, epoch)

    def batch(self, slots: Micro, epoch: int) -> Batch:
        """The batch of these showings."""
        import torch

        items = [self.plan.items[slot.item] for slot in slots]
        shown = [self._show(item, slot, epoch) for item, slot in zip(items, slots, strict=True)]
        captions = tuple(one.caption for one in shown)
        return Batch(
            names=tuple(item.picture.name for item in items),
            captions=captions,
            latents=torch.stack([one.latents for one in shown]),
            noise=torch.stack([one.noise for one in shown]),
            times=torch.stack([one.time for one in shown]),
            weights=torch.tensor([slot.weight for slot in slots]),
            frames=torch.tensor([one.frame for one in shown], dtype=torch.float32),
            conditioning=self._conditioning(captions),
        )

    def _show(self, item: Framed, slot: Slot, epoch: int) -> _Showing:
        import torch

        luck = chance(self._seed, "showing", epoch, slot.number)
        flip = luck.random() < 0.5 and self._dataset.flip
        caption = final_caption(item.picture.caption, self._dataset, chance=luck)
        mean, deviation = self._latents.of(item.picture, item.frame, flip=flip)
        dice = generator(self._seed, "noise", epoch, slot.number)
        latents = mean + deviation * torch.randn(mean.shape, generator=dice)
        shape = (mean.shape[0], mean.shape[1], mean.shape[2])
        noise = self._model.draw_noise(shape, dice)
        frame = item.frame.told((item.picture.width, item.picture.height), flip=flip)
        return _Showing(caption, latents, noise, self._model.draw_time(shape, dice), frame)

    def _conditioning(self, captions: tuple[str, ...]) -> dict[str, Tensor]:
        import torch

        if self._captions is None:
            return {}
        rows = [self._captions.of(caption) for caption in captions]
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
