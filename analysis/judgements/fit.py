"""Fit: how well the model explains pictures of what it learned that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from analysis.judgements.base import JudgementConfig, Shelf, Shown, judgements


@judgements.add
class Fit(JudgementConfig):
    """The loss on held-out pictures."""

    title: ClassVar[str] = "Loss on held-out pictures"
    axis: ClassVar[Literal["learned", "quality", "aside"]] = "learned"
    meaning: ClassVar[str] = (
        "How badly the model predicts pictures of the same thing that it was not trained on. It "
        "falls while the model learns and rises again when it only memorises."
    )
    distrust: ClassVar[str] = (
        "With one or two held-out pictures it speaks of those pictures, and a few thousandths of "
        "difference can be all there is."
    )

    kind: Literal["fit"] = "fit"

    def pictures(self, shelf: Shelf) -> Sequence[Shown]:
        return shelf.held_out
