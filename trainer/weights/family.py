"""Which base model a LoRA file was made for, told from the file alone.

Knows no family: each says in its `Naming` by what marks files for it are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.core.errors import AdapterError
from trainer.families.base import families

if TYPE_CHECKING:
    from trainer.families.naming import Naming
    from trainer.weights.layouts import Pair


def guess_family(
    metadata: Mapping[str, str], pairs: Mapping[str, Pair], shapes: Mapping[str, tuple[int, ...]]
) -> str:
    """The family whose mark the file bears most surely; "unknown" where it bears none.

    Args:
        metadata: The file's header.
        pairs: The names of A and B by module name in the file.
        shapes: Shape of each tensor by its name.
    """
    told = metadata.get("modelspec.architecture", "")
    inputs = {name: shapes[pair.a][1] for name, pair in pairs.items()}
    marks = [mark for kind in families for mark in families[kind].naming.marks]
    sure = {mark: mark.strength(told, inputs) for mark in marks}
    best = max(sure, key=sure.__getitem__)
    return best.family if sure[best] else "unknown"


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
