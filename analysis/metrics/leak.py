"""Leak: how far the LoRA moves pictures that do not ask for what was trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from analysis.metrics.base import (
    Axis,
    Better,
    Company,
    Counts,
    MetricConfig,
    Need,
    Picture,
    Unscored,
    Value,
    metrics,
)
from analysis.metrics.measure_match import flat, luma, matched, too_small
from analysis.metrics.measure_ssim import WINDOW, ssim


@metrics.add
class Leak(MetricConfig):
    """1 - SSIM to the control, on prompts without the trigger word."""

    title: ClassVar[str] = "Leak"
    axis: ClassVar[Axis] = "aside"
    better: ClassVar[Better] = "lower"
    limits: ClassVar[tuple[float | None, float | None]] = (0, 2)
    needs: ClassVar[frozenset[Need]] = frozenset({"control"})
    counts: ClassVar[Counts] = "plain"
    meaning: ClassVar[str] = (
        "How far the LoRA moves pictures of prompts without the trigger word (1 - SSIM to the base "
        "model's): 0 leaves them as they are."
    )
    distrust: ClassVar[str] = (
        "Any change counts, a harmless one too; a style without a trigger word is meant to leak."
    )
    alone: ClassVar[bool] = True

    kind: Literal["leak"] = "leak"

    def score(self, pictures: Sequence[Picture], company: Company) -> list[Value]:
        return [_score(*pair) for pair in zip(pictures, company.controls, strict=True)]


def _score(picture: Picture, control: Picture | None) -> Value:
    if control is None:
        return Unscored("missing", "there is no picture of the base model to compare with")
    seen, before = luma(picture), luma(matched(control, picture).control)
    refused = too_small(picture, WINDOW) or flat(seen, "the picture")
    return refused or 1 - ssim(seen, before)
