"""An eye that looks at each picture once, though several metrics ask it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from analysis.metrics.base import Eye, Picture

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Sight:
    """Remembers what an eye saw in the very arrays it was shown, until told to forget them."""

    def __init__(self, eye: Eye) -> None:
        self._eye = eye
        self._seen: dict[int, tuple[Picture, NDArray[np.float64]]] = {}

    def __call__(self, pictures: Sequence[Picture]) -> NDArray[np.float64]:
        """What is in each picture: `(N, D)`."""
        new = [picture for picture in pictures if id(picture) not in self._seen]
        rows = self._eye(new) if new else ()
        self._seen |= {id(one): (one, row) for one, row in zip(new, rows, strict=True)}
        return np.stack([self._seen[id(picture)][1] for picture in pictures])

    def forget(self, pictures: Sequence[Picture]) -> None:
        """Let go of these; others, such as references, stay."""
        for picture in pictures:
            self._seen.pop(id(picture), None)
