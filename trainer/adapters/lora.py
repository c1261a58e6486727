"""LoRA: the update is a product of two thin matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from trainer.adapters.base import AdapterConfig, adapters
from trainer.core.schema import Knob

if TYPE_CHECKING:
    from peft import PeftConfig


@adapters.add
class LoraConfig(AdapterConfig):
    """Low-rank adaptation (arXiv:2106.09685)."""

    kind: Literal["lora"] = "lora"
    dropout: Annotated[
        float, Field(ge=0, lt=1), Knob(step=0.05, advanced=True, why="Off in most recipes.")
    ] = 0.0
    """Share of the adapter's input that is zeroed while training; a guard against memorising.
    Several processes draw other masks than one does."""

    def peft_config(self, modules: list[str]) -> PeftConfig:
        import peft

        return peft.LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            init_lora_weights=True,
            target_modules=modules,
        )
