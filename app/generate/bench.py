"""The model in memory, with the LoRAs that an order wants on it, and the rendering.

Knows no queue: an order comes in, pictures go out one by one. One LoRA goes into the bank as a
sweep has it; several are stacked into one (`trainer.weights.stack`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.cell import usable
from app.generate.asked import Order
from app.generate.recipe import facts
from trainer.core import device
from trainer.core.device import free_memory
from trainer.core.events import Emit, Preparing, Warned
from trainer.core.files import hash_file
from trainer.engine.bank import Bank, Row
from trainer.engine.sampling import Recipe, encode, render
from trainer.planning import plan_to_render
from trainer.weights.metadata import versions
from trainer.weights.stack import stacked

if TYPE_CHECKING:
    from PIL.Image import Image

    from trainer.families.base import LoadedModel
    from trainer.weights.layouts import Weights

Stop = Callable[[], bool]
_TELL_EACH = 0.5
"""Seconds between two tellings of how far it is."""
_ALL = "all"


class CancelledError(Exception):
    """The pictures are no longer wanted."""


class Bench:
    """One base model at a time, kept until another is wanted.

    Args:
        emit: Told of loading, and of every few steps.
    """

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._model: LoadedModel | None = None
        self._key = ""

    def clear(self) -> None:
        """Let go of the model."""
        self._model, self._key = None, ""
        free_memory()

    def render(self, order: Order, stop: Stop) -> Iterator[tuple[int, Image, dict[str, Any]]]:
        """Seed, picture and recipe of each, as they are done.

        Raises:
            UserError: The model or a LoRA cannot be used.
            CancelledError: `stop` said so, between two steps.
        """
        model = self._loaded(order)
        size = _size(order, model)
        recipe = Recipe(size, order.steps, order.guidance, order.negative)
        digests = {use.file: hash_file(Path(use.file)) for use in order.loras}
        more = {
            "size": list(size),
            "sampler": type(model.pipeline().scheduler).__name__.removesuffix("Scheduler"),
            "precision": model.plan.format,
            "versions": versions(),
        }
        watch = _Steps(order.steps * order.pictures, self._emit, stop)
        with self._with_loras(model, order), _counted(model, watch):
            words = encode(model, [order.prompt], order.negative)
            for seed in range(order.seed, order.seed + order.pictures):
                picture = render(model, words, [seed], recipe)[0]
                watch.require_wanted()
                yield seed, picture, facts(order, seed, digests, more)

    def _loaded(self, order: Order) -> LoadedModel:
        from app.fetching import fetched

        asked = {"model", "memory", "device", "precision"}
        key = json.dumps(order.model_dump(mode="json", include=asked), sort_keys=True)
        if self._model is None or key != self._key:
            self.clear()
            self._emit(Preparing("load"))
            config = fetched(order.model, lambda told: self._emit(Preparing(told)))
            plan = plan_to_render(config, order.memory, order.device, order.precision)
            device.choose(plan.device)
            self._model, self._key = config.load(plan), key
            for warning in self._model.warnings:
                self._emit(Warned(warning))
        return self._model

    @contextmanager
    def _with_loras(self, model: LoadedModel, order: Order) -> Iterator[None]:
        """The LoRAs on the model inside the block."""
        naming = order.model.naming
        used = [(usable(Path(u.file)).weights(naming), u.strength) for u in order.loras]
        if not used:
            yield
            return
        weights, strength = used[0] if len(used) == 1 else (stacked(used), 1.0)
        with _banked(model, weights) as bank, bank.rows([Row(_ALL, strength)]):
            yield


@contextmanager
def _banked(model: LoadedModel, weights: Weights) -> Iterator[Bank]:
    bank = Bank(model, {_ALL: weights})
    try:
        yield bank
    finally:
        bank.remove()


class _Steps:
    """Counts the denoiser's calls, tells of them, and ends the rendering when it is not wanted."""

    def __init__(self, total: int, emit: Emit, stop: Stop) -> None:
        self._total, self._emit, self._stop = total, emit, stop
        self._done, self._told = 0, 0.0

    def __call__(self, *call: Any) -> None:
        self.require_wanted()
        if time.monotonic() - self._told >= _TELL_EACH:
            self._emit(Preparing("steps", min(self._done, self._total), self._total))
            self._told = time.monotonic()
        self._done += 1

    def require_wanted(self) -> None:
        """Raise when it is not.

        Raises:
            CancelledError: It is not.
        """
        if self._stop():
            raise CancelledError


@contextmanager
def _counted(model: LoadedModel, watch: _Steps) -> Iterator[None]:
    handle = model.denoiser.register_forward_pre_hook(watch)
    try:
        yield
    finally:
        handle.remove()


def _size(order: Order, model: LoadedModel) -> tuple[int, int]:
    """Width and height, px, as the model can render them."""
    step = model.size_step
    sides = (order.width or model.native_side, order.height or model.native_side)
    width, height = (max(step, side // step * step) for side in sides)
    return width, height
