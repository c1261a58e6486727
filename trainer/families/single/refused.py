"""Weights that are quantised or compressed inside their file, which training cannot start from."""

from __future__ import annotations

import re

from trainer.core.errors import ModelError
from trainer.families.single.header import Header
from trainer.families.single.pending import READ

_FULL = "the same model in fp16 or bf16"
_HELD = f"{_FULL}; memory.base = {{}} then holds it as small while training"
_KINDS = (
    (r"(^|\.)scaled_fp8$|\.scale_(weight|input)$|\.(weight|input)_scale$", "scaled fp8", "'fp8'"),
    (r"\.comfy_quant$", "ComfyUI's quantised formats", "'fp8'"),
    (r"quant_state\.bitsandbytes__(nf4|fp4)$|\.(absmax|quant_map)$", "bitsandbytes' NF4", "'nf4'"),
    (r"\.SCB$|\.weight_format$", "bitsandbytes' 8 bits", "'int8'"),
    (r"\.(wscales|wzeros|smooth_factor|proj_down)$", "SVDQuant (Nunchaku)", "'nf4'"),
    (r"\.(qweight|qzeros)$", "GPTQ or AWQ", "'nf4'"),
)
"""What is found in names of tensors, what it is called, and how to hold such a model here."""


def require_plain(header: Header) -> None:
    """Refuse weights that are held in a format of their own.

    Plain fp8 (without scales) is no such format: its values are those of the weights.

    Raises:
        ModelError: They are; names the format, and what to use instead.
    """
    for found, name, held in _KINDS:
        example = next((n for n in header.tensors if re.search(found, n)), None)
        if example is not None:
            raise ModelError(
                f"its weights are held in {name} ({example!r}), which is not read",
                where=str(header.path),
                hint=_HELD.format(held),
            )


def require_floats(header: Header, names: list[str]) -> None:
    """Refuse weights in whole numbers, or in a format that torch does not hold alone.

    Raises:
        ModelError: One is.
    """
    odd = next((name for name in names if header.tensors[name].dtype not in READ), None)
    if odd is not None:
        raise ModelError(
            f"{odd!r} is held in {header.tensors[odd].dtype}, which is not read",
            where=str(header.path),
            hint=f"{_FULL}, as .safetensors",
        )
