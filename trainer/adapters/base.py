"""What a kind of adapter is to the rest of the app: a config that knows its PEFT config."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from trainer.core.registry import Registry
from trainer.core.schema import Config, Knob

if TYPE_CHECKING:
    from peft import PeftConfig

Rank = Annotated[
    int,
    Field(
        ge=1,
        le=512,
        description="Width of the update. Higher can hold more detail, writes a larger file and "
        "memorises sooner.",
    ),
    Knob(step=1, why="8 to 32 is what published SD 1.5 recipes use; 16 is their middle."),
]
Alpha = Annotated[
    float,
    Field(
        gt=0,
        le=1024,
        description="The update is scaled by alpha / rank, so raising alpha acts like raising "
        "the learning rate.",
    ),
    Knob(why="Equal to the rank: a scale of 1, the one that no loader gets wrong."),
]
Targets = Annotated[
    str,
    Field(
        min_length=1,
        description="Modules of the denoiser that carry the adapter: `attention`, `attention+ff`, "
        "`linear`, `linear+conv`, or a regular expression that matches whole module paths.",
    ),
    Knob(advanced=True, why="DreamBooth LoRA trains the attention projections."),
]


class AdapterConfig(Config, ABC):
    """The kind of adapter to train."""

    kind: str
    rank: Rank = 16
    alpha: Alpha = 16.0
    targets: Targets = "attention"

    @abstractmethod
    def peft_config(self, modules: list[str]) -> PeftConfig:
        """PEFT's own config, for exactly these modules (full paths)."""


adapters: Registry[AdapterConfig] = Registry("adapter", package="trainer.adapters", default="lora")
