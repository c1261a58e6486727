"""Drift: how much the model forgets of what it knew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from analysis.judgements.base import JudgementConfig, Shelf, Shown, judgements


@judgements.add
class Drift(JudgementConfig):
    """The loss on pictures of the class."""

    title: ClassVar[str] = "Loss on pictures of the class"
    axis: ClassVar[Literal["learned", "quality", "aside"]] = "quality"
    meaning: ClassVar[str] = (
        "How badly the model predicts what the base model knew: pictures of the class, or the base "
        "model's own of prompts without the trigger word. It rises as the LoRA leaks into them."
    )
    distrust: ClassVar[str] = (
        "A style is meant to change everything, so for a style it rises as it should."
    )

    kind: Literal["drift"] = "drift"

    def pictures(self, shelf: Shelf) -> Sequence[Shown]:
        return shelf.classes
