"""Intruder dimensions: strong directions of a tuned layer that its base layer does not have.

Shuttleworth et al., "LoRA vs Full Fine-tuning: An Illusion of Equivalence" (arXiv:2410.21228),
algorithm 1: of the strongest left singular vectors of `W + BA`, those that are like no left
singular vector of `W`. One decomposition of `W` serves every LoRA: in its own directions the
tuned layer is a diagonal plus an update of rank r, whose strongest vectors take milliseconds.

Found in language models, where intruders cause forgetting; for pictures a hint. In a layer whose
singular values are nearly equal (an untrained one) any update turns them all, so all intrude.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.core.device import Plan
from trainer.core.errors import AdapterError
from trainer.weights.adapter import DENOISER
from trainer.weights.layouts import Place, place

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.families.base import ModelConfig
    from trainer.weights.files import LoraFile
    from trainer.weights.spectrum import Module

    Array = NDArray[np.float64]
    Factors = tuple[Array, Array]
    """A `(rank, in)` and B `(out, rank)` of an update B @ A, the scale in B."""

TOP = 10
"""How many of a tuned layer's strongest directions are looked at."""
THRESHOLD = 0.5
"""An intruder's |cosine| with every direction of the base is below this."""
STRONGEST = 24
"""In how many modules intruders are looked for, unless told."""
LARGEST = 2**24
"""Layers of more numbers than this are not decomposed, unless all are asked for."""
_DENSE = 4
"""Below so many times `TOP` directions, all are computed: less work than finding the strongest."""
_KEPT = 2**30
"""Bytes of decompositions that are kept for the next LoRA."""


@dataclass(frozen=True, slots=True)
class Basis:
    """A layer's singular value decomposition `u @ diag(s) @ vt`; p is the smaller side.

    Attributes:
        u: `(out, p)`.
        s: `(p,)`, largest first.
        vt: `(p, in)`.
    """

    u: Array
    s: Array
    vt: Array

    @classmethod
    def of(cls, weight: Array) -> Basis:
        """The decomposition of a layer `(out, in)`."""
        return cls(*svd(weight))

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        return self.u.nbytes + self.s.nbytes + self.vt.nbytes


@dataclass(frozen=True, slots=True)
class Look:
    """The strongest directions of a tuned layer.

    Attributes:
        values: `(k,)`: their singular values, largest first.
        likeness: `(k,)`, 0 to 1: |cosine| with the base's most similar direction.
    """

    values: Array
    likeness: Array

    @property
    def intruders(self) -> int:
        """How many are like none of the base's."""
        return int((self.likeness < THRESHOLD).sum())


def look(basis: Basis, a: Array, b: Array, *, top: int = TOP) -> Look:
    """The strongest directions of `W + b @ a`, compared with those of `W`.

    Where a factor leaves the space of `W`'s directions (a layer that is not square), the rest
    of it gets directions of its own. Only products within that rest count, so any matrix with
    the same products serves: the R of its QR decomposition.

    Args:
        basis: The decomposition of `W`.
        a: `(r, in)`.
        b: `(out, r)`, the LoRA's scale in it.
        top: How many; at most as many as the layer has.
    """
    count = len(basis.s)
    left, right = _coordinates(b, basis.u), _coordinates(a.T, basis.vt.T)
    u, s = _strongest(basis.s, left, right, min(top, count))
    return Look(s, np.abs(u[:count]).max(axis=0))


