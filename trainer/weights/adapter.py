"""An adapter on a model: what trains, its values under our own names, and its strength.

The values are read from PEFT's layers, never from the names in a file, so another
`base_layer` (packed, quantised) below a layer makes no difference here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainer.core.errors import AdapterError, DivergedError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter

NAME = "default"
"""What PEFT calls our adapter."""

DENOISER = "denoiser"
"""The part of a model that is its UNet or transformer; other parts are text encoders."""

_NAMED = 5
"""How many offending tensors a message names."""


@dataclass(frozen=True, slots=True)
class AdaptedModule:
    """A linear or convolution layer with a low-rank update.

    Attributes:
        part: "denoiser", or a text encoder's name in the pipeline.
        path: The module's path in that part.
        layer: PEFT's layer, in the place of the module.
        a: `(rank, in)` or `(rank, in, kh, kw)`, fp32.
        b: `(out, rank)` or `(out, rank, 1, 1)`, fp32.
        scaling: What the update is multiplied by at strength 1: alpha / rank.
    """

    part: str
    path: str
    layer: Any
    a: Parameter
    b: Parameter
    rank: int
    scaling: float

    @property
    def name(self) -> str:
        """Part and path, unique in the adapter."""
        return f"{self.part}.{self.path}"

    @property
    def alpha(self) -> float:
        """LoRA's constant as files hold it."""
        return self.scaling * self.rank


@dataclass(frozen=True, slots=True)
class Adapter:
    """Everything that trains, in the order of the model's modules."""

    modules: list[AdaptedModule]

    @property
    def parts(self) -> list[str]:
        """The parts of the model that carry the adapter."""
        return list(dict.fromkeys(module.part for module in self.modules))

    def parameters(self, part: str | None = None) -> list[Parameter]:
        """What trains in `part`, or in all parts."""
        chosen = [m for m in self.modules if part in (None, m.part)]
        return [parameter for m in chosen for parameter in (m.a, m.b)]

    def state(self) -> dict[str, Tensor]:
        """Copies of all values on the CPU, fp32: `<part>.<path>.lora_A` and `.lora_B`."""
        return {name: p.detach().float().cpu().clone() for name, p in self.named()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over values under the names that `state` gives them.

        Raises:
            AdapterError: A name is missing or unknown, or a shape differs; nothing is changed.
        """
        import torch

        own = dict(self.named())
        _require_same_names(own, state)
        for name, parameter in own.items():
            if parameter.shape != state[name].shape:
                raise AdapterError(
                    f"{name!r} has shape {tuple(state[name].shape)}, "
                    f"and this model's adapter needs {tuple(parameter.shape)}",
                    hint="an adapter of the same rank, made for the same base model",
                )
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(state[name])

    def alphas(self) -> dict[str, float]:
        """LoRA's constant of each module, by module name."""
        return {module.name: module.alpha for module in self.modules}

    def set_strength(self, strength: float) -> None:
        """Scale the whole adapter; 1 is as trained, 0 is the base model exactly."""
        for module in self.modules:
            module.layer.scaling[NAME] = module.scaling * strength

    @contextmanager
    def strength(self, strength: float) -> Iterator[None]:
        """The adapter at this strength inside the block, then as it was before."""
        before = [module.layer.scaling[NAME] for module in self.modules]
        self.set_strength(strength)
        try:
            yield
        finally:
            for module, scaling in zip(self.modules, before, strict=True):
                module.layer.scaling[NAME] = scaling

    def census(self) -> str:
        """What trains, in words: modules and parameters, by part and kind of layer."""
        counts = Counter((m.part, "conv" if m.a.ndim > 2 else "linear") for m in self.modules)
        places = "; ".join(
            f"{part}: " + ", ".join(f"{n} {kind}" for (p, kind), n in counts.items() if p == part)
            for part in self.parts
        )
        parameters = sum(p.numel() for p in self.parameters())
        return f"{len(self.modules):,} modules, {parameters:,} parameters ({places})"

    def check_finite(self) -> None:
        """Refuse to go on with values that are no numbers.

        Raises:
            DivergedError: A tensor holds NaN or an infinite value.
        """
        import torch

        bad = [name for name, p in self.named() if not torch.isfinite(p).all()]
        if bad:
            raise DivergedError(
                f"{len(bad)} of the adapter's tensors hold NaN or infinite values, "
                f"the first is {bad[0]!r}",
                where=bad[0],
                hint="a lower learning rate, from the last epoch that was saved",
            )

    def norms(self) -> dict[str, float]:
        """Length of each module's update at strength 1 (Frobenius norm), by module name."""
        return {m.name: m.scaling * product_norm(m.a, m.b) for m in self.modules}

    def named(self) -> Iterator[tuple[str, Parameter]]:
        """What trains, where it is, by the names that `state` gives it."""
        for module in self.modules:
            yield f"{module.name}.lora_A", module.a
            yield f"{module.name}.lora_B", module.b


def product_norm(a: Tensor, b: Tensor) -> float:
    """Frobenius norm of `b @ a`, through two rank x rank products instead of an out x in one.

    |BA|^2 = tr(A' B'B A) = sum of B'B * AA', entry by entry.
    """
    down, up = a.detach().double().flatten(1), b.detach().double().flatten(1)
    square = ((up.T @ up) * (down @ down.T)).sum().item()
    return math.sqrt(max(square, 0.0)) if math.isfinite(square) else square


def listed(names: Sequence[str]) -> str:
    """The first few names, and that there are more."""
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def _require_same_names(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    missing = [name for name in own if name not in given]
    unknown = [name for name in given if name not in own]
    if not missing and not unknown:
        return
    facts = [
        f"{len(names)} tensors {what} ({listed(names)})"
        for what, names in (("are missing", missing), ("have no place", unknown))
        if names
    ]
    raise AdapterError(
        f"the adapter does not fit this model: {' and '.join(facts)}",
        hint="the targets and text encoder setting that it was trained with",
    )
