"""What an optimizer is to the rest of the app: a config that builds one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from trainer.core.registry import Registry
from trainer.core.schema import Config, Knob

if TYPE_CHECKING:
    from torch.optim import Optimizer

LearningRate = Annotated[
    float,
    Field(
        gt=0,
        le=1,
        description="Peak learning rate of the denoiser's adapter. Higher learns faster and "
        "forgets more of the base model.",
    ),
    Knob(why="1e-4 is what the Diffusers guide and kohya's SD 1.5 presets start from."),
]
WeightDecay = Annotated[
    float,
    Field(ge=0, le=1, description="Pull of the adapter's weights towards zero at each step."),
    Knob(advanced=True, why="AdamW's own default."),
]


class OptimizerConfig(Config, ABC):
    """What turns gradients into updates."""

    kind: str
    learning_rate: LearningRate = 1e-4
    weight_decay: WeightDecay = 1e-2

    @property
    def moments(self) -> float:
        """Numbers in fp32 that the optimizer keeps a parameter."""
        return 2.0

    @abstractmethod
    def build(self, groups: list[dict[str, Any]], notice: Callable[[str], None]) -> Optimizer:
        """The optimizer over parameter groups that carry their own `lr`.

        Args:
            groups: As torch takes them, with "params" and "lr".
            notice: Told in words when something other than what was asked is built.
        """


optimizers: Registry[OptimizerConfig] = Registry(
    "optimizer", package="trainer.optimizers", default="adamw"
)
