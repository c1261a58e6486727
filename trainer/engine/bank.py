"""Several LoRAs on one model at once: every row of a batch with its own, at its own strength.

The frozen weights are read once for the whole batch, and each row gets its low-rank update
added: `W x + s B_i A_i x` for the row's adapter i and strength s. Strengths are turned without
touching any weight, so nothing is left to undo. For rendering and judging; nothing trains.

It knows no prompts and no files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.nn.functional import conv2d, linear

from trainer.core.errors import AdapterError
from trainer.weights.adapter import DENOISER, listed

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.families.base import LoadedModel
    from trainer.weights.layouts import Weights


@dataclass(frozen=True, slots=True)
class Row:
    """What one row of a batch is rendered with.

    Attributes:
        adapter: Name of the LoRA; empty for the base model alone.
        strength: What its update is multiplied by.
    """

    adapter: str = ""
    strength: float = 0.0


@dataclass(frozen=True, slots=True)
class _Span:
    """Neighbouring rows with the same LoRA."""

    adapter: str
    start: int
    stop: int


class Bank:
    """LoRAs held on a model, none of them active outside `rows`.

    Raises:
        AdapterError: A LoRA has modules that this model lacks, or of other shapes.
    """

    def __init__(self, model: LoadedModel, adapters: Mapping[str, Weights]) -> None:
        self._device, self._dtype = model.plan.device, model.plan.dtype
        self._rows: Sequence[Row] = ()
        self._spans: Sequence[_Span] = ()
        self._strengths = torch.empty(0)
        self._halves: dict[str, dict[str, tuple[Tensor, Tensor]]] = {}
        networks = {DENOISER: model.denoiser, **model.text_encoders}
        for name, weights in adapters.items():
            self._take(name, weights, networks)
        self._hooks = [
            _layer(networks, path).register_forward_hook(self._hook(path)) for path in self._halves
        ]

    def speaks(self, adapter: str) -> bool:
        """Whether the LoRA changes a text encoder too."""
        return any(
            adapter in halves and not path.startswith(f"{DENOISER}.")
            for path, halves in self._halves.items()
        )

    @contextmanager
    def rows(self, rows: Sequence[Row]) -> Iterator[None]:
        """What goes through the model inside the block has these rows.

        A batch of twice as many (classifier-free guidance) has them twice. Neighbours with the
        same LoRA are computed together, so order rows by it.
        """
        self._rows = rows
        self._strengths = torch.tensor([row.strength for row in rows], dtype=torch.float32)
        self._spans = _spans(rows)
        try:
            yield
        finally:
            self._rows, self._spans = (), ()

    def remove(self) -> None:
        """Take all LoRAs off; the model is what it was, to the bit."""
        for hook in self._hooks:
            hook.remove()
        self._halves.clear()

    def _take(self, name: str, weights: Weights, networks: Mapping[str, nn.Module]) -> None:
        strange: list[str] = []
        for path, a, b, alpha in weights:
            layer = _find(networks, path)
            if layer is None or not _fits(layer, a, b):
                strange.append(path)
                continue
            down = a.to(self._device, self._dtype)
            up = (b.float() * (alpha / a.shape[0])).to(self._device, self._dtype)
            self._halves.setdefault(path, {})[name] = (down, up)
        if strange:
            raise AdapterError(
                f"{len(strange)} of the {len(weights.alphas)} modules of {name!r} have no place in "
                f"this model: {listed(strange)}",
                hint="the base model that the LoRA was trained on",
            )

    def _hook(self, path: str) -> Any:
        halves = self._halves[path]

        def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if not self._rows:
                return output
            active = [span for span in self._spans if span.adapter in halves]
            return self._add(layer, halves, active, inputs[0], output) if active else output

        return add

    def _add(
        self,
        layer: nn.Module,
        halves: Mapping[str, tuple[Tensor, Tensor]],
        active: Sequence[_Span],
        x: Tensor,
        output: Tensor,
    ) -> Tensor:
        count = len(self._rows)
        times, rest = divmod(len(x), count)
        assert not rest, f"{len(x)} rows go through a bank of {count}"
        strengths = self._strengths.to(x.device, x.dtype)
        whole = len(active) == 1 and active[0].stop - active[0].start == count
        if whole:
            _update(layer, halves[active[0].adapter], x, output, strengths.repeat(times))
            return output
        for offset in range(0, len(x), count):
            for span in active:
                own = slice(offset + span.start, offset + span.stop)
                part = strengths[span.start : span.stop]
                _update(layer, halves[span.adapter], x[own], output[own], part)
        return output


def _update(
    layer: nn.Module,
    halves: tuple[Tensor, Tensor],
    x: Tensor,
    output: Tensor,
    strengths: Tensor,
) -> None:
    """Add the low-rank update of one LoRA to `output`, in place, each row at its strength."""
    down, up = halves
    if isinstance(layer, nn.Conv2d):
        low = conv2d(x, down, None, layer.stride, layer.padding, layer.dilation)
        low *= strengths.view(-1, 1, 1, 1)
        output += conv2d(low, up)
        return
    low = linear(x, down)
    low *= strengths.view(-1, *(1,) * (low.ndim - 1))
    output.flatten(0, -2).addmm_(low.flatten(0, -2), up.t())


def _spans(rows: Sequence[Row]) -> list[_Span]:
    spans, start = [], 0
    for adapter, same in groupby(rows, key=lambda row: row.adapter if row.strength else ""):
        stop = start + len(list(same))
        if adapter:
            spans.append(_Span(adapter, start, stop))
        start = stop
    return spans


def _layer(networks: Mapping[str, nn.Module], path: str) -> nn.Module:
    layer = _find(networks, path)
    assert layer is not None
    return layer


def _find(networks: Mapping[str, nn.Module], path: str) -> Any:
    """The layer of that part and path, or None."""
    part, _, rest = path.partition(".")
    try:
        return networks[part].get_submodule(rest)
    except (KeyError, AttributeError):
        return None


def _fits(layer: nn.Module, a: Tensor, b: Tensor) -> bool:
    """Whether the pair's shapes are an update of the layer."""
    if isinstance(layer, nn.Conv2d):
        wanted = (layer.in_channels, *layer.kernel_size)
        plain = layer.groups == 1 and layer.padding_mode == "zeros"
        return plain and tuple(a.shape[1:]) == wanted and b.shape[0] == layer.out_channels
    if not isinstance(layer, nn.Linear):
        return False
    linear_layer = cast("nn.Linear", layer)
    return a.ndim == 2 and (a.shape[1], b.shape[0]) == (
        linear_layer.in_features,
        linear_layer.out_features,
    )
