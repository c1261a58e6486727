"""How LoRA files call the modules of a model family: data, which each family declares.

Paths are those of Diffusers' modules; `weights/layouts` does the spelling.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trainer.core.errors import AdapterError


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
        kohya_starts: How paths begin, ours -> kohya's, where its layout has other names; each
            up to a dot or the end.
    """

    part: str
    kohya: str
    diffusers: str
    inside: str = ""
    also: tuple[str, ...] = ()
    kohya_starts: Mapping[str, str] = field(default_factory=dict)

    def path_in_file(self, path: str) -> str:
        """The module's path as files spell it."""
        return path if path.startswith(self.inside) else self.inside + path

    def path_in_model(self, path: str) -> str:
        """The path of the module that files call `path`."""
        return path.removeprefix(self.inside)

    def path_in_kohya(self, path: str) -> str:
        """The module's path as kohya's layout spells it, with dots."""
        return _begun_anew(self.path_in_file(path), self.kohya_starts)

    def path_from_kohya(self, path: str) -> str:
        """The path of the module that kohya's layout calls `path`; Diffusers' names do too."""
        ours = {theirs: start for start, theirs in self.kohya_starts.items()}
        return self.path_in_model(_begun_anew(path, ours))


@dataclass(frozen=True, slots=True)
class Naming:
    """What files call the modules of a family.

    Attributes:
        parts: The parts that may carry an adapter.
        words: Every name between two dots of a module path, numbers aside. kohya joins them
            with underscores, which many of them hold as well, so splitting takes this list.
        families: What `weights/family` calls the models; empty where it does not know them.
    """

    parts: tuple[PartNaming, ...]
    words: frozenset[str]
    families: tuple[str, ...] = ()

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


def _begun_anew(path: str, starts: Mapping[str, str]) -> str:
    """The path with its longest known start exchanged."""
    pieces = path.split(".")
    for count in range(len(pieces), 0, -1):
        start = ".".join(pieces[:count])
        if start in starts:
            return ".".join([starts[start], *pieces[count:]])
    return path
