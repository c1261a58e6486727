"""How a picture is resized and cropped to a size the model trains at.

Sides of a training picture are multiples of a step; its area is at most resolution². Within
that, the shape that crops least is taken. Whether a group of equal shapes fills a batch is
not known here, so no picture is ever left out for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trainer.core.errors import ConfigError
from trainer.data.folder import Picture, Problem

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from trainer.job.pictures import DatasetConfig

Size = tuple[int, int]
"""Width and height, px."""

LONGEST = 2
"""No side of a bucket is longer than this many resolutions."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What is cut out of an upright picture.

    Attributes:
        size: Width and height of the training picture.
        scaled: Width and height of the whole picture after the resize.
        crop: Left and top of the cut in the resized picture.
    """

    size: Size
    scaled: Size
    crop: Size

    @property
    def kept(self) -> float:
        """Share of the picture's area that is trained on, in (0, 1]."""
        return (self.size[0] * self.size[1]) / (self.scaled[0] * self.scaled[1])

    def told(self, whole: Size, *, flip: bool = False) -> tuple[int, ...]:
        """The cut as `Batch.frames` holds it, of an upright picture `whole` px wide and high.

        Of a mirrored picture the cut is told as it lies in the mirror.
        """
        left, top = self.crop
        if flip:
            left = self.scaled[0] - self.size[0] - left
        return (*reversed(whole), top, left, *reversed(self.size))


@dataclass(frozen=True, slots=True)
class Framed:
    """A picture and its cut."""

    picture: Picture
    frame: Frame


@dataclass(frozen=True, slots=True)
class Listed:
    """One picture as training will see it."""

    name: str
    size: Size
    scaled: Size
    crop: Size
    kept: float
    repeats: int
    caption: str


@dataclass(frozen=True, slots=True)
class Framing:
    """The rules by which pictures of one run are cut.

    Attributes:
        resolution: Side of the square whose area a training picture comes close to.
        step: Sides are multiples of this.
        buckets: Keep shapes; otherwise everything is cropped square.
        upscale: Enlarge small pictures; otherwise they train at their own, smaller size.

    Raises:
        ConfigError: The step is larger than the resolution.
    """

    resolution: int
    step: int
    buckets: bool = True
    upscale: bool = False
    shapes: tuple[Size, ...] = field(init=False)
    """The buckets of full area."""

    def __post_init__(self) -> None:
        if self.step > self.resolution:
            raise ConfigError(
                f"sides are multiples of {self.step} px, and the resolution is {self.resolution}",
                where="dataset.bucket_step",
                hint="a smaller dataset.bucket_step, or a larger model.resolution",
            )
        square = self._down(self.resolution)
        shapes = _shapes(self.resolution, self.step) if self.buckets else ((square, square),)
        object.__setattr__(self, "shapes", shapes)

    def frame(self, width: int, height: int) -> Frame | None:
        """The centre cut of an upright `width` x `height` picture; None when it is too small."""
        fitting = [s for s in self.shapes if self.upscale or (s[0] <= width and s[1] <= height)]
        if not self.upscale:
            fitting += self._own(width, height)
        if not fitting:
            return None
        frames = (cover(width, height, shape) for shape in fitting)
        return max(frames, key=lambda f: (f.kept, f.size[0] * f.size[1], f.size))

    def _own(self, width: int, height: int) -> list[Size]:
        """The bucket of a small picture's own size, if it has one."""
        longest = self._down(LONGEST * self.resolution)
        own = (min(self._down(width), longest), min(self._down(height), longest))
        if not self.buckets:
            own = (min(*own, self._down(self.resolution)),) * 2
        return [own] if min(own) > 0 and own[0] * own[1] <= self.resolution**2 else []

    def _down(self, side: int) -> int:
        return side // self.step * self.step


def framing(config: DatasetConfig, *, resolution: int, size_step: int) -> Framing:
    """The rules of a job for a model whose picture sides are multiples of `size_step`."""
    return Framing(
        resolution,
        math.lcm(config.bucket_step, size_step) if config.buckets else size_step,
        buckets=config.buckets,
        upscale=config.upscale,
    )


def fit(pictures: Iterable[Picture], rules: Framing) -> tuple[list[Framed], list[Problem]]:
    """Each picture's cut, and the pictures that are too small to have one."""
    framed: list[Framed] = []
    small: list[Problem] = []
    known: dict[Size, Frame | None] = {}
    for picture in pictures:
        size = (picture.width, picture.height)
        if size not in known:
            known[size] = rules.frame(*size)
        frame = known[size]
        if frame is None:
            small.append(_too_small(picture, rules.step))
        else:
            framed.append(Framed(picture, frame))
    return framed, small


def cover(width: int, height: int, shape: Size) -> Frame:
    """The largest centre cut of `shape`, the picture scaled just enough to cover it."""
    scale = max(shape[0] / width, shape[1] / height)
    scaled = (max(shape[0], round(width * scale)), max(shape[1], round(height * scale)))
    return Frame(shape, scaled, ((scaled[0] - shape[0]) // 2, (scaled[1] - shape[1]) // 2))


def apply(image: Image, frame: Frame, *, flip: bool = False) -> Tensor:
    """The cut of an upright RGB picture: `(3, H, W)`, fp32, [-1, 1]."""
    import numpy as np
    import torch
    from PIL.Image import Resampling, Transpose

    if image.size != frame.scaled:
        image = image.resize(frame.scaled, Resampling.LANCZOS, reducing_gap=3.0)
    left, top = frame.crop
    image = image.crop((left, top, left + frame.size[0], top + frame.size[1]))
    if flip:
        image = image.transpose(Transpose.FLIP_LEFT_RIGHT)
    pixels = torch.from_numpy(np.array(image, dtype=np.float32))
    return pixels.permute(2, 0, 1).contiguous() / 127.5 - 1.0


def listing(
    framed: Sequence[Framed], caption: Callable[[Picture], str] = lambda picture: picture.caption
) -> Iterator[Listed]:
    """The exact cut and the words of every picture, to be read before training.

    Args:
        framed: Pictures and their cuts.
        caption: The words a picture is shown with; its raw caption unless given.
    """
    for one in framed:
        picture, frame = one.picture, one.frame
        yield Listed(
            picture.name,
            frame.size,
            frame.scaled,
            frame.crop,
            frame.kept,
            picture.repeats,
            caption(picture),
        )


def _shapes(resolution: int, step: int) -> tuple[Size, ...]:
    """The square, and for each side the longest other side that keeps within the area.

    What is longer than 4:1 is cropped to that: a strip of full length would be a few pixels high.
    """
    longest = LONGEST * resolution // step * step
    square = resolution // step * step
    found = {(square, square)}
    for side in range(step, longest + 1, step):
        other = resolution**2 // side // step * step
        if 0 < other <= longest:
            found |= {(side, other), (other, side)}
    return tuple(sorted(found))


def _too_small(picture: Picture, step: int) -> Problem:
    return Problem(
        picture.path,
        f"it is {picture.width} x {picture.height} px, and the shortest side trained is {step} px",
        "use a larger picture, a smaller dataset.bucket_step, or set dataset.upscale",
    )
