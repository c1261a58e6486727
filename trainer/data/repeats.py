"""Folders named as kohya's trainer has them: `10_sks dog` shows its pictures ten times."""

from __future__ import annotations

import re

MOST_REPEATS = 1000
"""A folder `2024_holiday` begins with a year, not with a count."""
_NAME = re.compile(r"(\d+)_(.+)")


def begins_with_a_count(name: str) -> int | None:
    """The number that a folder's name begins with, whether or not it can be a count."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def of_folders(name: str) -> tuple[int, str]:
    """Repeats and words of a picture's closest folder of this kind; (0, "") without one."""
    for part in reversed(name.split("/")[:-1]):
        match = _NAME.fullmatch(part)
        if match and 1 <= int(match[1]) <= MOST_REPEATS:
            return int(match[1]), match[2].strip()
    return 0, ""
