"""The singular values of a LoRA's updates: how much it changes where, and how much rank it uses.

Everything is computed from the factors A and B; the update itself is never formed. Works for
any family; with the base model at hand the updates are also compared with its layers. What the
numbers mean to a person is `spectrum_words`'.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.weights.files import LoraFile, read
from trainer.weights.intruders import STRONGEST, Base, Hunt, compare, svd, upper
from trainer.weights.spectrum_words import WHOLE, place, sentences

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from trainer.families.base import ModelConfig
    from trainer.weights.layouts import Pair

    Array = NDArray[np.float64]
    Factors = tuple[Array, Array]
    """A `(rank, in)` and B `(out, rank)` of an update B @ A, the scale in B."""

ENERGY = 0.99
"""The share of an update's squared norm that its main ranks are to hold."""


@dataclass(frozen=True, slots=True)
class Module:
    """One module's update at strength 1.

    Attributes:
        name: As the file spells it.
        block: "down block 0", "text encoder", ...
        kind: "self-attention", "convolution", ...
        shape: Outputs and inputs; a convolution's kernel counts among its inputs.
        values: Its singular values, largest first.
        norm: Frobenius norm: how far the layer moves.
        largest: Spectral norm: the largest singular value.
        effective_rank: exp of the entropy of the singular values' shares, 1 to `rank`
            (Roy and Vetterli 2007); 0 when the update is nothing.
        stable_rank: Squared Frobenius over squared spectral norm.
        rank_99: The rank that holds 99% of its squared norm.
        base_norm: Frobenius norm of the base layer; None without a base.
        relative: `norm` over `base_norm`.
        relative_largest: The same of spectral norms; like the next two only told of modules
            that were looked into.
        intruders: Intruder dimensions among the tuned layer's strongest.
        least_like: The lowest |cosine| of those with the base's directions.
    """

    name: str
    block: str
    kind: str
    shape: tuple[int, int]
    rank: int
    alpha: float
    values: tuple[float, ...]
    norm: float
    largest: float
    effective_rank: float
    stable_rank: float
    rank_99: int
    base_norm: float | None = None
    relative: float | None = None
    relative_largest: float | None = None
    intruders: int | None = None
    least_like: float | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Modules of one block or kind, or all.

    Attributes:
        modules: How many, and of them `zeros` whose update is nothing.
        norm: Frobenius norm of all their updates together.
        share: Their part of the whole LoRA's squared norm, 0 to 1.
        largest: The largest singular value among them.
        rank: The highest rank.
        effective_rank: The median of those that change something, and `used`, of the rank.
        rank_99: The rank for all of them that holds 99% of their squared norm.
        relative: Norm of the updates over that of their base layers; None without a base.
        intruders: In all; None when none was looked into.
        intruded: How many modules have any, of `looked` into.
    """

    name: str
    modules: int
    zeros: int
    norm: float
    share: float
    largest: float
    rank: int
    effective_rank: float
    used: float
    rank_99: int
    relative: float | None
    intruders: int | None
    intruded: int
    looked: int


@dataclass(frozen=True, slots=True)
class Spectrum:
    """A LoRA file's spectrum.

    Attributes:
        base: The base model that it was compared with, or empty.
        whole: All modules together.
        modules: Those that could be measured, in the file's order.
        zeros: Modules whose update is nothing.
        broken: Modules that hold NaN or infinite values, which are not measured.
        left_out: Modules that are more than plain LoRA (DoRA, Tucker), which are not measured.
        sentences: What there is to say of it.
    """

    name: str
    family: str
    base: str
    whole: Group
    blocks: list[Group]
    kinds: list[Group]
    modules: list[Module]
    zeros: list[str]
    broken: list[str]
    left_out: list[str]
    sentences: list[str]

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return asdict(self)


def spectrum(
    path: Path,
    base: ModelConfig | Base | None = None,
    *,
    looked: int | None = STRONGEST,
    progress: Callable[[int, int], None] | None = None,
) -> Spectrum:
    """Measure a LoRA file.

    Args:
        path: A file of any family and layout.
        base: The model it was trained on; a `Base` when several files are measured, so that
            its layers are read and decomposed once.
        looked: Into how many of the modules that change most to look for intruder dimensions;
            None for all, however large.
        progress: Told how many of those are done.

    Raises:
        AdapterError: It is no LoRA file, damaged, or made for another base model.
        ModelError: The base model cannot be read.
    """
    file = read(path)
    tensors = file.tensors()
    alphas = file.alphas(tensors)
    plain = {name: pair for name, pair in file.pairs.items() if _is_plain(file, name, pair)}
    factors = {name: _factors(tensors, pair, alphas[name]) for name, pair in plain.items()}
    sound = {
        name: pair for name, pair in factors.items() if all(np.isfinite(f).all() for f in pair)
    }
    modules = [_measure(name, *pair, alphas[name]) for name, pair in sound.items()]
    opened = base if base is None or isinstance(base, Base) else Base(base)
    if opened is not None:
        modules = compare(modules, sound, opened, opened.places(file), Hunt(looked, progress))
    made = Spectrum(
        name=path.name,
        family=file.family,
        base="" if opened is None else opened.name,
        whole=_group(WHOLE, modules, modules),
        blocks=_groups(modules, lambda module: module.block),
        kinds=_groups(modules, lambda module: module.kind),
        modules=modules,
        zeros=[module.name for module in modules if module.norm == 0],
        broken=[name for name in factors if name not in sound],
        left_out=[name for name in file.pairs if name not in plain],
        sentences=[],
    )
    return replace(made, sentences=sentences(made))


def effective_rank(values: Array) -> float:
    """How many singular values it would take if all were equal: exp of their entropy; 0 of none.

    Roy and Vetterli, "The effective rank" (2007), of `values` `(r,)`, which are not negative.
    """
    total = values.sum()
    if total == 0:
        return 0.0
    shares = values[values > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _is_plain(file: LoraFile, name: str, pair: Pair) -> bool:
    """Whether B @ A is all there is to a module."""
    small = all(side == 1 for side in file.shapes[pair.b][2:])
    return small and not any(key.startswith(f"{name}.") for key in file.unread)


def _factors(tensors: Mapping[str, Tensor], pair: Pair, alpha: float) -> Factors:
    a, b = (tensors[key].double().flatten(1).numpy() for key in (pair.a, pair.b))
    return a, b * (alpha / len(a))


def _measure(name: str, a: Array, b: Array, alpha: float) -> Module:
    """QR of both factors, then an SVD of rank x rank."""
    _, values, _ = svd(upper(b) @ upper(a.T).T)
    block, kind = place(name)
    norm, largest = float(np.linalg.norm(values)), float(values[0])
    return Module(
        name=name,
        block=block,
        kind=kind,
        shape=(len(b), a.shape[1]),
        rank=len(a),
        alpha=alpha,
        values=tuple(values.tolist()),
        norm=norm,
        largest=largest,
        effective_rank=effective_rank(values),
        stable_rank=(norm / largest) ** 2 if largest else 0.0,
        rank_99=_rank_for(values[None] ** 2),
    )


def _rank_for(squares: Array) -> int:
    """The rank that holds `ENERGY` of squared singular values `(modules, ranks)`, largest first."""
    held = squares.sum(axis=0).cumsum()
    if held[-1] == 0:
        return 0
    return int(np.searchsorted(held, ENERGY * held[-1])) + 1


def _groups(modules: list[Module], by: Callable[[Module], str]) -> list[Group]:
    """Modules put together, in the file's order."""
    names = dict.fromkeys(by(module) for module in modules)
    return [_group(name, [m for m in modules if by(m) == name], modules) for name in names]


