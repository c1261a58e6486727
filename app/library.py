"""Where presets lie: those that ship, one's own, and libraries added from elsewhere.

    HOME/presets/NAME.toml           one's own, imported ones among them
    HOME/libraries/NAME/…            copies of git repositories
    HOME/libraries.toml              folders that are read where they are

HOME is the place for a program's data on this system, or `SWEETSPOT_HOME`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import tomlkit

from app.preset_files import files_in, presets_of, stamps
from app.repositories import address, clone, renew
from app.settings import home
from trainer.core import toml
from trainer.core.errors import ConfigError, UserError
from trainer.core.files import write_atomically
from trainer.job.preset import Preset, render_preset

BUILTIN = Path(__file__).parents[1] / "presets" / "builtin"
DEMOS = BUILTIN.parent / "demo"
OWN = "own"
SHIPPED = "built in"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A preset and where it lies."""

    preset: Preset
    shelf: str
    path: Path


@dataclass(frozen=True, slots=True)
class Shelf:
    """A library.

    Attributes:
        name: What it is called.
        folder: Where its files lie.
        source: Where they come from: a folder, or a repository's address.
    """

    name: str
    folder: Path
    source: str


def entries(problems: list[UserError]) -> Iterator[Entry]:
    """All presets: one's own first, then the libraries', then those that ship.

    Args:
        problems: Gets the error of each file that cannot be used.
    """
    yield from _in_folder(_own(), OWN, problems)
    for shelf in libraries():
        if not shelf.folder.is_dir():
            problems.append(_gone(shelf))
        yield from _in_folder(shelf.folder, shelf.name, problems)
    yield from _in_folder(BUILTIN, SHIPPED, problems)


def find(name: str) -> Preset:
    """The preset of this name, or of LIBRARY/NAME, as `find_entry` has it."""
    return find_entry(name).preset


def find_entry(name: str) -> Entry:
    """The preset of this name, or of LIBRARY/NAME, and where it lies.

    Of those with one name, one's own is meant before a library's, and that before one that ships.

    Raises:
        ConfigError: There is none, it cannot be used, or two libraries have the name.
    """
    import difflib

    problems: list[UserError] = []
    known: dict[str, Entry] = {}
    named: dict[str, list[Entry]] = {}
    for entry in entries(problems):
        known.setdefault(f"{entry.shelf}/{entry.preset.name}", entry)
        named.setdefault(entry.preset.name, []).append(entry)
    choices = meant(named.get(name, ()))
    if len(choices) > 1:
        names = ", ".join(f"{entry.shelf}/{name}" for entry in choices)
        raise ConfigError(
            f"{len(choices)} libraries have a preset {name!r}", where="--preset", hint=names
        )
    if choices or name in known:
        return choices[0] if choices else known[name]
    for problem in problems:
        if Path(problem.where.partition(": ")[0]).stem == name:
            raise ConfigError(problem.problem, where=problem.where, hint=problem.hint)
    near = difflib.get_close_matches(name, [*named, *known], n=1)
    broken = f"; {len(problems)} files cannot be read, see `preset list`" if problems else ""
    raise ConfigError(
        f"there is no preset {name!r}{broken}",
        where="--preset",
        hint=f"did you mean {near[0]}?" if near else "`sweetspot preset list` shows them",
    )


def meant(same: Iterable[Entry]) -> list[Entry]:
    """Which of the presets of one name the bare name means: one, or one of each library."""
    first: dict[str, Entry] = {}
    for entry in same:
        first.setdefault(entry.shelf, entry)
    if OWN in first:
        return [first[OWN]]
    return [first[shelf] for shelf in first if shelf != SHIPPED] or list(first.values())


def save(preset: Preset, *, replace: bool = False) -> Path:
    """Put a preset among one's own.

    Raises:
        ConfigError: There is one of that name already.
        ResourceError: The folder cannot be written.
    """
    path = _own() / f"{preset.name}.toml"
    if not replace and holds(preset.name):
        raise ConfigError(
            f"you have a preset {preset.name!r} already",
            where=str(path),
            hint="--as NAME for another name, or --replace",
        )
    write_atomically(path, render_preset(preset))
    return path


def forget(name: str) -> None:
    """Delete one of one's own presets.

    Raises:
        ConfigError: There is none of that name, or its file holds others too.
    """
    own = list(_in_folder(_own(), OWN, []))
    found = next((entry.path for entry in own if entry.preset.name == name), None)
    if found is None:
        raise ConfigError(f"you have no preset {name!r}", where=str(_own()))
    if sum(entry.path == found for entry in own) > 1:
        raise ConfigError("its file holds other presets too", where=str(found))
    found.unlink()


def holds(name: str) -> bool:
    """Whether one's own presets have one of this name, in whatever case."""
    return any(path.stem.lower() == name.lower() for path in files_in(_own()))


