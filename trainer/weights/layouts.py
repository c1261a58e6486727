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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from trainer.core.errors import AdapterError
from trainer.weights import entry
from trainer.weights.adapter import listed

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.families.naming import Naming

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


def to_kohya(weights: Weights, naming: Naming) -> dict[str, Tensor]:
    """Tensors as sd-scripts names them, with one alpha for all modules.

    Diffusers reads the alpha of most modules as that of all attention and CLIP modules,
    so where alphas differ the rest of the scale is multiplied into B.
    """
    import torch

    tensors: dict[str, Tensor] = {}
    alpha = weights.alpha
    down, up = SUFFIXES["kohya"]
    for name, a, b, own in weights:
        part, path = naming.split(name)
        key = f"{part.kohya}_{part.path_in_kohya(path).replace('.', '_')}"
        tensors[key + down] = a.contiguous()
        tensors[key + up] = (b if own == alpha else b * (own / alpha)).contiguous()
        tensors[key + _ALPHA] = torch.tensor(alpha, dtype=torch.float32)
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
    places = {key: _kohya_place(key, naming) for key in pairs}
    _require_all_read(unread, places)
    return _collect(tensors, pairs, places, {})


def from_diffusers(tensors: Mapping[str, Tensor], naming: Naming, metadata: str = "") -> Weights:
    """Read the Diffusers layout, with alpha from `lora_adapter_metadata` or equal to the rank.

    Raises:
        AdapterError: A key names no module of the family, or is not plain LoRA.
    """
    pairs, unread = group(tensors, "diffusers")
    places = {key: _diffusers_place(key, naming) for key in pairs}
    _require_all_read(unread, places)
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


def _kohya_place(key: str, naming: Naming) -> str | None:
    """Our name of the module that kohya's layout calls `key`; None when there is none."""
    for part in naming.parts:
        for prefix in (part.kohya, *part.also):
            if key.startswith(f"{prefix}_"):
                dotted = _with_dots(key.removeprefix(f"{prefix}_"), naming)
                path = dotted and part.path_from_kohya(dotted)
                return f"{part.part}.{path}" if path and naming.knows(path) else None
    return None


def _diffusers_place(key: str, naming: Naming) -> str | None:
    """Our name of the module that the Diffusers layout calls `key`; None when there is none."""
    for part in naming.parts:
        if key.startswith(f"{part.diffusers}."):
            path = part.path_in_model(key.removeprefix(f"{part.diffusers}."))
            return f"{part.part}.{path}" if naming.knows(path) else None
    return None


def _with_dots(flat: str, naming: Naming) -> str | None:
    """`attn1_to_out_0` -> `attn1.to_out.0`, by the longest word that fits at each place."""
    words = sorted(naming.kohya_words, key=len, reverse=True)
    found = re.findall(rf"(?:{'|'.join(words)}|\d+)(?=_|$)", flat)
    return ".".join(found) if "_".join(found) == flat else None


def _collect(
    tensors: Mapping[str, Tensor],
    pairs: Mapping[str, Pair],
    places: Mapping[str, str | None],
    alphas: Mapping[str, float],
) -> Weights:
    """Alpha is the file's own, else as `alphas` tells, else the rank."""
    weights = Weights({}, {})
    for key, pair in pairs.items():
        name = places[key]
        assert name is not None
        a, b = tensors[pair.a], tensors[pair.b]
        if not fit(a.shape, b.shape):
            raise AdapterError(
                f"the tensors of {key!r} are no pair: A is {tuple(a.shape)}, B is {tuple(b.shape)}"
            )
        weights.tensors[f"{name}.lora_A"] = a
        weights.tensors[f"{name}.lora_B"] = b
        weights.alphas[name] = (
            float(tensors[pair.alpha].item()) if pair.alpha else alphas.get(key, float(a.shape[0]))
        )
    return weights


def _require_all_read(unread: list[str], places: Mapping[str, str | None]) -> None:
    unmatched = [*unread, *(key for key, place in places.items() if place is None)]
    if not places and not unread:
        raise AdapterError("the file holds no LoRA")
    if unmatched:
        raise AdapterError(
            f"{len(unmatched)} keys of the file have no place in this model family: "
            f"{listed(unmatched)}",
            hint="a plain LoRA (no DoRA, LoHa or LoKr) made for this family",
        )
