"""The training loop, and nothing else: it takes steps, and its caller acts on them.

It knows no files, no pictures and no model family. Each optimizer step comes planned as a
`Group` of batches (data/loader.py), so that the last group of an epoch is as exact as any
other, and the gradient of a step is the same however many processes share it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trainer.core.device import synchronise
from trainer.core.draws import seed_of
from trainer.core.errors import DivergedError, ProofError
from trainer.engine.schedule import Kind, share_of_peak
from trainer.engine.sharing import exchange

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch.optim import Optimizer

    from trainer.core.batch import Batch
    from trainer.data.loader import Group, Loader
    from trainer.families.base import LoadedModel
    from trainer.weights.adapter import Adapter


MOST_SKIPPED = 20
"""Steps in a row that fp16's gradient scaling may skip: it halves 65536 to below 1 in 17."""


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step, just taken.

    Attributes:
        number: Counts from 1 over the whole run.
        epoch: Counts from 1.
        ends_epoch: No batch of this epoch is left.
        loss: Weighted mean over the pictures of the step, over all processes.
        rate: Learning rate of the denoiser's adapter.
        gradient: Norm of the gradient before clipping; None when fp16's scaling skipped the step.
        seconds: Wall time by phase.
    """

    number: int
    epoch: int
    ends_epoch: bool
    loss: float
    rate: float
    gradient: float | None
    seconds: dict[str, float]


@dataclass(frozen=True, slots=True)
class Pace:
    """How long and how hard to train.

    Attributes:
        steps: Optimizer steps in all.
        warmup: Steps over which the rate rises.
        kind: How it falls.
        clip: Longest gradient; 0 for any.
        seed: Names the draws of dropout.
    """

    steps: int
    warmup: int
    kind: Kind
    clip: float
    seed: int


class Objective(nn.Module):
    """What trains, as one module, so that several processes can wrap it as one.

    Forward gives the weighted sum of a batch's losses, a scalar in fp32.
    """

    def __init__(self, model: LoadedModel) -> None:
        super().__init__()
        self.denoiser = model.denoiser
        self.text_encoders = nn.ModuleDict(
            {
                name: encoder
                for name, encoder in model.text_encoders.items()
                if any(p.requires_grad for p in encoder.parameters())
            }
        )
        self._losses: Callable[[Batch], Tensor] = model.losses

    def forward(self, batch: Batch) -> Tensor:
        return (self._losses(batch) * batch.weights).sum()


@dataclass(slots=True)
class Clock:
    """Wall time by phase, summed until it is read. Waits for the device at each lap."""

    _device: str
    _seconds: dict[str, float] = field(default_factory=dict)
    _mark: float = field(default_factory=time.perf_counter)

    def lap(self, phase: str) -> None:
        """Count the time since the last lap to `phase`."""
        synchronise(self._device)
        now = time.perf_counter()
        self._seconds[phase] = self._seconds.get(phase, 0) + now - self._mark
        self._mark = now

    def read(self) -> dict[str, float]:
        """The laps so far, and start anew."""
        seconds, self._seconds = self._seconds, {}
        return {phase: round(value, 5) for phase, value in seconds.items()}


class Loop:
    """Takes optimizer steps.

    Args:
        objective: An `Objective`, or what Accelerate made of it.
        adapter: What trains.
        loader: Makes the batches.
        optimizer: Prepared by Accelerate.
        accelerator: Carries gradients between processes and scales them in fp16.
        pace: How long and how hard.
    """

    def __init__(
        self,
        objective: nn.Module,
        adapter: Adapter,
        loader: Loader,
        optimizer: Optimizer,
        accelerator: Accelerator,
        pace: Pace,
    ) -> None:
        self._objective = objective
        self._adapter = adapter
        self._loader = loader
        self._optimizer = optimizer
        self._accelerator = accelerator
        self._pace = pace
        self._peaks = [group["lr"] for group in optimizer.param_groups]
        self._clock = Clock(str(accelerator.device))
        self._proven = False
        self._skipped = 0
        self.taken = 0
        """Steps of this process that changed the weights."""

    def steps(self, after: int = 0) -> Iterator[Step]:
        """Train from step `after + 1` on, yielding after each. Stop asking, and training stops.

        Raises:
            DivergedError: A loss or a gradient is not a finite number (in fp16: many in a row).
            ProofError: After two steps something that should train has had no gradient.
        """
        per_epoch = self._loader.plan.steps
        number = after
        while number < self._pace.steps:
            epoch, within = number // per_epoch + 1, number % per_epoch
            for index, group in enumerate(self._loader.plan.epoch(epoch)[within:], within):
                number += 1
                yield self._take(group, number, epoch, ends_epoch=index + 1 == per_epoch)
                if number == self._pace.steps:
                    return

    def _take(self, group: Group, number: int, epoch: int, *, ends_epoch: bool) -> Step:
        self._clock = Clock(str(self._accelerator.device))
        self._objective.train()
        rate = self._set_rate(number)
        loss = self._gradients(group, number, epoch)
        norm = self._finite_norm(group, number)
        if norm is not None and loss > 0 and not self._proven:
            self._require_gradients(number)
        self._optimizer.step()
        self.taken += norm is not None
        self._optimizer.zero_grad()
        self._clock.lap("update")
        return Step(number, epoch, ends_epoch, loss, rate, norm, self._clock.read())

    def _gradients(self, group: Group, number: int, epoch: int) -> float:
        accelerator = self._accelerator
        device = accelerator.device
        batches = self._loader.batches(
            group, epoch, rank=accelerator.process_index, ranks=accelerator.num_processes
        )
        total = torch.zeros((), device=device)
        for index, batch in enumerate(batches):
            self._clock.lap("data")
            torch.manual_seed(
                seed_of(self._pace.seed, "dropout", number, index, accelerator.process_index)
            )
            last = index + 1 == len(group)
            with self._held_back(last), accelerator.autocast():
                loss = self._objective(batch.to(device))
                self._clock.lap("forward")
                accelerator.backward(loss * accelerator.num_processes)
            total += loss.detach()
            self._clock.lap("backward")
        if accelerator.num_processes > 1 and not isinstance(
            self._objective, DistributedDataParallel
        ):
            exchange(self._adapter.parameters(), accelerator.num_processes)
        return self._agree_on_loss(total, group, number)

    def _held_back(self, last: bool) -> AbstractContextManager[None]:
        """Between processes, gradients are exchanged with the last batch of a step only."""
        if last or self._accelerator.num_processes == 1:
            return nullcontext()
        held: AbstractContextManager[None] = self._accelerator.no_sync(self._objective)
        return held

    def _agree_on_loss(self, total: Tensor, group: Group, number: int) -> float:
        loss = float(self._accelerator.reduce(total, reduction="sum"))
        if not math.isfinite(loss):
            raise self._diverged(f"the loss of step {number} is {loss}", group)
        return loss

    def _finite_norm(self, group: Group, number: int) -> float | None:
        """The gradient's length; None when it overflowed in fp16, whose scaler skips the step."""
        parameters = [p for p in self._adapter.parameters() if p.grad is not None]
        if self._pace.clip > 0:
            norm = float(self._accelerator.clip_grad_norm_(parameters, self._pace.clip))
        else:
            self._accelerator.unscale_gradients()
            norm = float(
                nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
            )
        if math.isfinite(norm):
            self._skipped = 0
            return norm
        self._skipped += 1
        if self._accelerator.scaler is None:
            raise self._diverged(f"the gradient of step {number} is {norm}", group)
        if self._skipped > MOST_SKIPPED:
            raise self._diverged(f"{self._skipped} gradients in a row overflowed", group)
        return None

    def _diverged(self, problem: str, group: Group) -> DivergedError:
        items = self._loader.plan.items
        names = list(dict.fromkeys(items[slot.item].picture.name for m in group for slot in m))
        shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        return DivergedError(
            f"{problem}, with the pictures {shown}",
            hint="a lower optimizer.learning_rate, or compute.precision = 'fp32'",
        )

    def _set_rate(self, number: int) -> float:
        pace = self._pace
        share = share_of_peak(number, steps=pace.steps, warmup=pace.warmup, kind=pace.kind)
        for group, peak in zip(self._optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * share
        return float(self._peaks[0] * share)

    def _require_gradients(self, number: int) -> None:
        """Every lora_B must have a gradient at once, lora_A as soon as its B is not zero."""
        modules = self._adapter.modules
        started = all(bool(module.b.any()) for module in modules)
        still = [
            f"{module.name}.{name}"
            for module in modules
            for name, weight in (("lora_A", module.a), ("lora_B", module.b))
            if (name == "lora_B" or started)
            and (weight.grad is None or not bool(weight.grad.any()))
        ]
        self._proven = started and not still
        if still:
            raise ProofError(
                f"in step {number} {len(still)} tensors have no gradient and cannot learn, "
                f"the first is {still[0]}",
                hint="other adapter.targets, or compute.precision = 'fp32'",
            )
