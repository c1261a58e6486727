"""The numbers of a sweep: every metric at every setting, prompt and seed.

It knows no metric by name and decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
else:
    Array = Any


class Setting(NamedTuple):
    """What a person chooses: which epoch, and how strongly to apply it."""

    epoch: int
    strength: float

    @property
    def effort(self) -> tuple[int, float, float]:
        """Smaller for an earlier epoch, then for a gentler strength, whatever its sign."""
        return self.epoch, abs(self.strength), self.strength


@dataclass(frozen=True, slots=True)
class Prompt:
    """What pictures are asked for.

    Attributes:
        kind: "trigger" asks for what was trained, "plain" does not and shows what leaks.
    """

    text: str
    kind: Literal["trigger", "plain"] = "trigger"


@dataclass(frozen=True, slots=True)
class Column:
    """One metric over the sweep. NaN where there is no number.

    Attributes:
        values: `(S, P, K)`: settings, prompts (or pictures that are judged), seeds (or draws).
        control: `(P, K)`: the base model's own; NaN for a metric that compares with it.
        own: `(S, P, K)`: the same where each setting has a control of its own.
    """

    values: Array
    control: Array
    own: Array | None = None

    @property
    def base(self) -> Array:
        """What values are compared with: `(S, P, K)`, or `(1, P, K)` where all share it."""
        return self.control[None] if self.own is None else self.own


@dataclass(frozen=True, slots=True)
class Table:
    """All columns of a sweep.

    Attributes:
        settings: `S` of them, by epoch, then strength.
        prompts: `P` of them.
        seeds: `K` of them.
        columns: By metric. Those of pictures have the shape of settings, prompts and seeds.
        judged: Columns of the model's own judgement, over pictures and draws instead.
        dropped: Settings that a race left behind, which have fewer pictures.
    """

    settings: tuple[Setting, ...]
    prompts: tuple[Prompt, ...]
    seeds: tuple[int, ...]
    columns: dict[str, Column]
    judged: dict[str, Column]
    dropped: frozenset[Setting] = frozenset()
