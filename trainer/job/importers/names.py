"""What a base model and a run are called."""

from __future__ import annotations

import re
from typing import Any

from trainer.job.importers.account import Draft
from trainer.job.importers.reading import Key
from trainer.job.importers.values import shown


def take_name(draft: Draft, key: Key, value: Any) -> None:
    """A name, as files can have it."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", str(value)).strip("-._")[:64]
    if name:
        draft.take(key, "name", name)
    else:
        draft.tell(key, "explained", f"{shown(value)} has no letter that a file's name can have")


def take_base(draft: Draft, key: Key, value: Any) -> None:
    """The base model, wherever it lies."""
    name, odd = str(value), ""
    if name.lower().endswith((".ckpt", ".pt", ".pth", ".bin")):
        odd = "a pickle, which can run code when it is opened; Sweetspot reads none"
    single = name.lower().endswith(".safetensors")
    draft.take(key, "model.base", name, "a single file" if single else "", odd)
