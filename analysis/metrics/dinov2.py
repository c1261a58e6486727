"""DINOv2: how like the references it finds a picture; for those who have DINOv2."""

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
from analysis.metrics.networks import DINO, DINO_TYPES, dino, likeness
from trainer.core.schema import Knob


@metrics.add
class Dinov2(MetricConfig):
    """Mean cosine of DINOv2's class tokens (arXiv:2304.07193) to the references'."""

    kind: Literal["dinov2"] = "dinov2"

    weights: Annotated[str, Knob(advanced=True, private=True, why="The usual size, 350 MB.")] = DINO
    """DINOv2's name on the hub or its folder. Larger ones (dinov2-large) tell individuals better
    apart and take longer. Numbers of different weights cannot be compared."""

    title: ClassVar[str] = "DINOv2 likeness to the references"
    axis: ClassVar[Axis] = "learned"
    better: ClassVar[Better] = "higher"
    limits: ClassVar[tuple[float | None, float | None]] = (-1, 1)
    needs: ClassVar[frozenset[Need]] = frozenset({"reference"})
    counts: ClassVar[Counts] = "trigger"
    meaning: ClassVar[str] = (
        "How like the picture is, on average, to the held-out pictures of what was trained (to the "
        "training pictures when none were held out), as DINOv2 sees it: 0 is unrelated, 1 the same."
    )
    distrust: ClassVar[str] = (
        "It was made to tell things apart, not ways of drawing, so of a style it says less; pose "
        "and background count too, and a copy of a training picture scores high."
    )

    def absent(self) -> str:
        return why_not(self.weights, DINO_TYPES)

    def score(self, pictures: Sequence[Picture], company: Company) -> list[Value]:
        return list(likeness(dino(self.weights), pictures, company.references))
