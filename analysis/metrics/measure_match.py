"""Bringing a control to a picture's size, and telling pictures that nothing can be said of.

It knows no metric and no files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.metrics.base import Picture, Unscored

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Match:
    """A control that has a picture's size.

    Attributes:
        control: `(H, W, 3)`, as large as the picture.
        resized: Whether it was of another size before.
    """

    control: Picture
    resized: bool


def matched(control: Picture, picture: Picture) -> Match:
    """The control at the picture's size; where sizes differ, resampled with Lanczos.

    The picture itself is never resampled: that would change the quality that is judged.
    """
    import numpy as np
    from PIL import Image

    height, width = picture.shape[:2]
    if control.shape == picture.shape:
        return Match(control, resized=False)
    resized = Image.fromarray(control).resize((width, height), Image.Resampling.LANCZOS)
    return Match(np.asarray(resized), resized=True)


def luma(picture: Picture) -> Picture:
    """Brightness as Pillow's "L" has it (ITU-R 601-2, rounded): `(H, W)`, 0 to 255."""
    import numpy as np
    from PIL import Image

    return np.asarray(Image.fromarray(picture).convert("L"))


def flat(plane: NDArray[Any], what: str) -> Unscored | None:
    """Why a plane of one value has no number; None when it has two or more values."""
    if plane.min() < plane.max():
        return None
    return Unscored("flat", f"{what} is one even colour, so there is nothing to compare")


def too_small(picture: Picture, least: int) -> Unscored | None:
    """Why a picture with a side under `least` px has no number; None when it is large enough."""
    height, width = picture.shape[:2]
    if min(height, width) >= least:
        return None
    return Unscored("too_small", f"it is {width}x{height} px; the shorter side needs {least}")
