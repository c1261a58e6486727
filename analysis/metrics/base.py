"""What a metric is: a config that says what its numbers mean, and scores pictures.

It knows no sweeps and no files: pictures come as arrays, with the company that they are
compared with. What counts against what is `ranking`'s.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from trainer.core.registry import Registry
from trainer.core.schema import Config

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]
    """`(H, W, 3)`, RGB, 0 to 255."""
    Eye = Callable[[Sequence[NDArray[np.uint8]]], NDArray[np.float64]]
    """Pictures -> `(N, D)`: what a network sees in each, rows of length 1."""
else:
    Picture = Any
    Eye = Callable[..., Any]

Better = Literal["higher", "lower", "neither"]
Axis = Literal["learned", "quality", "aside"]
"""How much the LoRA learned; whether quality is held; or told beside them."""
Need = Literal["control", "reference", "training", "held_out", "seeds", "prompt", "eye"]
"""What a metric cannot do without. "reference" is held-out pictures, else training pictures."""
Counts = Literal["all", "trigger", "plain"]
"""Which prompts a metric counts on: all, those that ask for what was trained, the others."""


@dataclass(frozen=True, slots=True)
class Unscored:
    """A picture that has no number, and why.

    Attributes:
        status: One word for scripts: "flat", "too_small", "size", "missing", ...
        reason: One sentence for people.
    """

    status: str
    reason: str


Value = float | Unscored


@dataclass(frozen=True, slots=True)
class Company:
    """What pictures are compared with. Lists are as long as the pictures, in their order.

    Attributes:
        controls: The base model's own picture of the same prompt and seed; None when missing.
        prompts: What each picture was asked for.
        groups: A number for each picture; pictures of one setting and prompt share it.
        training: The pictures that were trained on.
        held_out: Pictures of the same that were not trained on.
        eye: A network that sees what is in a picture; the base model's own unless told.
    """

    controls: Sequence[Picture | None] = ()
    prompts: Sequence[str] = ()
    groups: Sequence[int] = ()
    training: Sequence[Picture] = field(default=())
    held_out: Sequence[Picture] = field(default=())
    eye: Eye | None = None

    @property
    def references(self) -> Sequence[Picture]:
        """Held-out pictures, else those that were trained on."""
        return self.held_out or self.training


class MetricConfig(Config, ABC):
    """A metric and its settings.

    Class attributes say what its numbers mean:
        title: As a column is headed.
        axis: What it speaks of.
        better: Which way is better; "neither" for a distance that is no merit.
        limits: The lowest and highest value there is; None where there is no end.
        needs: What it cannot do without.
        counts: The prompts it counts on.
        meaning: One sentence for people: what a high and a low value say.
        distrust: One sentence: when not to believe it.
        alone: A picture's number depends on it and its control alone, so pictures may be
            scored apart, in several processes.
    """

    title: ClassVar[str]
    axis: ClassVar[Axis]
    better: ClassVar[Better]
    limits: ClassVar[tuple[float | None, float | None]] = (None, None)
    needs: ClassVar[frozenset[Need]] = frozenset()
    counts: ClassVar[Counts] = "all"
    meaning: ClassVar[str]
    distrust: ClassVar[str]
    alone: ClassVar[bool] = False

    kind: str

    @property
    def column(self) -> str:
        """What its column is called: its kind, unless one kind may stand in a table twice."""
        return self.kind

    @property
    def heading(self) -> str:
        """The column's title."""
        return self.title

    def absent(self) -> str:
        """Why it cannot be used on this machine, in one sentence; empty when it can.

        Loads nothing: looks whether packages and weights are there.
        """
        return ""

    @abstractmethod
    def score(self, pictures: Sequence[Picture], company: Company) -> list[Value]:
        """One value a picture, in order. Never NaN: what has no number is `Unscored`."""


metrics: Registry[MetricConfig] = Registry("metric", package="analysis.metrics", default="ssim")
