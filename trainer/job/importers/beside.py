"""Second files that a settings file names: read when they are there, and what they should be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trainer.core.errors import ConfigError
from trainer.job.importers.account import Draft
from trainer.job.importers.reading import Key, leaves, read
from trainer.job.importers.rules import looked_for
from trainer.job.importers.values import is_unset


def read_beside(draft: Draft, key: Key, fits: Callable[[Any], bool], *, label: str) -> bool:
    """Add a second file's values to those to account for, and tell of it.

    Nothing of it is shown or taken before it is known to be such a file: a stranger's settings
    could name any.

    Args:
        draft: The translation.
        key: Where the file is named.
        fits: Whether values are those of such a file.
        label: What stands before its keys.
    """
    written = draft.leaves.get(key)
    if is_unset(written):
        return False
    found = looked_for(written, draft.folder)
    if found is None or not found.is_file():
        draft.tell(key, "explained", "this second file is not here")
        return False
    try:
        tree = read(found).tree
        inner = list(leaves(tree)) if fits(tree) else []
    except ConfigError as error:
        draft.tell(key, "suspicious", f"the file is not read: {error.problem}")
        return False
    if not inner:
        draft.tell(key, "suspicious", "the file is not read: it holds something else")
        return False
    draft.files.append(found)
    draft.leaves.update(((label, *place), value) for place, value in inner)
    draft.tell(key, "explained", f"{found.name} is read too")
    return True
