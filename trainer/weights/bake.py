"""A copy of a LoRA file with a strength multiplied in, so that 1 is what was chosen.

It knows no model family: in kohya's layout the strength goes into alpha, which loses nothing,
in the Diffusers layout into B, since not every reader looks at alpha there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.core.errors import AdapterError
from trainer.weights.adapter import listed
from trainer.weights.files import LoraFile, read, write

if TYPE_CHECKING:
    from torch import Tensor


def bake(
    source: Path, to: Path, strength: float, extra: Mapping[str, str], *, overwrite: bool = False
) -> None:
    """Copy a LoRA file of any family, the strength multiplied in, the tensors' formats kept.

    Args:
        source: Never written to.
        to: The new file.
        strength: What the copy does at strength 1; 1 is a plain copy with `extra`.
        extra: Header entries to add or to replace.
        overwrite: Whether a file that is already at `to` may be replaced.

    Raises:
        AdapterError: `source` is no plain LoRA or damaged, `to` is taken or is `source`, or the
            strength makes a file that does nothing or values that its format cannot hold.
        ResourceError: The disk is full, or the place cannot be written.
    """
    file = read(source)
    _require_place(source, to, overwrite=overwrite)
    tensors = file.tensors()
    entries = {**file.metadata, **extra}
    if strength != 1:
        _require_scalable(file, strength)
        if file.layout == "kohya":
            tensors |= _alphas(file, tensors, strength)
            entries |= _told_alphas(file.metadata, strength)
        else:
            tensors |= _ups(file, tensors, strength)
    write(to, tensors, entries)


def _require_place(source: Path, to: Path, *, overwrite: bool) -> None:
    if to.is_dir():
        raise AdapterError("this is a folder", where=str(to), hint="a file name in it")
    if to.exists() and to.samefile(source):
        raise AdapterError(
            "the copy would replace the file that it is made from",
            where=str(to),
            hint="another name: a strength that is multiplied in cannot be taken out again",
        )
    if to.exists() and not overwrite:
        raise AdapterError(
            "there is a file already, and it is not overwritten unasked",
            where=str(to),
            hint="another name, or overwrite it",
        )


def _require_scalable(file: LoraFile, strength: float) -> None:
    if not math.isfinite(strength) or strength == 0:
        raise AdapterError(
            f"a LoRA baked at strength {strength:g} would do nothing of use",
            where=str(file.path),
            hint="a strength such as 0.6",
        )
    if file.unread:
        raise AdapterError(
            f"{len(file.unread)} of its tensors are no plain LoRA's ({listed(file.unread)}), so "
            "its strength cannot be multiplied in",
            where=str(file.path),
            hint=f"keep it as it is, and use it at strength {strength:g}",
        )


def _alphas(file: LoraFile, tensors: Mapping[str, Tensor], strength: float) -> dict[str, Tensor]:
    """Every module's alpha in fp32, since 16 bits do not hold every number."""
    import torch

    return {
        pair.alpha or f"{name}.alpha": (
            tensors[pair.alpha].float() if pair.alpha else torch.tensor(float(file.ranks[name]))
        )
        * strength
        for name, pair in file.pairs.items()
    }


def _ups(file: LoraFile, tensors: Mapping[str, Tensor], strength: float) -> dict[str, Tensor]:
    """Every module's B; alpha, and so `lora_adapter_metadata`, stays true as it is."""
    scaled: dict[str, Tensor] = {}
    for pair in file.pairs.values():
        up = tensors[pair.b]
        scaled[pair.b] = (up.float() * strength).to(up.dtype)
        if not bool(scaled[pair.b].float().isfinite().all()):
            raise AdapterError(
                f"{pair.b!r} at strength {strength:g} holds values that {file.formats[pair.b]} "
                "cannot hold",
                where=str(file.path),
                hint="a lower strength, or keep the file as it is",
            )
    return scaled


def _told_alphas(metadata: Mapping[str, str], strength: float) -> dict[str, str]:
    """sd-scripts' entries that tell alpha, by the same strength."""
    entries: dict[str, str] = {}
    alpha = _scaled(metadata.get("ss_network_alpha"), strength)
    if alpha:
        entries["ss_network_alpha"] = alpha
    try:
        told = json.loads(metadata.get("ss_network_args", "null"))
    except (json.JSONDecodeError, RecursionError):
        return entries  # a reader cannot take an alpha from it either
    conv = _scaled(told.get("conv_alpha"), strength) if isinstance(told, dict) else None
    if conv:
        entries["ss_network_args"] = json.dumps({**told, "conv_alpha": conv})
    return entries


def _scaled(number: object, strength: float) -> str | None:
    """A number told as text, scaled; None where it is none ("None" is what sd-scripts writes)."""
    try:
        value = float(str(number))
    except ValueError:
        return None
    return f"{value * strength:.9g}"
