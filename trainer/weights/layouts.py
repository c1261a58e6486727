"""From our own names to the layouts that other programs read, and back.

Ours are `<part>.<module path>.lora_A` and `.lora_B`, and alpha beside them. kohya's layout
(sd-scripts, ComfyUI, A1111) holds alpha in the file. The Diffusers layout has no place for
it, and readers take alpha = rank, so there the scale is multiplied into B. Nothing here
opens a file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from trainer.core.errors import AdapterError
from trainer.weights import entry
from trainer.weights.adapter import listed
from trainer.weights.fusion import Factors, fuse, split, swap_halves
from trainer.weights.methods import require_plain

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.families.naming import Naming, Original, PartNaming

Layout = Literal["kohya", "diffusers"]

SUFFIXES: dict[Layout, tuple[str, str]] = {
    "kohya": (".lora_down.weight", ".lora_up.weight"),
    "diffusers": (".lora_A.weight", ".lora_B.weight"),
}
"""How the names of A and B end."""

_ALPHA = ".alpha"


@dataclass(frozen=True, slots=True)
class Weights:
    """An adapter's values apart from any model.

    Attributes:
        tensors: `<part>.<module path>.lora_A` and `.lora_B`, as `Adapter.state` gives them.
        alphas: LoRA's constant by `<part>.<module path>`; the scale is alpha / rank.
    """

    tensors: dict[str, Tensor]
    alphas: dict[str, float]

    def __iter__(self) -> Iterator[tuple[str, Tensor, Tensor, float]]:
        """Each module's name, A, B and alpha."""
        for name, alpha in self.alphas.items():
            yield name, self.tensors[f"{name}.lora_A"], self.tensors[f"{name}.lora_B"], alpha

    @property
    def rank(self) -> int:
        """The rank of most modules."""
        ranks: Counter[int] = Counter(a.shape[0] for _, a, _, _ in self)
        return ranks.most_common(1)[0][0]

    @property
    def alpha(self) -> float:
        """The alpha of most modules."""
        return Counter(self.alphas.values()).most_common(1)[0][0]


@dataclass(frozen=True, slots=True)
class Pair:
    """The names of one module's tensors in a file; `alpha` is empty when it has none."""

    a: str
    b: str
    alpha: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Our names of what a module of a file changes.

    Attributes:
        names: One, or those of the members of `original`, in its order.
        original: The first code's module that the file's is, where names differ.
    """

    names: tuple[str, ...]
    original: Original | None = None


def to_kohya(weights: Weights, naming: Naming) -> dict[str, Tensor]:
    """Tensors as sd-scripts names them, with one alpha for all modules that keep their names.

    Diffusers reads the alpha of most modules as that of all attention and CLIP modules of a
    UNet's file, so where alphas differ the rest of the scale is multiplied into B. Modules that
    the first code has as one are fused into one, with an alpha of its own.
    """
    import torch

    tensors: dict[str, Tensor] = {}
    alpha = weights.alpha
    down, up = SUFFIXES["kohya"]

    def put(key: str, made: Factors) -> None:
        tensors[key + down], tensors[key + up] = made.a.contiguous(), made.b.contiguous()
        tensors[key + _ALPHA] = torch.tensor(made.alpha, dtype=torch.float32)

    joined: dict[str, tuple[Original, dict[int, Factors]]] = {}
    for name, a, b, own in weights:
        part, path = naming.split(name)
        found = part.original_of(path)
        if found is None:
            key = f"{part.kohya}_{part.path_in_kohya(path).replace('.', '_')}"
            put(key, Factors(a, b if own == alpha else b * (own / alpha), alpha))
            continue
        original, number, member = found
        key = f"{part.kohya}_{original.name.format(number).replace('.', '_')}"
        b = swap_halves(b) if original.swaps(b.shape[0], a.shape[1]) else b
        joined.setdefault(key, (original, {}))[1][member] = Factors(a, b, own)
    for key, (original, members) in joined.items():
        put(key, fuse(members, original.shares))
    return tensors


def to_diffusers(weights: Weights, naming: Naming) -> dict[str, Tensor]:
    """Tensors as `load_lora_weights` names them, scaled so that alpha is the rank."""
    tensors: dict[str, Tensor] = {}
    down, up = SUFFIXES["diffusers"]
    for name, a, b, alpha in weights:
        part, path = naming.split(name)
        key = f"{part.diffusers}.{part.path_in_file(path)}"
        tensors[key + down] = a.contiguous()
        tensors[key + up] = (b * (alpha / a.shape[0])).contiguous()
    return tensors


def from_kohya(tensors: Mapping[str, Tensor], naming: Naming) -> Weights:
    """Read kohya's layout; a module without alpha has alpha = rank.

    Raises:
        AdapterError: A key names no module of the family, or is not plain LoRA.
    """
    pairs, unread = group(tensors, "kohya")
    return _collect(tensors, pairs, _places(pairs, unread, naming, "kohya"), {})


def from_diffusers(tensors: Mapping[str, Tensor], naming: Naming, metadata: str = "") -> Weights:
    """Read the Diffusers layout, with alpha from `lora_adapter_metadata` or equal to the rank.

    Raises:
        AdapterError: A key names no module of the family, or is not plain LoRA.
    """
    pairs, unread = group(tensors, "diffusers")
    places = _places(pairs, unread, naming, "diffusers")
    told = entry.read(metadata)
    alphas = {
        key: entry.alpha_of(told, key, tensors[pair.a].shape[0]) for key, pair in pairs.items()
    }
    return _collect(tensors, pairs, places, alphas)


def detect(keys: Iterable[str]) -> Layout | None:
    """The layout that names end like these, or None when no name is LoRA's."""
    for key in keys:
        for layout, suffixes in SUFFIXES.items():
            if key.endswith(suffixes):
                return layout
    return None


