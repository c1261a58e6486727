"""How LoRA files call the modules of a model family: data, which each family declares.

Paths are those of Diffusers' modules; `weights/layouts` does the spelling.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from trainer.core.errors import AdapterError


@dataclass(frozen=True, slots=True)
class Original:
    """A module of a model's first code, which Diffusers calls otherwise or has split.

    Attributes:
        name: Its path in the first code, by which kohya's layout and ComfyUI call it; `{}`
            stands for a block's number.
        members: The paths of Diffusers' modules that it consists of, in the order of its rows.
        shares: How many rows each has, as multiples of a common number.
        swapped: Where it has twice as many rows as columns (a shift and a scale, and nothing
            else), its two halves have changed places.
    """

    name: str
    members: tuple[str, ...]
    shares: tuple[int, ...] = (1,)
    swapped: bool = False

    def swaps(self, rows: int, columns: int) -> bool:
        """Whether the halves of a module of so many rows and columns have changed places."""
        return self.swapped and rows == 2 * columns

    def number_of(self, name: str, *, joint: str = ".") -> str | None:
        """The block's number ("" where there is none) in a path of the first code, else None."""
        return _number(self.name.replace(".", joint), name)


@dataclass(frozen=True, slots=True)
class PartNaming:
    """What files call one part of a model.

    Attributes:
        part: Our name: "denoiser", or a text encoder's name in the pipeline.
        kohya: Prefix in kohya's layout, without the underscore that follows.
        diffusers: Prefix in the Diffusers layout, without the dot that follows.
        inside: Start of each path in files that the module itself no longer has.
            transformers 5 took `text_model.` out of CLIP; every reader still expects it.
        also: Other prefixes that kohya-like files use for this part.
        dotted: Prefix of files that spell the first code's paths with dots (ComfyUI's own).
        originals: The modules that kohya's layout calls as the first code does.
        kohya_starts: How paths begin, ours -> kohya's, where its layout has other names; each
            up to a dot or the end.
    """

    part: str
    kohya: str
    diffusers: str
    inside: str = ""
    also: tuple[str, ...] = ()
    dotted: str = ""
    originals: tuple[Original, ...] = ()
    kohya_starts: Mapping[str, str] = field(default_factory=dict)

    def path_in_file(self, path: str) -> str:
        """The module's path as files spell it."""
        return path if path.startswith(self.inside) else self.inside + path

    def path_in_model(self, path: str) -> str:
        """The path of the module that files call `path`."""
        return path.removeprefix(self.inside)

    def original_of(self, path: str) -> tuple[Original, str, int] | None:
        """The first code's module, block number and member that a module of ours is."""
        for original in self.originals:
            for index, member in enumerate(original.members):
                number = _number(member, path)
                if number is not None:
                    return original, number, index
        return None

    def original_called(self, name: str, *, joint: str) -> tuple[Original, str] | None:
        """The first code's module and block number of a path with `joint` for dots."""
        for original in self.originals:
            number = original.number_of(name, joint=joint)
            if number is not None:
                return original, number
        return None

    def path_in_kohya(self, path: str) -> str:
        """The module's path as kohya's layout spells it, with dots."""
        return _begun_anew(self.path_in_file(path), self.kohya_starts)

    def path_from_kohya(self, path: str) -> str:
        """The path of the module that kohya's layout calls `path`; Diffusers' names do too."""
        ours = {theirs: start for start, theirs in self.kohya_starts.items()}
        return self.path_in_model(_begun_anew(path, ours))


@dataclass(frozen=True, slots=True)
class Mark:
    """How a LoRA file shows which models it was made for.

    Attributes:
        family: What messages call these models.
        architecture: How `modelspec.architecture` in its header begins.
        module: Expression that is found in names of the denoiser's modules, in any layout.
        widths: Inputs of those modules, where other models have the names too.
    """

    family: str
    architecture: str = ""
    module: str = ""
    widths: tuple[int, ...] = ()

    def strength(self, told: str, inputs: Mapping[str, int]) -> int:
        """How surely a file bears the mark: 3 by names, 2 by its header, 1 by widths, else 0.

        Args:
            told: Its `modelspec.architecture`, or nothing.
            inputs: Inputs of each module by its name in the file.
        """
        found = [name for name in inputs if self.module and re.search(self.module, name)]
        if found and not self.widths:
            return 3
        if self.architecture and told.startswith(self.architecture):
            return 2
        return int(any(inputs[name] in self.widths for name in found))


@dataclass(frozen=True, slots=True)
class Naming:
    """What files call the modules of a family.

    Attributes:
        parts: The parts that may carry an adapter.
        words: Every name between two dots of a module path, numbers aside. kohya joins them
            with underscores, which many of them hold as well, so splitting takes this list.
        marks: By what `weights/family` knows files for these models.
    """

    parts: tuple[PartNaming, ...]
    words: frozenset[str]
    marks: tuple[Mark, ...] = ()

    @property
    def families(self) -> tuple[str, ...]:
        """What messages call the models."""
        return tuple(dict.fromkeys(mark.family for mark in self.marks))

    @property
    def kohya_words(self) -> frozenset[str]:
        """`words`, and those that only kohya's layout has."""
        starts = (start for part in self.parts for start in part.kohya_starts.values())
        return self.words | {word for s in starts for word in s.split(".") if not word.isdigit()}

    def knows(self, path: str) -> bool:
        """Whether a path has only names of this family's modules."""
        return all(word in self.words or word.isdigit() for word in path.split("."))

    def split(self, name: str) -> tuple[PartNaming, str]:
        """`denoiser.mid_block.attn` -> the denoiser's naming and the path `mid_block.attn`.

        Raises:
            AdapterError: Files of this family have no name for the part.
        """
        part, _, path = name.partition(".")
        return self.of_part(part), path

    def of_part(self, part: str) -> PartNaming:
        """The naming of one part.

        Raises:
            AdapterError: Files of this family have no name for it.
        """
        for naming in self.parts:
            if naming.part == part:
                return naming
        raise AdapterError(
            f"LoRA files of this family have no name for the part {part!r}",
            hint="one of " + ", ".join(n.part for n in self.parts),
        )


def _number(pattern: str, path: str) -> str | None:
    """What stands for `{}` in a path like `pattern`: "" without one, None in another path."""
    before, mark, after = pattern.partition("{}")
    if not mark:
        return "" if path == pattern else None
    found = re.fullmatch(rf"{re.escape(before)}(\d+){re.escape(after)}", path)
    return found[1] if found else None


def _begun_anew(path: str, starts: Mapping[str, str]) -> str:
    """The path with its longest known start exchanged."""
    pieces = path.split(".")
    for count in range(len(pieces), 0, -1):
        start = ".".join(pieces[:count])
        if start in starts:
            return ".".join([starts[start], *pieces[count:]])
    return path
