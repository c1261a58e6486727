"""What a LoRA file is, in plain values: for people who found one and wonder."""

from __future__ import annotations

import hashlib
import re
import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.core.files import hash_file
from trainer.weights.adapter import product_norm
from trainer.weights.files import LoraFile, read

if TYPE_CHECKING:
    from torch import Tensor

_STRONGEST = 10


@dataclass(frozen=True, slots=True)
class Inspection:
    """A LoRA file, described.

    Attributes:
        bytes: Size of the file.
        layout: Whose names its tensors have: "kohya" or "diffusers".
        family: The base model it was made for, or "unknown".
        ranks: How many modules have each rank.
        alphas: How many modules have each alpha; a module without one counts as its rank.
        modules: How many modules each part has, by the part's name in the file.
        formats: How many tensors have each number format.
        norm_min: Smallest Frobenius norm of a module's update at strength 1.
        norm_median: The middle one.
        norm_max: The largest.
        strongest: The modules that change most, with their norms, strongest first.
        zeros: Modules whose update is nothing.
        broken: Tensors that hold NaN or infinite values.
        unread: Tensors that are no part of a plain LoRA.
        trigger: Trigger words; like the base, epoch and step: empty when the file is silent.
        autov2: First 10 digits of `sha256`, as Civitai shows it.
        autov3: First 12 digits of the SHA-256 of the tensors alone.
        hash_agrees: Whether the hash in the header is that of the tensors; None without one.
    """

    name: str
    bytes: int
    layout: str
    family: str
    ranks: dict[int, int]
    alphas: dict[float, int]
    modules: dict[str, int]
    formats: dict[str, int]
    norm_min: float
    norm_median: float
    norm_max: float
    strongest: list[tuple[str, float]]
    zeros: list[str]
    broken: list[str]
    unread: list[str]
    trigger: str
    base: str
    epoch: str
    step: str
    sha256: str
    autov2: str
    autov3: str
    hash_agrees: bool | None
    metadata: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return asdict(self)


def inspect(path: Path) -> Inspection:
    """Open a LoRA file of any family and measure it.

    Raises:
        AdapterError: It is no LoRA file, or damaged.
    """
    file = read(path)
    tensors = file.tensors()
    alphas = file.alphas(tensors)
    norms = _norms(file, tensors, alphas)
    lengths = list(norms.values()) or [0.0]
    whole, data = hash_file(path), _hash_of_tensors(path)
    metadata = file.metadata
    declared = metadata.get("sshs_model_hash")
    return Inspection(
        name=path.name,
        bytes=path.stat().st_size,
        layout=file.layout,
        family=file.family,
        ranks=dict(Counter(file.ranks.values()).most_common()),
        alphas=dict(Counter(alphas.values()).most_common()),
        modules=dict(Counter(_part(name) for name in file.pairs)),
        formats=dict(Counter(file.formats.values()).most_common()),
        norm_min=min(lengths),
        norm_median=statistics.median(lengths),
        norm_max=max(lengths),
        strongest=sorted(norms.items(), key=lambda item: -item[1])[:_STRONGEST],
        zeros=[name for name, norm in norms.items() if norm == 0],
        broken=_broken(tensors),
        unread=file.unread,
        trigger=_first(metadata, "sweetspot.trigger", "modelspec.trigger_phrase"),
        base=_first(metadata, "sweetspot.base_hash", "ss_sd_model_name", "ss_sd_model_hash"),
        epoch=_first(metadata, "ss_epoch"),
        step=_first(metadata, "ss_steps"),
        sha256=whole,
        autov2=whole[:10],
        autov3=data[:12],
        hash_agrees=None if declared is None else declared == data,
        metadata=metadata,
    )


def _norms(
    file: LoraFile, tensors: Mapping[str, Tensor], alphas: Mapping[str, float]
) -> dict[str, float]:
    return {
        name: product_norm(tensors[pair.a], tensors[pair.b]) * alphas[name] / rank
        for (name, pair), rank in zip(file.pairs.items(), file.ranks.values(), strict=True)
    }


def _part(name: str) -> str:
    """`lora_te1` of `lora_te1_text_model_...`, `unet` of `unet.down_blocks...`."""
    found = re.match(r"lora_(unet|te\d?|transformer)(?=_)", name)
    return found[0] if found else name.split(".", maxsplit=1)[0]


def _broken(tensors: Mapping[str, Tensor]) -> list[str]:
    import torch

    return [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]


def _first(metadata: Mapping[str, str], *keys: str) -> str:
    return next((metadata[key] for key in keys if metadata.get(key)), "")


def _hash_of_tensors(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        return hashlib.file_digest(file, "sha256").hexdigest()