class Base:
    """A base model's layers, read once, and decomposed once each."""

    def __init__(self, config: ModelConfig) -> None:
        """Read the model.

        Raises:
            ModelError: It is missing, damaged or of another family.
        """
        model = config.load(Plan("cpu", "fp32"))
        self.name = config.base
        self.naming = config.naming
        self._networks: dict[str, Any] = {DENOISER: model.denoiser, **model.text_encoders}
        self._bases: dict[Place, Basis] = {}

    def places(self, file: LoraFile) -> dict[str, Place]:
        """What each module of the file changes, by the file's name for it.

        Raises:
            AdapterError: The file is for another family, or more than plain LoRA.
        """
        file.weights(self.naming)
        found = {name: place(name, self.naming, file.layout) for name in file.pairs}
        return {name: where for name, where in found.items() if where is not None}

    def weight(self, where: Place) -> Array:
        """A layer `(out, in)`; a convolution's kernel lies in its inputs.

        Raises:
            AdapterError: The model has no such layer.
        """
        rows = np.vstack([self._weight(name) for name in where.names])
        if where.original is not None and where.original.swaps(*rows.shape):
            rows = np.roll(rows, len(rows) // 2, axis=0)
        return rows

    def _weight(self, name: str) -> Array:
        part, _, path = name.partition(".")
        try:
            weight = self._networks[part].get_submodule(path).weight
        except (KeyError, AttributeError) as error:
            raise AdapterError(
                f"the base model has no layer {name!r}",
                where=self.name,
                hint="the base model that the LoRA was trained on",
            ) from error
        flat: Array = weight.detach().flatten(1).double().numpy()
        return flat

    def basis(self, where: Place) -> Basis:
        """A layer's decomposition, kept for the next time while there is room."""
        if where in self._bases:
            return self._bases[where]
        basis = Basis.of(self.weight(where))
        if sum(kept.bytes for kept in self._bases.values()) + basis.bytes <= _KEPT:
            self._bases[where] = basis
        return basis


def svd(matrix: Array) -> tuple[Array, Array, Array]:
    """`matrix = u @ diag(s) @ vt`, no larger than need be.

    By torch, since NumPy's threads wait for one another where another process keeps the cores
    busy, which takes 100 times as long; and upright, which takes a quarter of the time.
    """
    import torch

    wide = matrix.shape[1] > matrix.shape[0]
    tall = torch.from_numpy(matrix).T if wide else torch.from_numpy(matrix)
    u, s, vt = (part.numpy() for part in torch.linalg.svd(tall, full_matrices=False))
    return (vt.T, s, u.T) if wide else (u, s, vt)


def upper(matrix: Array) -> Array:
    """R of the matrix's QR decomposition."""
    import torch

    r: Array = torch.linalg.qr(torch.from_numpy(matrix), mode="r").R.numpy()
    return r


@dataclass(frozen=True, slots=True)
class Hunt:
    """How far to look for intruders.

    Attributes:
        looked: Into how many of the modules that change most; None for all, however large.
        progress: Told how many of how many are done.
    """

    looked: int | None = STRONGEST
    progress: Callable[[int, int], None] | None = None


def compare(
    modules: list[Module],
    factors: Mapping[str, Factors],
    base: Base,
    own: Mapping[str, Place],
    hunt: Hunt,
) -> list[Module]:
    """The modules with the base layers' norms, and with intruders in those that change most.

    Args:
        modules: In any order, which is kept.
        factors: A and B by the modules' names.
        base: What the LoRA was trained on.
        own: What they change, by the modules' names.
        hunt: How far to look.

    Raises:
        AdapterError: A module fits no layer of the base.
    """
    found = {module.name: _weighed(module, base, own[module.name]) for module in modules}
    chosen = sorted(found.values(), key=lambda module: -(module.relative or 0))
    if hunt.looked is not None:
        small = [module for module in chosen if math.prod(module.shape) <= LARGEST]
        chosen = small[: hunt.looked]
    for done, module in enumerate(chosen, start=1):
        basis = base.basis(own[module.name])
        seen = look(basis, *factors[module.name])
        found[module.name] = replace(
            module,
            relative_largest=module.largest / float(basis.s[0]) if basis.s[0] else None,
            intruders=seen.intruders,
            least_like=float(seen.likeness.min()),
        )
        if hunt.progress is not None:
            hunt.progress(done, len(chosen))
    return list(found.values())


def _weighed(module: Module, base: Base, own: Place) -> Module:
    weight = base.weight(own)
    if weight.shape != module.shape:
        raise AdapterError(
            f"{module.name!r} changes a layer of {module.shape[0]} x {module.shape[1]}, and that "
            f"of the base model is {weight.shape[0]} x {weight.shape[1]}",
            where=base.name,
            hint="the base model that the LoRA was trained on",
        )
    norm = float(np.linalg.norm(weight))
    return replace(module, base_norm=norm, relative=module.norm / norm if norm else None)


def _coordinates(factor: Array, basis: Array) -> Array:
    """A factor `(m, r)` in the basis `(m, p)` and, below that, what the basis lacks of it."""
    inside = basis.T @ factor
    if basis.shape[0] == basis.shape[1]:
        return np.asarray(inside)
    return np.vstack([inside, upper(factor - basis @ inside)])


def _strongest(s: Array, left: Array, right: Array, top: int) -> tuple[Array, Array]:
    """Left singular vectors and values of `diag(s) + left @ right.T`, the strongest first."""
    from scipy.sparse.linalg import LinearOperator, svds

    shape = (len(left), len(right))
    count = len(s)
    if count <= _DENSE * top:
        whole = left @ right.T
        whole[range(count), range(count)] += s
        u, values, _ = svd(whole)
        return u[:, :top], values[:top]

    def forth(x: Array) -> Array:
        x = np.ravel(x)
        answer: Array = left @ (right.T @ x)
        answer[:count] += s * x[:count]
        return answer

    def back(y: Array) -> Array:
        y = np.ravel(y)
        answer: Array = right @ (left.T @ y)
        answer[:count] += s * y[:count]
        return answer

    start = np.random.default_rng(0).standard_normal(min(shape))
    operator = LinearOperator(shape, matvec=forth, rmatvec=back, dtype=np.float64)
    u, values, _ = svds(operator, k=top, v0=start)
    order = np.argsort(-values)
    return u[:, order], values[order]
