"""Adapters that are more than a plain LoRA, told by the names of their tensors."""

from __future__ import annotations

from collections.abc import Iterable

from trainer.core.errors import AdapterError
from trainer.weights.adapter import listed

_MARKS = {
    "dora_scale": "DoRA",
    "lora_magnitude_vector": "DoRA",
    "hada_w": "LoHa",
    "lokr_w": "LoKr",
    "oft_blocks": "OFT",
    "oft_diag": "OFT",
    "oft_R": "OFT",
}
"""How the last words of a tensor's name begin, by method."""


def require_plain(keys: Iterable[str], *, where: str = "") -> None:
    """Refuse another method than LoRA by its name; other keys pass.

    Raises:
        AdapterError: Some of the keys are another method's.
    """
    found: dict[str, list[str]] = {}
    for key in keys:
        for mark, method in _MARKS.items():
            if f".{mark}" in key:
                found.setdefault(method, []).append(key)
    if found:
        owned = [key for own in found.values() for key in own]
        raise AdapterError(
            f"the file is a {' and '.join(found)}, and only a plain LoRA is read: {listed(owned)}",
            where=where,
            hint="a plain LoRA; LyCORIS and other trainers convert to one",
        )
