"""How LoRA files call the modules of a model family: data, which each family declares.

Paths are those of Diffusers' modules; `weights/layouts` does the spelling.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    """

    part: str
    kohya: str
    diffusers: str
    inside: str = ""
    also: tuple[str, ...] = ()

    def path_in_file(self, path: str) -> str:
        """The module's path as files spell it."""
        return path if path.startswith(self.inside) else self.inside + path

    def path_in_model(self, path: str) -> str:
        """The path of the module that files call `path`."""
        return path.removeprefix(self.inside)


@dataclass(frozen=True, slots=True)
class Naming:
    """What files call the modules of a family.

    Attributes:
        parts: The parts that may carry an adapter.
        words: Every name between two dots of a module path, numbers aside. kohya joins them
            with underscores, which many of them hold as well, so splitting takes this list.
    """

    parts: tuple[PartNaming, ...]
    words: frozenset[str]

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
