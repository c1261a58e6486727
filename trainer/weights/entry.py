"""The header entry `lora_adapter_metadata`: PEFT's ranks and alphas in a Diffusers file.

A file in kohya's layout must not have it: Diffusers refuses alpha told twice.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trainer.core.errors import AdapterError

if TYPE_CHECKING:
    from trainer.families.naming import Naming
    from trainer.weights.layouts import Weights

KEY = "lora_adapter_metadata"
"""Where Diffusers looks for it."""


def write(weights: Weights, naming: Naming) -> str:
    """The header entry `lora_adapter_metadata` that belongs to `to_diffusers`.

    Few entries: one that a reader's PEFT does not know makes it refuse the file.
    """
    entries: dict[str, Any] = {}
    for part in naming.parts:
        ranks = {
            path: a.shape[0]
            for name, a, _, _ in weights
            for found, path in (naming.split(name),)
            if found is part
        }
        if not ranks:
            continue
        rank = Counter(ranks.values()).most_common(1)[0][0]
        others = {path: other for path, other in ranks.items() if other != rank}
        values = {
            "r": rank,
            "lora_alpha": rank,
            "rank_pattern": others,
            "alpha_pattern": others,
            "target_modules": sorted(ranks),
            "use_dora": False,
        }
        entries |= {f"{part.diffusers}.{key}": value for key, value in values.items()}
    return json.dumps(entries, sort_keys=True)


def read(text: str) -> dict[str, Any]:
    """The entries of `lora_adapter_metadata`; none when it is absent.

    Raises:
        AdapterError: It is not JSON.
    """
    try:
        values = json.loads(text or "{}")
    except (json.JSONDecodeError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise _unreadable("it is not a JSON object")
    return values


def alpha_of(told: Mapping[str, Any], key: str, rank: int) -> float:
    """Alpha by PEFT's rules: a pattern names the end of a path; rsLoRA divides by sqrt(rank).

    PEFT reads patterns as regular expressions; from a stranger's file only plain names are.

    Args:
        told: What `read` returned.
        key: The module as the file names it, prefix first.
        rank: What alpha is when nothing is told.

    Raises:
        AdapterError: The pattern or the alpha is of another type.
    """
    prefix = key.partition(".")[0]
    alpha = told.get(f"{prefix}.lora_alpha", rank)
    patterns = told.get(f"{prefix}.alpha_pattern") or {}
    if not isinstance(patterns, dict):
        raise _unreadable("its alpha_pattern is no table")
    for pattern, value in patterns.items():
        if not re.fullmatch(r"[\w.]+", pattern):
            raise _unreadable(f"its alpha_pattern {pattern!r} is no module's name")
        if key.endswith(f".{pattern}"):
            alpha = value
    if not isinstance(alpha, int | float):
        raise _unreadable(f"its alpha is {alpha!r}")
    return alpha * (math.sqrt(rank) if told.get(f"{prefix}.use_rslora") else 1.0)


def _unreadable(why: str) -> AdapterError:
    return AdapterError(
        f"the header's lora_adapter_metadata cannot be read: {why}",
        hint="the same LoRA in kohya's layout",
    )
