"""OneTrainer's concepts and samples, in the settings or in files beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trainer.job.importers.account import Draft
from trainer.job.importers.beside import read_beside
from trainer.job.importers.onetrainer_keys import CONCEPT
from trainer.job.importers.pictures import take_folder, take_prior
from trainer.job.importers.prompts import take_prompts
from trainer.job.importers.reading import Key
from trainer.job.importers.rules import Maps, is_off, number_or_none, take
from trainer.job.importers.values import is_unset


def concepts(draft: Draft) -> None:
    """Folders of pictures, in the file or in one beside it."""
    read_beside(draft, ("concept_file_name",), _holds("path", "type"), label="concepts.json")
    places = [key for key in draft.leaves if key[-1] == "path" and _in_concept(key)
              and not is_unset(draft.leaves[key])]  # fmt: skip
    there = [key for key in places if not _says_no(draft, (*key[:-1], "enabled"))]
    for key in set(places) - set(there):
        draft.tell(key, "explained", "this concept is turned off")
    own = [k for k in there if "PRIOR" not in str(said(draft, *k[:-1], "type") or "").upper()]
    for index, key in enumerate(own):
        if index:
            told = "Sweetspot trains one folder: the first is taken"
            draft.tell(key, "suspicious", told)
            continue
        take_folder(draft, key, draft.leaves[key])
        _concept(draft, key[:-1])
    for key in [k for k in there if k not in own][:1]:
        take_prior(draft, key, draft.leaves[key])


def _concept(draft: Draft, at: Key) -> None:
    """The first concept's settings; those of others are told of by the table."""
    repeats = number_or_none(said(draft, *at, "balancing"))
    strategy = str(said(draft, *at, "balancing_strategy") or "REPEATS").upper()
    if repeats is not None and strategy == "REPEATS" and repeats >= 1:
        rounded = "" if repeats == round(repeats) else "rounded"
        draft.take((*at, "balancing"), "dataset.repeats", round(repeats), rounded)
    chance = number_or_none(said(draft, *at, "text", "tag_dropout_probability"))
    if chance and not is_off(draft.leaves.get((*at, "text", "tag_dropout_enable"))):
        draft.take((*at, "text", "tag_dropout_probability"), "dataset.tag_dropout", chance)
    for inner, rule in CONCEPT.items():
        key = (*at, *inner.split("."))
        if isinstance(rule, Maps) and not is_unset(draft.leaves.get(key)):
            take(draft, key, draft.leaves[key], rule)


def _in_concept(key: Key) -> bool:
    return len(key) == 3 and (key[0] == "concepts" or key[0].endswith(".json"))


def _says_no(draft: Draft, key: Key) -> bool:
    return key in draft.leaves and is_off(draft.leaves[key])


def samples(draft: Draft) -> None:
    """Prompts, in the file or in one beside it."""
    read_beside(draft, ("sample_definition_file_name",), _holds("prompt"), label="samples.json")
    keys = [k for k in draft.leaves if k[-1] == "prompt" and len(k) == 3
            and not is_unset(draft.leaves[k])]  # fmt: skip
    prompts = [str(draft.leaves[key]).replace("\n", " ") for key in keys]
    if prompts:
        take_prompts(draft, keys[0], prompts)
        for key in keys[1:]:
            draft.tell(key, "mapped", "one of samples.prompts", "samples.prompts")


def said(draft: Draft, *key: str) -> Any:
    """A value, or None where it says nothing."""
    value = draft.leaves.get(key)
    return None if is_unset(value) else value


def _holds(*marks: str) -> Callable[[Any], bool]:
    """Whether values are a list of tables with one of these names in each."""

    def fits(tree: Any) -> bool:
        return isinstance(tree, list) and all(
            isinstance(one, dict) and set(marks) & one.keys() for one in tree
        )

    return fits
