"""SimpleTuner's data backends: folders of pictures, and caches that need no entry here."""

from __future__ import annotations

from typing import Any

from trainer.job.importers.account import Draft
from trainer.job.importers.pictures import take_folder, take_prior
from trainer.job.importers.reading import Key
from trainer.job.importers.rules import is_off, number_or_none
from trainer.job.importers.values import is_unset

BACKENDS = "data_backend_config"
_CLASS = ("is_regularisation_data", "is_regularization_data")


def said(draft: Draft, *key: str) -> Any:
    """A value, or None where it says nothing."""
    value = draft.leaves.get(key)
    return None if is_unset(value) else value


def is_backends(tree: Any) -> bool:
    """Whether values are those of a file of data backends."""
    return isinstance(tree, list) and any(
        isinstance(one, dict) and "id" in one and bool({"type", "dataset_type"} & one.keys())
        for one in tree
    )


def take_backends(draft: Draft) -> None:
    """The first backend of pictures, and the first of class pictures."""
    places = [key for key in draft.leaves if len(key) == 3 and key[0] == BACKENDS
              and key[2] == "id"]  # fmt: skip
    taken = prior = False
    for key in places:
        at = key[:2]
        kind = str(said(draft, *at, "dataset_type") or "image").lower()
        off = not is_off(draft.leaves.get((*at, "disabled")))
        folder = (*at, "instance_data_dir")
        if kind != "image" or off:
            continue
        is_class = any(not is_off(draft.leaves.get((*at, name))) for name in _CLASS)
        if is_class:
            if not prior and said(draft, *folder) is not None:
                prior = True
                take_prior(draft, folder, said(draft, *folder))
        elif taken:
            if said(draft, *folder) is not None:
                same = draft.chosen.get("dataset.folder") is not None
                draft.tell(folder, "suspicious" if same else "explained",
                           "Sweetspot trains one folder: the first is taken")  # fmt: skip
        else:
            taken = True
            _backend(draft, at)


def _backend(draft: Draft, at: Key) -> None:
    folder = (*at, "instance_data_dir")
    if said(draft, *folder) is not None:
        take_folder(draft, folder, said(draft, *folder))
    elif said(draft, *at, "type") is not None:
        told = "unsupported: pictures from elsewhere than a folder; fetch them into one"
        draft.tell((*at, "type"), "explained", told)
    repeats = number_or_none(said(draft, *at, "repeats"))
    if repeats is not None and repeats >= 0:
        draft.take((*at, "repeats"), "dataset.repeats", round(repeats) + 1,
                   "one more: SimpleTuner counts repeats after the first")  # fmt: skip
    if said(draft, *at, "instance_prompt") is not None:
        words = str(said(draft, *at, "instance_prompt"))
        if "{" not in words:
            draft.take((*at, "instance_prompt"), "dataset.template", words)
    _size(draft, at)


def _size(draft: Draft, at: Key) -> None:
    """A resolution in pixels of area, of the short edge, or in megapixels."""
    for where in (at, ()):
        key = (*where, "resolution")
        asked = number_or_none(said(draft, *key))
        if asked is None or asked <= 0:
            continue
        kind = str(said(draft, *where, "resolution_type") or "").lower()
        area = kind == "area" or asked < 16
        side = asked**0.5 * 1024 if area else asked
        told = "from megapixels" if area else ""
        draft.take(key, "model.resolution", max(8, round(side / 8) * 8), told)
        return
