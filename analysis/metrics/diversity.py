"""Diversity: how different the pictures of other seeds are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

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


@metrics.add
class Diversity(MetricConfig):
    """Mean distance to the other seeds' pictures of the same setting and prompt."""

    title: ClassVar[str] = "Diversity over seeds"
    axis: ClassVar[Axis] = "quality"
    better: ClassVar[Better] = "higher"
    limits: ClassVar[tuple[float | None, float | None]] = (0, 2)
    needs: ClassVar[frozenset[Need]] = frozenset({"seeds", "eye"})
    meaning: ClassVar[str] = (
        "How different the pictures of other seeds are, as the base model's own eye sees them: "
        "near 0 every seed gives the same picture."
    )
    distrust: ClassVar[str] = (
        "With two seeds it is one distance a prompt; a subject that was learned well looks alike "
        "everywhere, as it should."
    )

    kind: Literal["diversity"] = "diversity"

    def score(self, pictures: Sequence[Picture], company: Company) -> list[Value]:
        assert company.eye is not None
        if not pictures:
            return []
        seen = company.eye(pictures)
        groups = np.asarray(company.groups)
        values: list[Value] = []
        for index, group in enumerate(groups):
            others = np.flatnonzero(groups == group)
            others = others[others != index]
            if len(others):
                values.append(float(np.mean(1 - seen[others] @ seen[index])))
            else:
                values.append(Unscored("alone", "there is no picture of another seed"))
        return values
