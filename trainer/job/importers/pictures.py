"""Folders of pictures as other trainers name them: `10_sks dog`, subsets, class pictures."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from trainer.job.importers.account import Draft
from trainer.job.importers.reading import Key
from trainer.job.importers.rules import looked_for
from trainer.job.importers.values import UnreadableError, numbers, shown

_KOHYA = re.compile(r"(\d{1,4})_(.+)")
_MOST_FOLDERS = 10_000


def take_folder(draft: Draft, key: Key, written: Any) -> None:
    """The folder of pictures; what `10_sks dog` says is read from it, or from its own name."""
    if not isinstance(written, str):
        draft.tell(key, "suspicious", f"not taken over: {shown(written)} is no folder")
        return
    found = looked_for(written, draft.folder)
    path = str(found.resolve()) if found is not None and found.is_dir() else written
    there = found is not None and found.is_dir()
    draft.take(key, "dataset.folder", path, "" if there else "it is not on this machine")
    names = _inner(Path(path)) if there else []
    own = _KOHYA.fullmatch(_last(written))
    if own is not None:
        _take_words(draft, key, own[2])
        if 1 <= int(own[1]) <= 1000:
            draft.take(key, "dataset.repeats", int(own[1]), "from the folder's name")
    elif len(names) == 1:
        _take_words(draft, key, names[0])
    elif names:
        draft.tell(key, "mapped", f"{len(names)} folders in it; each one's name is its caption")


def take_prior(draft: Draft, key: Key, written: Any) -> None:
    """The folder of class pictures, which turns prior preservation on."""
    if not isinstance(written, str):
        draft.tell(key, "suspicious", f"not taken over: {shown(written)} is no folder")
        return
    found = looked_for(written, draft.folder)
    there = found is not None and found.is_dir()
    path = str(found.resolve()) if found is not None and there else written
    draft.take(key, "prior.folder", path, "" if there else "it is not on this machine")
    own = _KOHYA.fullmatch(_last(written))
    names = [own[2]] if own else _inner(Path(path)) if there else []
    if len(names) == 1:
        draft.take(key, "prior.prompt", f"a {names[0].strip()}", "from the folder's name")
    draft.settle(key, "prior.enabled", True)


def take_largest(draft: Draft, key: Key, written: Any) -> None:
    """The training size, which of several is the largest."""
    try:
        found = numbers(written)
        largest = max(8, round(max(found) / 8) * 8)
    except (UnreadableError, ValueError):
        draft.tell(key, "suspicious", f"not taken over: {shown(written)} is no size")
        return
    odd = "Sweetspot trains at one size: the largest is taken" if len(found) > 1 else ""
    if draft.chosen.get("model.resolution", 0) > largest:
        draft.tell(key, "suspicious", "another folder's size is taken")
    else:
        draft.take(key, "model.resolution", largest, odd=odd)


def _last(written: str) -> str:
    return written.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _inner(folder: Path) -> list[str]:
    """What follows the number in the names of kohya's folders."""
    names: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for count, entry in enumerate(entries):
                match = _KOHYA.fullmatch(entry.name)
                if match and entry.is_dir():
                    names.append(match[2])
                if count > _MOST_FOLDERS:
                    break
    except OSError:
        return []
    return sorted(names)


def _take_words(draft: Draft, key: Key, words: str) -> None:
    """`sks dog`: the first word calls it up, the others are its class."""
    trigger, _, kind = words.strip().partition(" ")
    if kind:
        draft.take(key, "dataset.trigger", trigger, "from the folder's name")
        draft.take(key, "dataset.class_word", kind.strip(), "from the folder's name")
    elif trigger:
        draft.take(key, "dataset.class_word", trigger, "from the folder's name")


def take_words(draft: Draft, key: Key, words: Any) -> None:
    """The same from a setting of its own, such as `class_tokens`."""
    if isinstance(words, str) and words.strip():
        _take_words(draft, key, words)
    else:
        draft.tell(key, "explained", "it is left empty")
