"""CLIP-T: how well CLIP finds that a picture shows its prompt; for those who have CLIP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

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
from analysis.metrics.hub import why_not
from analysis.metrics.networks import CLIP, CLIP_TYPES, clip
from trainer.core.schema import Knob


@metrics.add
class ClipT(MetricConfig):
    """Cosine of CLIP's features of a picture and of its prompt (CLIP-T of arXiv:2208.12242).

    It stands aside: likeness to a subject is bought with a little of it in every good LoRA, so
    that held against the base model's as a quality it would rule out all that has learned.
    """

    kind: Literal["clip_t"] = "clip_t"

    weights: Annotated[
        str, Knob(advanced=True, private=True, why="The usual one that has safetensors.")
    ] = CLIP
    """CLIP's name on the hub or its folder, with its tokenizer. Numbers of different weights
    cannot be compared."""

    title: ClassVar[str] = "CLIP fit to the prompt"
    axis: ClassVar[Axis] = "aside"
    better: ClassVar[Better] = "higher"
    limits: ClassVar[tuple[float | None, float | None]] = (-1, 1)
    needs: ClassVar[frozenset[Need]] = frozenset({"prompt"})
    meaning: ClassVar[str] = (
        "How well the picture shows what its prompt asks for, as CLIP sees it: about 0.3 fits "
        "well. A fall against the base model's says that the LoRA overrides prompts."
    )
    distrust: ClassVar[str] = (
        "CLIP does not know the trigger word, is poor at numbers, places and who does what, and "
        "reads the first 77 tokens only."
    )

    def absent(self) -> str:
        return why_not(self.weights, CLIP_TYPES, reads=True)

    def score(self, pictures: Sequence[Picture], company: Company) -> list[Value]:
        if not pictures:
            return []
        network = clip(self.weights)
        texts = list(dict.fromkeys(company.prompts))
        read = dict(zip(texts, network.texts(texts), strict=True))
        values: list[Value] = []
        for seen, prompt in zip(network.pictures(pictures), company.prompts, strict=True):
            if prompt.strip():
                values.append(float(np.dot(seen, read[prompt])))
            else:
                values.append(Unscored("missing", "its prompt is empty"))
        return values
