"""sd-scripts' datasets: `[general]` over `[[datasets]]` over `[[datasets.subsets]]`.

A value counts for all below it. Sweetspot trains one folder at one size; what differs between
subsets is taken of the first.
"""

from __future__ import annotations

from typing import Any

from trainer.job.importers.account import Draft
from trainer.job.importers.kohya_keys import TABLE
from trainer.job.importers.pictures import take_folder, take_prior, take_words
from trainer.job.importers.reading import Key
from trainer.job.importers.rules import (
    Decides,
    Maps,
    Rule,
    Says,
    each,
    is_on,
    number_or_none,
    take,
)
from trainer.job.importers.values import UnreadableError, flag, is_unset, side

_FIRST = "Sweetspot trains one folder at one size: the first subset's is taken"
_SHARED = [
    "shuffle_caption",
    "keep_tokens",
    "flip_aug",
    "caption_dropout_rate",
    "caption_tag_dropout_rate",
    "enable_bucket",
    "bucket_reso_steps",
    "bucket_no_upscale",
    "prior_loss_weight",
    "validation_split",
    "caption_extension",
    "color_aug",
    "random_crop",
    "keep_tokens_separator",
    "secondary_separator",
    "caption_separator",
    "enable_wildcard",
    "caption_prefix",
    "caption_suffix",
    "token_warmup_min",
    "token_warmup_step",
    "caption_dropout_every_n_epochs",
    "min_bucket_reso",
    "max_bucket_reso",
    "resize_interpolation",
    "face_crop_aug_range",
    "cache_info",
    "alpha_mask",
    "debug_dataset",
    "max_token_length",
    "validation_seed",
    "conditioning_data_dir",
]
_ONE: dict[str, Rule] = {
    **{name: TABLE[name] for name in _SHARED},
    "batch_size": Maps("schedule.batch_size"),
    "num_repeats": Decides("dataset.repeats"),
    "image_dir": Decides("dataset.folder, prior.folder"),
    "class_tokens": Decides("dataset.trigger, dataset.class_word, prior.prompt"),
    "is_reg": Decides("prior.enabled"),
    "resolution": Decides("model.resolution", "the square of the same area"),
    "metadata_file": Says("captions are read from .txt files beside the pictures, or a "
                          "metadata.jsonl among them"),
    "network_multiplier": Says("unsupported: how strongly the adapter acts while it trains"),
    "custom_attributes": Says("attributes of their own"),
    "custom_attributes.**": Says("attributes of their own"),
}  # fmt: skip
SETS: dict[str, Rule] = {
    f"{place}{name}": rule
    for place in ("general.", "datasets.*.", "datasets.*.subsets.*.")
    for name, rule in _ONE.items()
}
SETS |= each("datasets general datasets.*.subsets datasets.* datasets.*.subsets.*",
             Says("a table without values"))  # fmt: skip


def is_sets(tree: Any) -> bool:
    """Whether values are those of a file of datasets."""
    sets = tree.get("datasets") if isinstance(tree, dict) else None
    return isinstance(sets, list) and any(
        isinstance(one, dict) and ("subsets" in one or "resolution" in one) for one in sets
    )


def take_sets(draft: Draft, before: Key) -> None:
    """Take the first subset's pictures and the first class pictures over.

    Args:
        draft: The translation.
        before: What stands before the keys: the name of a second file, or nothing.
    """
    sizes: list[Key] = []
    folders: list[Key] = []
    start = len(before)
    for key, value in draft.leaves.items():
        if key[:start] != before or key[start : start + 1] not in (("datasets",), ("general",)):
            continue
        if key[-1] == "resolution" and not is_unset(value):
            sizes.append(key)
        elif key[-1] == "image_dir" and not is_unset(value):
            folders.append(key)
    _sizes(draft, sizes)
    own = [key for key in folders if not _is_class(draft, key)]
    for key in own[1:]:
        same = draft.leaves[key] == draft.leaves[own[0]]
        draft.tell(key, "explained" if same else "suspicious", "the same" if same else _FIRST)
    if own:
        take_folder(draft, own[0], draft.leaves[own[0]])
        _beside(draft, own[0])
    _classes(draft, [key for key in folders if _is_class(draft, key)])
    _repeats(draft, own)
    _once(draft, before)


def _sizes(draft: Draft, keys: list[Key]) -> None:
    for index, key in enumerate(keys):
        try:
            asked = side(draft.leaves[key])
        except UnreadableError as error:
            draft.tell(key, "suspicious", f"not taken over: {error}")
            continue
        if index and asked != draft.chosen.get("model.resolution"):
            draft.tell(key, "suspicious", f"{_FIRST}; this one is {asked} px")
        else:
            draft.take(key, "model.resolution", asked)


def _is_class(draft: Draft, key: Key) -> bool:
    try:
        return flag(draft.leaves.get((*key[:-1], "is_reg")))
    except UnreadableError:
        return False


def _beside(draft: Draft, key: Key) -> None:
    """What stands beside the folder: its words."""
    words = (*key[:-1], "class_tokens")
    if not is_unset(draft.leaves.get(words)):
        take_words(draft, words, draft.leaves[words])


def _classes(draft: Draft, keys: list[Key]) -> None:
    for index, key in enumerate(keys):
        switch = (*key[:-1], "is_reg")
        words = (*key[:-1], "class_tokens")
        if index:
            draft.tell(key, "suspicious", "one folder of class pictures: the first is taken")
            draft.tell(switch, "explained", "another one's")
            continue
        take_prior(draft, key, draft.leaves[key])
        draft.settle(switch, "prior.enabled", True)
        told = draft.leaves.get(words)
        if isinstance(told, str) and told.strip():
            draft.take(words, "prior.prompt", f"a {told.strip()}")


def _repeats(draft: Draft, own: list[Key]) -> None:
    found = [(*key[:-1], "num_repeats") for key in own]
    found = [key for key in found if number_or_none(draft.leaves.get(key)) is not None]
    for index, key in enumerate(found):
        if not index:
            take(draft, key, draft.leaves[key], Maps("dataset.repeats"))
        elif draft.leaves[key] != draft.leaves[found[0]]:
            draft.tell(key, "suspicious", _FIRST)
        else:
            draft.tell(key, "explained", "the same")


def _once(draft: Draft, before: Key) -> None:
    """Of a setting that stands in several places, the first counts."""
    seen: dict[str, Any] = {}
    for key, value in draft.leaves.items():
        inside = key[: len(before)] == before and key not in draft.lines
        if not inside or not isinstance(_ONE.get(key[-1]), Maps) or is_unset(value):
            continue
        if key[-1] in seen and seen[key[-1]] != value:
            draft.tell(key, "suspicious", f"{_FIRST} ({key[-1]} was said before)")
        seen.setdefault(key[-1], value)


__all__ = ["SETS", "is_on", "is_sets", "take_sets"]
