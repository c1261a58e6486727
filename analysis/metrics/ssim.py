"""SSIM: how far the LoRA moved a picture from the base model's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from analysis.metrics.base import (
    Axis,
    Better,
    Company,
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
class SsimConfig(MetricConfig):
    """Structural similarity to the control, on brightness (Wang and others, 2004)."""

    kind: Literal["ssim"] = "ssim"

    title: ClassVar[str] = "SSIM to the control"
    axis: ClassVar[Axis] = "aside"
    better: ClassVar[Better] = "neither"
    limits: ClassVar[tuple[float | None, float | None]] = (-1.0, 1.0)
    needs: ClassVar[frozenset[Need]] = frozenset({"control"})
    meaning: ClassVar[str] = (
        "1 is the base model's own picture; the lower, the further the LoRA moved it."
    )
    distrust: ClassVar[str] = (
        "It is a distance, no merit: a subject moved by four pixels loses as much as a spoilt one."
    )
    alone: ClassVar[bool] = True

    def score(self, pictures: Sequence[Picture], company: Company) -> list[Value]:
        return [_score(*pair) for pair in zip(pictures, company.controls, strict=True)]


def _score(picture: Picture, control: Picture | None) -> Value:
    if control is None:
        return Unscored("missing", "there is no picture of the base model to compare with")
    seen, before = luma(picture), luma(matched(control, picture).control)
    refused = (
        too_small(picture, WINDOW)
        or flat(seen, "the picture")
        or flat(before, "the base model's picture")
    )
    return refused or ssim(seen, before)
