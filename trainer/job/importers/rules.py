"""Tables of keys: what each is here, or why it is nothing here.

A table's names are dotted; `*` stands for a number, `**` at the end for all below, and a first
name that ends in `_*` for all that begin so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.job.importers.account import Draft, spec_of
from trainer.job.importers.reading import Key
from trainer.job.importers.values import (
    Reader,
    UnreadableError,
    flag,
    is_unset,
    number,
    shown,
    text,
    whole,
)

_READERS: dict[str, Reader] = {
    "flag": flag,
    "whole": whole,
    "real": number,
    "text": text,
    "path": text,
    "choice": text,
}


@dataclass(frozen=True, slots=True)
class Maps:
    """The key is a setting of ours.

    Attributes:
        ours: Which.
        told: How its value is converted.
        read: Its value in our terms; by the setting's own type when None.
        zero: What 0 means, where it is no value of the setting.
        foreign: What to say where the chosen family has no such setting; it is suspicious then.
    """

    ours: str
    told: str = ""
    read: Reader | None = None
    zero: str = ""
    foreign: str = ""


@dataclass(frozen=True, slots=True)
class Says:
    """The key is nothing here, and this is why.

    Attributes:
        why: In words.
        secret: Whether its value is never shown.
        unless: What makes it suspicious, asked of its value.
        odd: What to say then.
    """

    why: str
    secret: bool = False
    unless: Callable[[Any], bool] | None = None
    odd: str = ""


@dataclass(frozen=True, slots=True)
class Decides:
    """The key is weighed together with others, before tables are looked into.

    Attributes:
        ours: What it has a say in.
        told: How, for the documentation.
        idle: What to say when it had none.
    """

    ours: str
    told: str = ""
    idle: str = "it decides nothing in this file"


Rule = Maps | Says | Decides
Table = Mapping[str, Rule]


def each(names: str, rule: Rule) -> dict[str, Rule]:
    """The same rule for several names."""
    return dict.fromkeys(names.split(), rule)


def under(prefix: str, table: Table) -> dict[str, Rule]:
    """A table whose names stand below another."""
    return {f"{prefix}.{name}": rule for name, rule in table.items()}


def find(table: Table, key: Iterable[str]) -> Rule | None:
    """The rule for a key: of its exact name, else of what it is in, else of how it begins."""
    names = list(key)
    plain = ["*" if name.isdigit() else name for name in names]
    for form in (names, plain):
        rule = table.get(".".join(form))
        if rule is not None:
            return rule
    for length in range(len(names) - 1, 0, -1):
        rule = table.get(".".join([*plain[:length], "**"]))
        if rule is not None:
            return rule
    words = names[0].split("_")
    begins = ("_".join(words[:length]) + "_*" for length in range(len(words) - 1, 0, -1))
    return next((table[start] for start in begins if start in table), None)


def apply(draft: Draft, table: Table, name_of: Callable[[Key], Iterable[str]] = tuple) -> None:
    """Tell of every key that is not told of yet; what the table does not have is reported.

    Args:
        draft: The translation.
        table: What is known.
        name_of: What a key is called in the table.
    """
    for key, value in list(draft.untold()):
        names = list(name_of(key))
        rule = find(table, names) if names else None
        if isinstance(rule, Says):
            _say(draft, key, value, rule)
        elif is_unset(value) and rule is not None:
            draft.tell(key, "explained", "it is left empty")
        elif isinstance(rule, Maps):
            take(draft, key, value, rule)
        elif isinstance(rule, Decides):
            draft.tell(key, "explained", rule.idle)
        else:
            hide = any(map(_sounds_secret, key))
            draft.tell(key, "reported", "this key is not known", hide=hide)


def take(draft: Draft, key: Key, value: Any, rule: Maps) -> bool:
    """Take a value over as a rule says, or tell why not."""
    spec = spec_of(rule.ours, draft.chosen)
    try:
        if rule.zero and number_or_none(value) == 0:
            draft.tell(key, "explained", rule.zero)
            return False
        if spec is None:
            return _not_here(draft, key, value, rule)
        reader = rule.read or _READERS[spec.kind]
        return draft.take(key, rule.ours, reader(value), rule.told)
    except UnreadableError as error:
        draft.tell(key, "suspicious", f"not taken over: {error}")
        return False


def number_or_none(value: Any) -> float | None:
    """A number, or None for what is none."""
    try:
        return number(value)
    except UnreadableError:
        return None


def is_off(value: Any) -> bool:
    """Whether a value says no, nothing or 0."""
    return is_unset(value) or number_or_none(value) == 0 or str(value).lower() == "false"


def _not_here(draft: Draft, key: Key, value: Any, rule: Maps) -> bool:
    """No setting of these kinds; what is off anyway is no cause for suspicion."""
    kinds = " and ".join(str(k) for p, k in draft.chosen.items() if p.endswith(".kind"))
    if is_off(value):
        draft.tell(key, "explained", f"it is off, and means nothing for {kinds}")
    elif rule.foreign:
        draft.tell(key, "suspicious", rule.foreign)
    else:
        draft.tell(key, "explained", f"{rule.ours} is no setting of {kinds or 'this model'}")
    return False


def _say(draft: Draft, key: Key, value: Any, rule: Says) -> None:
    if rule.unless is not None and not is_unset(value):
        try:
            odd = rule.unless(value)
        except UnreadableError as error:
            draft.tell(key, "suspicious", f"{error}; {rule.why}", hide=rule.secret)
            return
        if odd:
            draft.tell(key, "suspicious", rule.odd)
            return
    hide = rule.secret and not is_unset(value)
    why = rule.why
    if why.startswith("unsupported") and is_off(value):
        why = "it is off, or left empty"
    draft.tell(key, "explained", why, hide=hide)


def _sounds_secret(name: str) -> bool:
    word = name.lower()
    marks = ("api_key", "apikey", "password", "secret", "access_key")
    return (
        any(mark in word for mark in marks)
        or word.endswith(("_token", "auth"))
        or (word == "token")
    )


def said_is_above(bound: float) -> Callable[[Any], bool]:
    """Whether a number is above a bound, for `Says.unless`."""
    return lambda value: number(value) > bound


def is_on(value: Any) -> bool:
    """Whether a switch is on, for `Says.unless`."""
    return flag(value)


def looked_for(written: Any, folder: Path) -> Path | None:
    """A file or folder that a file names, found from where that lies; None when there is none.

    Trainers are started from their own folder, and name paths from there. A name of another
    machine's share is never touched: to look is to log in there.
    """
    if not isinstance(written, str) or not written.strip() or len(written) > 1000:
        return None
    name = written.strip()
    if name.startswith(("\\\\", "//")) or "\0" in name or "://" in name:
        return None
    path = Path(name if ":" in name else name.replace("\\", "/"))
    starts = [folder, *list(folder.parents)[:5]]
    tried = [path] if path.is_absolute() else [start / path for start in starts]
    for candidate in [*tried, folder / path.name]:
        try:
            if candidate.exists():
                return candidate
        except OSError:
            return None
    return None


__all__ = [
    "Decides",
    "Maps",
    "Rule",
    "Says",
    "Table",
    "apply",
    "each",
    "find",
    "is_off",
    "is_on",
    "looked_for",
    "number_or_none",
    "said_is_above",
    "shown",
    "take",
    "under",
]
