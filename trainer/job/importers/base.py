"""What an importer is: a file that knows one trainer's settings, found by looking."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trainer.core.errors import ConfigError
from trainer.job.importers.account import Draft, Imported
from trainer.job.importers.judging import judge
from trainer.job.importers.reading import Source, leaves, read
from trainer.job.importers.rules import Table
from trainer.job.importers.values import shown

PACKAGE = "trainer.job.importers"


@dataclass(frozen=True, slots=True)
class Importer:
    """One trainer's settings.

    Attributes:
        name: The trainer's.
        reads: Which files, in words.
        recognise: Whether a file is one of them.
        opened: The file's values with packed texts opened, so that each key has an account.
        translate: Tells of every key of a draft.
        table: What each key is, for the documentation and for what `translate` leaves.
        own: Those of the table that are not sd-scripts' too; none where it is a table of its own.
        place: Where in the order of asking; files that others would take too are asked late.
    """

    name: str
    reads: str
    recognise: Callable[[Source], bool]
    opened: Callable[[Source], object]
    translate: Callable[[Draft], None]
    table: Table = field(default_factory=dict)
    own: Table = field(default_factory=dict)
    place: int = 10


@functools.cache
def importers() -> Mapping[str, Importer]:
    """All importers by their file's name, in the order they are asked."""
    package = importlib.import_module(PACKAGE)
    found: dict[str, Importer] = {}
    for module in pkgutil.iter_modules(package.__path__):
        importer = getattr(importlib.import_module(f"{PACKAGE}.{module.name}"), "IMPORTER", None)
        if isinstance(importer, Importer):
            found[module.name] = importer
    return dict(sorted(found.items(), key=lambda pair: (pair[1].place, pair[0])))


def import_config(path: Path) -> Imported:
    """Translate another trainer's settings file.

    Raises:
        ConfigError: The file is unreadable, or no trainer's whose settings are known.
    """
    source = read(path)
    for importer in importers().values():
        if importer.recognise(source):
            return translate(importer, source)
    known = "; ".join(f"{importer.name} ({importer.reads})" for importer in importers().values())
    raise ConfigError(
        "this is the settings file of none of the trainers that are known",
        where=str(path),
        hint=f"a file of {known}",
    )


def translate(importer: Importer, source: Source) -> Imported:
    """Translate a file that an importer has recognised.

    Raises:
        ConfigError: It trains nothing, or holds more than settings can.
    """
    where = str(source.path)
    try:
        found = dict(leaves(importer.opened(source)))
        draft = Draft(found, source.path.absolute().parent, files=[source.path])
        importer.translate(draft)
        judge(draft)
    except ConfigError as error:
        raise ConfigError(error.problem, where=error.where or where, hint=error.hint) from None
    for index, (name, earlier) in enumerate(source.repeated, start=1):
        key = (f"{name} (earlier, {index})",)
        draft.leaves[key] = earlier
        draft.tell(
            key, "suspicious", f"it stands there twice; the last counts, not this {shown(earlier)}"
        )
    return draft.finish(importer.name)