def _group(name: str, some: list[Module], all_of_them: list[Module]) -> Group:
    square = sum(module.norm**2 for module in some)
    whole = sum(module.norm**2 for module in all_of_them)
    active = [module for module in some if module.norm]
    looked = [module.intruders for module in some if module.intruders is not None]
    ranks = max((module.rank for module in some), default=0)
    squares = np.zeros((len(some), max(ranks, 1)))
    for row, module in zip(squares, some, strict=True):
        row[: len(module.values)] = np.square(module.values)
    return Group(
        name=name,
        modules=len(some),
        zeros=len(some) - len(active),
        norm=math.sqrt(square),
        share=square / whole if whole else 0.0,
        largest=max((module.largest for module in some), default=0.0),
        rank=ranks,
        effective_rank=statistics.median(m.effective_rank for m in active) if active else 0.0,
        used=statistics.median(m.effective_rank / m.rank for m in active) if active else 0.0,
        rank_99=_rank_for(squares),
        relative=_relative(square, some),
        intruders=sum(looked) if looked else None,
        intruded=sum(count > 0 for count in looked),
        looked=len(looked),
    )


def _relative(square: float, some: list[Module]) -> float | None:
    base = sum((module.base_norm or 0.0) ** 2 for module in some)
    return math.sqrt(square / base) if base else None
