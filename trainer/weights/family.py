"""Which base model a LoRA file was made for, told from the file alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.core.errors import AdapterError

if TYPE_CHECKING:
    from trainer.families.naming import Naming
    from trainer.weights.layouts import Pair

_TEXT_WIDTHS = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", 2048: "SDXL"}
"""Families by the width of the text that cross attention reads."""


def guess_family(
    metadata: Mapping[str, str], pairs: Mapping[str, Pair], shapes: Mapping[str, tuple[int, ...]]
) -> str:
    """The family by what the header says, else by names and shapes; "unknown" if they are mute.

    Args:
        metadata: The file's header.
        pairs: The names of A and B by module name in the file.
        shapes: Shape of each tensor by its name.
    """
    told = metadata.get("modelspec.architecture", "")
    names = list(pairs)
    if told.startswith("flux") or any(_is_flux(name) for name in names):
        return "FLUX.1"
    if told.startswith("stable-diffusion-xl") or any(_is_sdxl(name) for name in names):
        return "SDXL"
    for generation, family in (("v1", _TEXT_WIDTHS[768]), ("v2", _TEXT_WIDTHS[1024])):
        if told.startswith(f"stable-diffusion-{generation}"):
            return family
    for name, pair in pairs.items():
        if re.search(r"attn2[._]to_[kv]$", name):
            return _TEXT_WIDTHS.get(shapes[pair.a][1], "unknown")
    return "unknown"


def require_family(family: str, naming: Naming, path: Path) -> None:
    """Refuse a LoRA for another family than a base model's.

    Args:
        family: What `guess_family` found; "unknown" passes.
        naming: The base model's.
        path: The LoRA file.

    Raises:
        AdapterError: It is another one.
    """
    if naming.families and family not in (*naming.families, "unknown"):
        raise AdapterError(
            f"the LoRA was made for {family}, and the base model is {' or '.join(naming.families)}",
            where=str(path),
            hint=f"a base model of {family}",
        )


def _is_flux(name: str) -> bool:
    return bool(re.search(r"double_blocks|single_blocks|single_transformer_blocks", name))


def _is_sdxl(name: str) -> bool:
    return bool(re.match(r"lora_te2_|text_encoder_2\.|lora_unet_(input|middle|output)_block", name))
