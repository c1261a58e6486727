"""Which of a transformer's numbered blocks carry an adapter."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from trainer.core.errors import ConfigError
from trainer.core.schema import Knob


def chosen(text: str, count: int, *, where: str) -> set[int]:
    """The numbers that `all`, `none` or `0-4, 7` means among `count` blocks.

    Raises:
        ConfigError: There is no such block.
    """
    found = set(range(count)) if text.strip() == "all" else numbers(text)
    strange = sorted(found - set(range(count)))
    if strange:
        raise ConfigError(
            f"there is no block {strange[0]}: the model has {count} of these, from 0 on",
            where=where,
            hint=f"'all', 'none', or numbers up to {count - 1}",
        )
    return found


def numbers(text: str) -> set[int]:
    """The numbers that a list like `0-4, 7` names; none for `all` and `none`.

    Raises:
        ValueError: It is no such list.
    """
    if text.strip() in ("all", "none"):
        return set()
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,4})(?:\s*-\s*(\d{1,4}))?\s*", part)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise ValueError("needs 'all', 'none', or numbers and ranges such as '0-4, 7, 12'")
        found |= set(range(int(match[1]), int(match[2] or match[1]) + 1))
    return found


def require_some(**lists: str) -> None:
    """Refuse settings, by their names in `model`, that leave all blocks out.

    Raises:
        ValueError: Each of them is `none`.
    """
    if all(text.strip() == "none" for text in lists.values()):
        names = " and ".join(f"model.{name} = 'none'" for name in lists)
        raise ValueError(
            f"with {names} no block learns; give 'all', or numbers such as '0-4, 7, 12'"
        )


def without(pattern: str, left_out: dict[str, set[int]]) -> str:
    """The expression, but for modules of these blocks: list of blocks -> numbers."""
    some = [
        rf"{name}\.(?:{'|'.join(map(str, sorted(those)))})\."
        for name, those in left_out.items()
        if those
    ]
    return rf"(?!{'|'.join(some)})(?:{pattern})" if some else pattern


def _numbers_stand_there(text: str) -> str:
    numbers(text)
    return text


Blocks = Annotated[
    str,
    AfterValidator(_numbers_stand_there),
    Knob(advanced=True, why="All of them learn in most recipes."),
]
"""A setting that chooses among a transformer's blocks: `all`, `none` or `0-4, 7, 12`."""