def group(keys: Iterable[str], layout: Layout) -> tuple[dict[str, Pair], list[str]]:
    """Pairs of keys by module name in the file, and the keys that belong to no pair."""
    present = dict.fromkeys(keys)
    down, up = SUFFIXES[layout]
    pairs: dict[str, Pair] = {}
    for key in present:
        name = key.removesuffix(down)
        if name != key and name + up in present:
            alpha = name + _ALPHA
            pairs[name] = Pair(key, name + up, alpha if alpha in present else "")
    read = {key for pair in pairs.values() for key in (pair.a, pair.b, pair.alpha)}
    return pairs, [key for key in present if key not in read]


def fit(a: Sequence[int], b: Sequence[int]) -> bool:
    """Whether tensors of these shapes are the A and B of one module."""
    return len(a) == len(b) >= 2 and a[0] == b[1] > 0


def place(key: str, naming: Naming, layout: Layout) -> Place | None:
    """What the module that a file calls `key` changes; None when it has no place in the family."""
    return (_kohya_place if layout == "kohya" else _diffusers_place)(key, naming)


def _kohya_place(key: str, naming: Naming) -> Place | None:
    for part in naming.parts:
        for prefix in (part.kohya, *part.also):
            if not key.startswith(f"{prefix}_"):
                continue
            name = key.removeprefix(f"{prefix}_")
            found = _original_place(part, name, "_")
            if found is not None:
                return found
            dotted = _with_dots(name, naming)
            path = dotted and part.path_from_kohya(dotted)
            return Place((f"{part.part}.{path}",)) if path and naming.knows(path) else None
    return None


def _diffusers_place(key: str, naming: Naming) -> Place | None:
    for part in naming.parts:
        if part.dotted and key.startswith(f"{part.dotted}."):
            return _original_place(part, key.removeprefix(f"{part.dotted}."), ".")
        if key.startswith(f"{part.diffusers}."):
            path = part.path_in_model(key.removeprefix(f"{part.diffusers}."))
            return Place((f"{part.part}.{path}",)) if naming.knows(path) else None
    return None


def _original_place(part: PartNaming, name: str, joint: str) -> Place | None:
    found = part.original_called(name, joint=joint)
    if found is None:
        return None
    original, number = found
    members = tuple(f"{part.part}.{member.format(number)}" for member in original.members)
    return Place(members, original)


def _with_dots(flat: str, naming: Naming) -> str | None:
    """`attn1_to_out_0` -> `attn1.to_out.0`, by the longest word that fits at each place."""
    words = sorted(naming.kohya_words, key=len, reverse=True)
    found = re.findall(rf"(?:{'|'.join(words)}|\d+)(?=_|$)", flat)
    return ".".join(found) if "_".join(found) == flat else None


def _places(
    pairs: Mapping[str, Pair], unread: list[str], naming: Naming, layout: Layout
) -> dict[str, Place]:
    """Where each module of a file belongs.

    Raises:
        AdapterError: One belongs nowhere, or a tensor is no part of a plain LoRA.
    """
    if not pairs and not unread:
        raise AdapterError("the file holds no LoRA")
    require_plain(unread)
    found = {key: place(key, naming, layout) for key in pairs}
    unmatched = [*unread, *(key for key, where in found.items() if where is None)]
    if unmatched:
        raise AdapterError(
            f"{len(unmatched)} keys of the file have no place in this model family: "
            f"{listed(unmatched)}",
            hint="a plain LoRA made for this family",
        )
    return {key: where for key, where in found.items() if where is not None}


def _collect(
    tensors: Mapping[str, Tensor],
    pairs: Mapping[str, Pair],
    places: Mapping[str, Place],
    alphas: Mapping[str, float],
) -> Weights:
    """Alpha is the file's own, else as `alphas` tells, else the rank."""
    weights = Weights({}, {})
    for key, pair in pairs.items():
        a, b = tensors[pair.a], tensors[pair.b]
        if not fit(a.shape, b.shape):
            raise AdapterError(
                f"the tensors of {key!r} are no pair: A is {tuple(a.shape)}, B is {tuple(b.shape)}"
            )
        alpha = (
            float(tensors[pair.alpha].item()) if pair.alpha else alphas.get(key, float(a.shape[0]))
        )
        for name, own in _members(key, places[key], Factors(a, b, alpha)):
            if name in weights.alphas:
                raise AdapterError(f"two modules of the file change {name!r}, one is {key!r}")
            weights.tensors[f"{name}.lora_A"], weights.tensors[f"{name}.lora_B"] = own.a, own.b
            weights.alphas[name] = own.alpha
    return weights


def _members(key: str, where: Place, whole: Factors) -> Iterator[tuple[str, Factors]]:
    """Our modules that one module of a file changes, each with its own factors."""
    if where.original is None:
        yield where.names[0], whole
        return
    shares = where.original.shares
    if whole.b.shape[0] % sum(shares):
        raise AdapterError(
            f"the {whole.b.shape[0]} rows of {key!r} do not divide among {len(shares)} modules",
            hint="a LoRA made for this family",
        )
    for name, own in zip(where.names, split(whole, shares), strict=True):
        if own is not None:
            swaps = where.original.swaps(own.b.shape[0], own.a.shape[1])
            yield name, replace(own, b=swap_halves(own.b)) if swaps else own
