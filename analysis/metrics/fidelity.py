"""Fidelity: how like the pictures are to those of what was trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

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


@metrics.add
class Fidelity(MetricConfig):
    """Mean likeness to the reference pictures, as the base model's own eye sees them.

    The mean, since the best of several rewards a copy of one, and is higher by chance the more
    references there are.
    """

    title: ClassVar[str] = "Likeness to the references"
    axis: ClassVar[Axis] = "learned"
    better: ClassVar[Better] = "higher"
    limits: ClassVar[tuple[float | None, float | None]] = (-1, 1)
    needs: ClassVar[frozenset[Need]] = frozenset({"reference", "eye"})
    counts: ClassVar[Counts] = "trigger"
    meaning: ClassVar[str] = (
        "How like the picture is, on average, to the held-out pictures of what was trained (to the "
        "training pictures when none were held out): 0 is unrelated, 1 the same."
    )
    distrust: ClassVar[str] = (
        "A copy of a training picture scores high too, so look at copies and the loss on held-out "
        "pictures beside it; the mean over all references keeps one copy from deciding."
    )

    kind: Literal["fidelity"] = "fidelity"

    def score(self, pictures: Sequence[Picture], company: Company) -> list[Value]:
        assert company.eye is not None
        if not pictures:
            return []
        likeness = company.eye(pictures) @ company.eye(company.references).T
        return [float(value) for value in np.mean(likeness, axis=1)]
