"""Which files of a folder hold a network's weights, and whether all of them are there and whole.

A folder in Diffusers format has one file, or shards that an index lists, under a plain name or,
as downloads with `variant="fp16"` leave them, under the variant's. No tensor is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainer.core.errors import ModelError
from trainer.families.single.header import read_header

STEMS = ("diffusion_pytorch_model", "model")
"""What Diffusers and transformers call files of weights, without their ending."""

Variant = Literal["fp16"]
_VARIANTS: tuple[Variant | None, ...] = (None, "fp16")
"""The plain files go first."""


@dataclass(frozen=True, slots=True)
class Shards:
    """The files of a network's weights.

    Attributes:
        files: One, or those that an index lists, there or not.
        variant: Which they are of, as `from_pretrained` takes it; None of the plain ones.
    """

    files: tuple[Path, ...]
    variant: Variant | None

    def require_whole(self) -> None:
        """Check that every file is there, and by its header that it is as long as it must be.

        Raises:
            ModelError: One is missing, cut short or damaged.
        """
        absent = [file for file in self.files if not file.is_file()]
        if absent:
            raise ModelError(
                f"{len(absent)} of its {len(self.files)} files of weights are missing, the first "
                f"is {absent[0].name!r}",
                where=str(absent[0].parent),
                hint="download what is missing, or the model again",
            )
        for file in self.files:
            read_header(file)


def find_shards(folder: Path) -> Shards | None:
    """The files that a network is read from; None where there are none.

    An index all of whose files are missing does not hide another variant that is there.

    Raises:
        ModelError: An index is damaged.
    """
    told = list(_told(folder))
    there = (shards for shards in told if any(file.is_file() for file in shards.files))
    return next(there, told[0] if told else None)


def _told(folder: Path) -> Iterator[Shards]:
    for variant in _VARIANTS:
        end = f".{variant}" if variant else ""
        for stem in STEMS:
            whole = folder / f"{stem}{end}.safetensors"
            index = folder / f"{stem}.safetensors.index{end}.json"
            if whole.is_file():
                yield Shards((whole,), variant)
            elif index.is_file():
                yield Shards(_listed(index), variant)


def _listed(index: Path) -> tuple[Path, ...]:
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        return tuple(index.parent / name for name in sorted(names))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            "this index does not list files of weights",
            where=str(index),
            hint="download the model again",
        ) from error
