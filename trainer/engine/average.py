"""A running mean of the adapter's weights (EMA), which is smoother than the last step's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.weights.adapter import Adapter


class Average:
    """mean <- decay * mean + (1 - decay) * weights, after each optimizer step.

    The decay rises to its value over the first steps, min(decay, (1 + step) / (10 + step)), so
    that a short run's mean is not its untrained start.

    Args:
        adapter: Whose weights are averaged.
        decay: In [0, 1); 0 keeps no mean, and the weights are their own.
    """

    def __init__(self, adapter: Adapter, decay: float) -> None:
        self._adapter = adapter
        self._decay = decay
        self._mean = {n: p.detach().clone() for n, p in adapter.named()} if decay else {}

    @property
    def mean(self) -> dict[str, Tensor]:
        """A copy of the mean on the CPU, by the names of `Adapter.state`; empty without one."""
        return {name: value.cpu().clone() for name, value in self._mean.items()}

    @mean.setter
    def mean(self, mean: dict[str, Tensor]) -> None:
        for name, value in mean.items():
            self._mean[name].copy_(value)

    def update(self, step: int) -> None:
        """Take in the weights after optimizer step `step`."""
        if not self._decay:
            return
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, value in self._adapter.named():
            self._mean[name].mul_(decay).add_(value.detach(), alpha=1 - decay)

    def state(self) -> dict[str, Tensor]:
        """The weights that count: the mean where one is kept."""
        return self.mean if self._decay else self._adapter.state()

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The mean in the model's place inside the block."""
        if not self._decay:
            yield
            return
        trained = self._adapter.state()
        self._adapter.load_state(self._mean)
        try:
            yield
        finally:
            self._adapter.load_state(trained)
