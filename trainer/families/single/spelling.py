"""How single files spell a part of a model: under which prefix, with which names.

Which part is spelled how is said by each family (`ModelConfig.single`); here is what they share.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from trainer.families.naming import Original
from trainer.families.single.pending import Pending

Tensors = Mapping[str, Pending]
Rename = Callable[[Tensors], Iterator[tuple[str, Pending]]]
"""Tensors by their names below the prefix -> those of the network's own names."""


@dataclass(frozen=True, slots=True)
class Spelling:
    """One way in which files hold a part of a model.

    Attributes:
        prefix: What its names begin with.
        rename: Gives the network's tensors.
        mark: What the names go on with, where the prefix alone does not tell.
        unused: Expression for names below the prefix, whole, that the network does without.
        last_unused: Whether the last layer is there and is not used (OpenCLIP).
    """

    prefix: str
    rename: Rename
    mark: str = ""
    unused: str = r"(?!)"
    last_unused: bool = False

    def occurs(self, names: Iterable[str]) -> bool:
        """Whether a part is spelled so among these names."""
        return any(name.startswith(self.prefix + self.mark) for name in names)


def as_is(tensors: Tensors) -> Iterator[tuple[str, Pending]]:
    """Diffusers' and transformers' own names."""
    yield from tensors.items()


def of_originals(
    originals: Iterable[Original], others: Mapping[str, str]
) -> Callable[[Tensors], Iterator[tuple[str, Pending]]]:
    """How to rename tensors of a transformer's first code.

    Args:
        originals: Its modules, as for LoRA files.
        others: First names of whole tensors -> ours; `{}` is a block's number.
    """
    known = tuple(originals)
    whole = [(_numbered(first), ours) for first, ours in others.items()]

    def rename(tensors: Tensors) -> Iterator[tuple[str, Pending]]:
        for name, tensor in tensors.items():
            found = next(((m, ours) for e, ours in whole if (m := e.fullmatch(name))), None)
            if found is not None:
                yield found[1].format(*found[0].groups()), tensor
            else:
                yield from _members(name, tensor, known)

    return rename


def _numbered(name: str) -> re.Pattern[str]:
    return re.compile(re.escape(name).replace(r"\{\}", r"(\d+)"))


def _members(
    name: str, tensor: Pending, originals: tuple[Original, ...]
) -> Iterator[tuple[str, Pending]]:
    path, _, end = name.rpartition(".")
    for original in originals:
        number = original.number_of(path)
        if number is not None:
            break
    else:
        yield name, tensor
        return
    if original.swapped:
        tensor = tensor.swapped()
    unit, at = tensor.shape[0] // sum(original.shares), 0
    for member, share in zip(original.members, original.shares, strict=True):
        cut = tensor if len(original.members) == 1 else tensor.part(at, at + unit * share)
        yield f"{member.format(number)}.{end}", cut
        at += unit * share
