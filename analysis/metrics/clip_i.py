"""CLIP-I: how like the references CLIP finds a picture; for those who have CLIP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from analysis.metrics.base import (
    Axis,
    Better,
    Company,
    Counts,
    MetricConfig,
    Need,
    Picture,
    Value,
    metrics,
)
from analysis.metrics.hub import why_not
from analysis.metrics.networks import CLIP, CLIP_TYPES, clip, likeness
from trainer.core.schema import Knob


@metrics.add
class ClipI(MetricConfig):
    """Mean cosine of CLIP's picture features to the references' (CLIP-I of arXiv:2208.12242)."""

    kind: Literal["clip_i"] = "clip_i"

    weights: Annotated[
        str, Knob(advanced=True, private=True, why="The usual one that has safetensors.")
    ] = CLIP
    """CLIP's name on the hub or its folder. The default takes 1.7 GB and some seconds a picture on
    a CPU; a smaller one (ViT-B/32) is faster and sees less. Numbers of different weights cannot be
    compared."""

    title: ClassVar[str] = "CLIP likeness to the references"
    axis: ClassVar[Axis] = "learned"
    better: ClassVar[Better] = "higher"
    limits: ClassVar[tuple[float | None, float | None]] = (-1, 1)
    needs: ClassVar[frozenset[Need]] = frozenset({"reference"})
    counts: ClassVar[Counts] = "trigger"
    meaning: ClassVar[str] = (
        "How like the picture is, on average, to the held-out pictures of what was trained (to the "
        "training pictures when none were held out), as CLIP sees it: even unrelated pictures are "
        "far above 0, so read it against the base model's."
    )
    distrust: ClassVar[str] = (
        "CLIP sees what kind of thing it is more than which one, so any good cat is like your cat; "
        "and a copy of a training picture scores high."
    )

    def absent(self) -> str:
        return why_not(self.weights, CLIP_TYPES)

    def score(self, pictures: Sequence[Picture], company: Company) -> list[Value]:
        return list(likeness(clip(self.weights).pictures, pictures, company.references))
