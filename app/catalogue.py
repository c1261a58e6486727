"""All presets as a page or a list shows them: what each is for, and its settings in words."""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from app import library
from app.library import Entry
from trainer.core.errors import ConfigError, UserError
from trainer.core.schema import FieldSpec
from trainer.core.trees import Tree
from trainer.job.layers import differences, job_of
from trainer.job.preset import Preset
from trainer.job.rates import effective_rate, rate_in_words

_CARD = re.compile(r"(\d+) ?gb", re.IGNORECASE)
PURPOSES = ("subject", "character", "style", "object")
"""What the presets that ship are for; others' are told by the same tags."""


@dataclass(slots=True)
class Catalogue:
    """The presets of this machine; files are read again when one of them changed."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stamp: tuple[object, ...] = ()
    _entries: dict[str, Entry] = field(default_factory=dict)
    _problems: list[UserError] = field(default_factory=list)
    _rows: list[dict[str, Any]] = field(default_factory=list)

    def rows(self) -> list[dict[str, Any]]:
        """A card for each preset."""
        self._read()
        return self._rows

    @property
    def problems(self) -> list[UserError]:
        """Files that cannot be used."""
        self._read()
        return self._problems

    def find(self, ref: str) -> Entry:
        """The preset of LIBRARY/NAME.

        Raises:
            ConfigError: It is not there, or not any more.
        """
        self._read()
        if ref not in self._entries:
            raise ConfigError(f"there is no preset {ref[:120]!r} any more", where=ref[:120])
        return self._entries[ref]

    def _read(self) -> None:
        with self._lock:
            stamp = library.stamp()
            if stamp == self._stamp:
                return
            problems: list[UserError] = []
            found: dict[str, Entry] = {}
            for entry in library.entries(problems):
                found.setdefault(f"{entry.shelf}/{entry.preset.name}", entry)
            named: dict[str, list[Entry]] = {}
            for entry in found.values():
                named.setdefault(entry.preset.name, []).append(entry)
            self._rows = [
                _row(ref, entry, library.meant(named[entry.preset.name]))
                for ref, entry in found.items()
            ]
            self._entries, self._problems, self._stamp = found, problems, stamp


def _row(ref: str, entry: Entry, meant: list[Entry]) -> dict[str, Any]:
    """A card; `call` is what a job calls the preset by."""
    call = entry.preset.name if meant == [entry] else ref
    own = entry.shelf == library.OWN
    return {"ref": ref, "call": call, "shelf": entry.shelf, "own": own, **told(entry.preset)}


def told(preset: Preset) -> dict[str, Any]:
    """What a preset says of itself, and the numbers that people compare."""
    about = preset.about.model_dump(mode="json")
    job = job_of(preset)
    count = job.schedule.steps or job.schedule.epochs or 10
    what = "step" if job.schedule.steps else "epoch"
    return {
        **about,
        "family": preset.family,
        "purpose": next((tag for tag in about["tags"] if tag.lower() in PURPOSES), "").lower(),
        "card": _card(preset),
        "resolution": job.model.resolution if "model" in preset.settings else None,
        "rank": job.adapter.rank,
        "alpha": job.adapter.alpha,
        "rate": job.optimizer.learning_rate,
        "effective": effective_rate(job),
        "rate_in_words": rate_in_words(job),
        "length": f"{count} {what}" if count == 1 else f"{count} {what}s",
        "batch": job.schedule.batch_size,
    }


def changes(below: Tree, above: Tree) -> list[dict[str, Any]]:
    """The settings that differ, in words."""
    return [
        {
            "path": spec.path,
            "group": spec.group.replace("_", " "),
            "label": spec.label,
            "help": spec.help,
            "unit": spec.knob.unit,
            "one": in_words(one),
            "other": in_words(other),
        }
        for spec, one, other in _once(below, above)
    ]


def in_words(value: Any) -> str:
    """A value as a person reads it; empty for none."""
    match value:
        case None | "" | [] | {}:
            return ""
        case bool():
            return "on" if value else "off"
        case float():
            return f"{value:g}"
        case list() | tuple():
            return ", ".join(in_words(one) for one in value)
    return str(value)


def _once(below: Tree, above: Tree) -> Iterator[tuple[FieldSpec, Any, Any]]:
    seen = set()
    for spec, one, other in differences(below, above):
        if spec.path not in seen:
            seen.add(spec.path)
            yield spec, one, other


def _card(preset: Preset) -> int:
    """GB of memory of the card that it is for; 0 when it says nothing of that."""
    found = [_CARD.fullmatch(tag.strip()) for tag in preset.about.tags]
    return next((int(match[1]) for match in found if match), 0)


@functools.cache
def shared() -> Catalogue:
    """The one of this process."""
    return Catalogue()
