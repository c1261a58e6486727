"""What a judgement is: pictures whose denoising loss the model is asked for, and what it says.

The loss of a picture, with the same noise and times for every checkpoint and strength, needs no
other network: it is what training lowers. Asked on pictures that did not train, it tells
learning from memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from trainer.core.registry import Registry
from trainer.core.schema import Config

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]
else:
    Picture = Any


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture at the size of the sweep, and what it is said to show.

    Attributes:
        pixels: `(H, W, 3)`, RGB, 0 to 255.
        frame: What they are a cut of, as a row of `Batch.frames`.
    """

    name: str
    pixels: Picture
    caption: str
    frame: tuple[int, ...]

    @classmethod
    def whole(cls, name: str, pixels: Picture, caption: str) -> Self:
        """A picture that nothing was cut off from."""
        sides = pixels.shape[:2]
        return cls(name, pixels, caption, (*sides, 0, 0, *sides))


@dataclass(frozen=True, slots=True)
class Shelf:
    """The pictures that a sweep has to compare with, besides those it renders."""

    training: Sequence[Shown] = ()
    held_out: Sequence[Shown] = ()
    classes: Sequence[Shown] = ()


class JudgementConfig(Config, ABC):
    """A judgement. Class attributes as a metric's; lower is always better."""

    title: ClassVar[str]
    axis: ClassVar[Literal["learned", "quality", "aside"]]
    meaning: ClassVar[str]
    distrust: ClassVar[str]

    kind: str

    @abstractmethod
    def pictures(self, shelf: Shelf) -> Sequence[Shown]:
        """What the model is asked about; nothing when it cannot be asked."""


judgements: Registry[JudgementConfig] = Registry(
    "judgement", package="analysis.judgements", default="fit"
)
