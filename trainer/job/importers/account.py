"""What becomes of a foreign file: values in our names, and an account of every key."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from trainer.core.errors import ConfigError
from trainer.core.schema import FieldSpec, describe
from trainer.job.config import JobConfig
from trainer.job.file import Tree, merge, parse_job
from trainer.job.importers.reading import Key
from trainer.job.importers.values import shown

Kind = Literal["mapped", "explained", "suspicious", "reported"]
KINDS: tuple[Kind, ...] = ("mapped", "explained", "suspicious", "reported")
HIDDEN = "(kept secret)"


@dataclass(frozen=True, slots=True)
class Line:
    """What became of one key.

    Attributes:
        key: Its dotted path in the file; the file's name stands before it in a second one.
        value: What the file says, in a few words.
        kind: "mapped": taken over. "explained": has no equivalent, or is of no concern.
            "suspicious": does not do there, or would not do here, what one may think.
            "reported": not known.
        told: In words.
        ours: The settings of a job that it decided, if any.
    """

    key: str
    value: str
    kind: Kind
    told: str
    ours: str = ""


@dataclass(frozen=True, slots=True)
class Imported:
    """A foreign file in our words.

    Attributes:
        trainer: Whose file it is.
        files: The file, and those that it names and were read too.
        values: What others may see, as `parse_job` takes it; a preset can be made of it.
        private: The rest: folders, models on this machine, prompts.
        account: A line for each key of the files.
        assumed: What the file leaves to its trainer's defaults, where these are not ours.
        problems: Why it cannot be trained as it is: setting -> reason.
    """

    trainer: str
    files: tuple[Path, ...]
    values: Tree
    private: Tree
    account: tuple[Line, ...]
    assumed: tuple[Line, ...] = ()
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def job_values(self) -> Tree:
        """All values, as `parse_job` takes them."""
        return merge(self.values, self.private)

    @property
    def counts(self) -> dict[Kind, int]:
        """Lines of each kind; they add up to the number of keys."""
        found = Counter(line.kind for line in self.account)
        return {kind: found[kind] for kind in KINDS}


@dataclass(slots=True)
class Draft:
    """A translation on its way.

    Attributes:
        leaves: The values to account for.
        folder: Where the file lies; what it names is looked for from there.
        chosen: Our settings so far.
    """

    leaves: dict[Key, Any]
    folder: Path
    chosen: dict[str, Any] = field(default_factory=dict)
    lines: dict[Key, Line] = field(default_factory=dict)
    assumed: dict[str, Line] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    _deciders: dict[str, Key] = field(default_factory=dict)

    def get(self, *key: str) -> Any:
        """The value of a key; None without one."""
        return self.leaves.get(key)

    def has(self, ours: str) -> bool:
        """Whether a job of the chosen kinds has such a setting."""
        return spec_of(ours, self.chosen) is not None

    @property
    def flows(self) -> bool:
        """Whether the chosen family learns by flow matching."""
        return self.has("model.flow.shift")

    def take(self, key: Key, ours: str, value: Any, told: str = "", odd: str = "") -> bool:
        """Take a value over, if a job can hold it; say so in the key's line.

        Args:
            key: Where it stands in the file.
            ours: Our setting.
            value: In our terms.
            told: How it was converted, in words.
            odd: Why it is suspicious, if it is.
        """
        problem = problem_with(ours, value, self.chosen)
        if problem:
            self.tell(key, "suspicious", f"{ours} = {shown(value)} is not possible: {problem}")
            return False
        earlier = self._deciders.get(ours)
        if earlier is not None and earlier != key and self.chosen.get(ours) != value:
            name = ".".join(key)
            old = self.lines[earlier]
            self.lines[earlier] = replace(old, told=f"{old.told}; {name} has the last word")
        self.chosen[ours] = value
        self._deciders[ours] = key
        self.assumed.pop(ours, None)
        said = f"{ours} = {shown(value)}"
        words = "; ".join(filter(None, (said, told, odd)))
        self.tell(key, "suspicious" if odd else "mapped", words, ours)
        return True

    def tell(self, key: Key, kind: Kind, told: str, ours: str = "", *, hide: bool = False) -> None:
        """Write a key's line; where it has one, words are added and the graver kind stays."""
        value = HIDDEN if hide else shown(self.leaves.get(key))
        old = self.lines.get(key)
        if old is not None:
            ranks = ("reported", "explained", "mapped", "suspicious")
            kind = max(kind, old.kind, key=ranks.index)
            told = old.told if told in old.told else f"{old.told}; {told}"
            ours = ", ".join(filter(None, dict.fromkeys((*old.ours.split(", "), ours))))
            value = old.value
        self.lines[key] = Line(".".join(key), value, kind, told, ours)

    def assume(self, ours: str, value: Any, told: str) -> None:
        """Set what the file leaves to its trainer, unless a key has decided it."""
        if ours in self.chosen or problem_with(ours, value, self.chosen):
            return
        self.chosen[ours] = value
        self.assumed[ours] = Line("", "", "mapped", told, f"{ours} = {shown(value)}")

    def refuse(self, ours: str, reason: str) -> None:
        """Note why the job cannot be trained as it is."""
        self.problems.setdefault(ours, reason)

    def settle(self, key: Key, ours: str, value: Any) -> None:
        """Take a value over that only counts together with others, which `judge` looks at."""
        self.chosen[ours] = value
        self._deciders[ours] = key
        self.tell(key, "mapped", f"{ours} = {shown(value)}", ours)

    def doubt(self, ours: str, told: str) -> None:
        """Mark the key that decided a setting as suspicious."""
        key = self._deciders.get(ours)
        if key is not None:
            self.tell(key, "suspicious", told)

    def drop(self, ours: str) -> None:
        """Take a setting back, which then has its default."""
        self.chosen.pop(ours, None)
        self._deciders.pop(ours, None)
        self.assumed.pop(ours, None)

    def untold(self) -> Iterator[tuple[Key, Any]]:
        """Keys without a line."""
        return ((key, value) for key, value in self.leaves.items() if key not in self.lines)

    def finish(self, trainer: str) -> Imported:
        """The translation."""
        public: Tree = {}
        private: Tree = {}
        for ours, value in self.chosen.items():
            spec = spec_of(ours, self.chosen)
            hidden = spec is not None and spec.knob.private
            _place(private if hidden else public, ours, value)
        return Imported(
            trainer,
            tuple(self.files),
            public,
            private,
            tuple(self.lines[key] for key in self.leaves),
            tuple(self.assumed.values()),
            dict(self.problems),
        )


@functools.cache
def _specs() -> dict[str, list[FieldSpec]]:
    found: dict[str, list[FieldSpec]] = {}
    for spec in describe(JobConfig):
        found.setdefault(spec.path, []).append(spec)
    return found


def spec_of(ours: str, chosen: dict[str, Any]) -> FieldSpec | None:
    """A setting of a job of the kinds that are chosen so far; None where it has none."""
    for spec in _specs().get(ours, []):
        if spec.only_if is None:
            return spec
        where, kind = spec.only_if
        default = next(iter(_specs()[where])).default
        if chosen.get(where, default) == kind:
            return spec
    return None


def problem_with(ours: str, value: Any, chosen: dict[str, Any]) -> str:
    """Why a job cannot hold this value; empty where it can."""
    tree: Tree = {"dataset": {"folder": "."}}
    for path, kind in chosen.items():
        if path.endswith(".kind"):
            _place(tree, path, kind)
    _place(tree, ours, value)
    try:
        parse_job(tree)
    except ConfigError as error:
        return error.problem + (f"; {error.hint}" if error.hint else "")
    return ""


def _place(tree: Tree, ours: str, value: Any) -> None:
    *sections, name = ours.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
    tree[name] = value
