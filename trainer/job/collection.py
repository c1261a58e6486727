"""Collections: the presets of a family, written once for each purpose and each card.

    collection = 1
    name = "sdxl"
    [about]                      what all have in common
    [job.model]                  the family's settings
    [[purpose]]                  subject, character, style, object: name, sentence, sources, job
    [[card]]                     8gb, 12gb, ...: the same

Each purpose with each card is a preset, `sdxl-character-12gb`: the family's settings, the
purpose's over them and the card's over those.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from trainer.core import toml
from trainer.core.schema import Config
from trainer.core.trees import Tree, merge
from trainer.job.preset import FORMAT, Line, Preset, PresetName, Sentence, from_values, read_text

Sources = Annotated[tuple[Sentence, ...], Field(max_length=20)]


class Common(Config):
    """What a collection's presets say of themselves."""

    author: Line = ""
    licence: Line = ""
    sources: Sources = ()


class Part(Config):
    """A purpose or a card.

    Attributes of a preset that both have are put one after the other.
    """

    name: PresetName
    sentence: Sentence
    tested: Sentence = ""
    sources: Sources = ()
    job: dict[str, Any] = {}


class Collection(Config):
    """A file of presets."""

    collection: Annotated[int, Field(ge=1, le=1)]
    name: PresetName
    about: Common = Common()
    job: dict[str, Any] = {}
    purpose: tuple[Part, ...]
    card: tuple[Part, ...]


def is_collection(values: Tree) -> bool:
    """Whether a file's values are a collection's."""
    return "collection" in values


def load_collection(path: Path) -> Iterator[Preset]:
    """The presets of a collection, purpose by purpose.

    Raises:
        ConfigError: It cannot be read, or one of its presets is impossible.
    """
    yield from expand(toml.parse_text(read_text(path), str(path)), str(path))


def expand(values: Tree, where: str) -> Iterator[Preset]:
    """The presets of a collection from its plain values; see `load_collection`."""
    found = toml.parse(Collection, values)
    for purpose in found.purpose:
        for card in found.card:
            name = f"{found.name}-{purpose.name}-{card.name}"
            about = {
                **found.about.model_dump(),
                "name": name,
                "sentence": f"{purpose.sentence} {card.sentence}",
                "tested": " ".join(part for part in (purpose.tested, card.tested) if part),
                "tags": (found.name, purpose.name, card.name),
                "sources": tuple(
                    dict.fromkeys((*found.about.sources, *purpose.sources, *card.sources))
                ),
            }
            job = merge(merge(found.job, purpose.job), card.job)
            yield from_values({"preset": FORMAT, "about": about, "job": job}, f"{where}: {name}")