def stamp() -> tuple[object, ...]:
    """Changes whenever a preset is added, changed or taken away, anywhere."""
    shelves = [(shelf.name, shelf.folder) for shelf in libraries()]
    places = [(OWN, _own()), *shelves, (SHIPPED, BUILTIN)]
    return tuple((name, str(folder), *stamps(folder)) for name, folder in places)


def libraries() -> list[Shelf]:
    """The libraries that were added, by name."""
    return sorted((*_copied(), *_linked().values()), key=lambda shelf: shelf.name)


def add_library(source: str, name: str = "") -> tuple[Shelf, int]:
    """Add a folder, which is read where it is, or a git repository, which is copied.

    Returns:
        The library and how many presets it holds.

    Raises:
        ConfigError: It is neither, holds no preset, or its name is taken.
    """
    folder = Path(source).expanduser()
    called = name or re.sub(r"\.git$", "", re.split(r"[/\\:]", source.rstrip("/\\"))[-1])
    if not _NAME.fullmatch(called) or called in (OWN, SHIPPED):
        raise ConfigError(f"{called!r} is no name for a library", where="--name")
    if called in {shelf.name for shelf in libraries()}:
        raise ConfigError(
            f"there is a library {called!r} already",
            where="--name",
            hint=f"`sweetspot preset library remove {called}`, or another --name",
        )
    if folder.is_dir():
        shelf = Shelf(called, folder.absolute(), str(folder.absolute()))
    else:
        shelf = Shelf(called, home() / "libraries" / called, source)
        clone(source, shelf.folder)
    count = sum(1 for _ in _in_folder(shelf.folder, called, []))
    if not count:
        if not folder.is_dir():
            shutil.rmtree(shelf.folder)
        raise ConfigError("it holds no preset", where=source)
    if folder.is_dir():
        _write_linked([*_linked().values(), shelf])
    return shelf, count


def update_libraries() -> Iterator[tuple[Shelf, int]]:
    """Fetch the repositories anew, one after the other.

    A copy is replaced when the new one is whole. One that cannot be fetched does not stop the
    others.

    Raises:
        ConfigError: At the end, when one could not be fetched.
    """
    failed: dict[str, ConfigError] = {}
    for shelf in _copied():
        try:
            renew(shelf.source, shelf.folder)
        except ConfigError as error:
            failed[shelf.name] = error
            continue
        yield shelf, sum(1 for _ in _in_folder(shelf.folder, shelf.name, []))
    if failed:
        told = "; ".join(f"{name}: {error.problem}" for name, error in failed.items())
        raise ConfigError(
            f"not fetched: {told}",
            where=", ".join(error.where for error in failed.values()),
            hint="their copies are as they were; `sweetspot preset library list` shows addresses",
        )


def remove_library(name: str) -> Shelf:
    """Forget a library. A folder stays where it is; the copy of a repository is deleted.

    Raises:
        ConfigError: There is none of that name.
    """
    found = {shelf.name: shelf for shelf in libraries()}
    if name not in found:
        raise ConfigError(
            f"there is no library {name!r}", hint=", ".join(found) or "none was added"
        )
    linked = _linked()
    if name in linked:
        _write_linked([shelf for shelf in linked.values() if shelf.name != name])
    else:
        shutil.rmtree(found[name].folder)
    return found[name]


def _gone(shelf: Shelf) -> ConfigError:
    return ConfigError(
        f"the folder of the library {shelf.name!r} is no longer there",
        where=str(shelf.folder),
        hint=f"put it back, or `sweetspot preset library remove {shelf.name}`",
    )


def _own() -> Path:
    return home() / "presets"


def _in_folder(folder: Path, shelf: str, problems: list[UserError]) -> Iterator[Entry]:
    for path in files_in(folder):
        try:
            for preset in presets_of(path):
                yield Entry(preset, shelf, path)
        except UserError as error:
            problems.append(error)


def _copied() -> list[Shelf]:
    place = home() / "libraries"
    folders = sorted(place.iterdir()) if place.is_dir() else []
    return [
        Shelf(path.name, path, address(path))
        for path in folders
        if path.is_dir() and not path.name.startswith(".")
    ]


def _linked() -> dict[str, Shelf]:
    path = home() / "libraries.toml"
    if not path.is_file():
        return {}
    told = toml.parse_text(path.read_text(encoding="utf-8"), str(path))
    return {
        name: Shelf(name, Path(str(place)), str(place))
        for name, place in told.get("folders", {}).items()
    }


def _write_linked(shelves: Iterable[Shelf]) -> None:
    document = tomlkit.document()
    document.add(tomlkit.comment("Folders of presets that were added as libraries."))
    document.add("folders", tomlkit.item({s.name: str(s.folder) for s in shelves}))
    write_atomically(home() / "libraries.toml", tomlkit.dumps(document))
