"""Burn: how much of a picture has colours that ran into the end of the scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from analysis.metrics.base import Axis, Better, Company, MetricConfig, Picture, Value, metrics

_DARK, _LIGHT = 1, 254
"""A channel at or beyond these has lost its detail, of 0 to 255."""
_COLOUR = 32
"""A pixel has a colour when its channels are at least this far apart."""


@metrics.add
class BurnConfig(MetricConfig):
    """The share of pixels that have a colour, one channel of which is clipped.

    Too much contrast and too much saturation both push the channels of coloured areas past
    the ends, one before the others. White, black and grey have no colour to lose and do not
    count, so that a plain ground is no burn however white it is.
    """

    kind: Literal["burn"] = "burn"

    title: ClassVar[str] = "Burn"
    axis: ClassVar[Axis] = "quality"
    better: ClassVar[Better] = "lower"
    limits: ClassVar[tuple[float | None, float | None]] = (0.0, 1.0)
    meaning: ClassVar[str] = (
        "The share of the picture whose colours are clipped; overcooked LoRAs raise it."
    )
    distrust: ClassVar[str] = (
        "Bright paint and flat drawings have it by nature, so only its growth over the control "
        "counts; grey pictures have none however hard their contrast."
    )
    alone: ClassVar[bool] = True

    def score(self, pictures: Sequence[Picture], company: Company) -> list[Value]:
        return [burn(picture) for picture in pictures]


def burn(picture: Picture) -> float:
    """The burnt share of `(H, W, 3)`, in [0, 1]."""
    import numpy as np

    red, green, blue = (picture[..., channel] for channel in range(3))
    lightest = np.maximum(np.maximum(red, green), blue)
    darkest = np.minimum(np.minimum(red, green), blue)
    clipped = (lightest >= _LIGHT) | (darkest <= _DARK)
    burnt = clipped & (lightest - darkest >= _COLOUR)
    return float(np.count_nonzero(burnt)) / burnt.size
