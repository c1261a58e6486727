"""A base model as it lies on disk: what a family asks of it, whatever form it has there.

`ModelFolder` is the Diffusers format, `SingleFile` a checkpoint in one file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trainer.core.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.core.device import Bits, Plan


class ModelFiles(ABC):
    """A base model on this machine's disk.

    Attributes:
        path: Its folder or file.
        parts: Part name -> [library, class], and what the pipeline is told besides, as in a
            folder's model_index.json.
        notes: What the person should know of how it is read, in sentences.
    """

    path: Path
    parts: dict[str, Any]
    notes: tuple[str, ...] = ()

    @abstractmethod
    def has(self, name: str) -> bool:
        """Whether the model has this part."""

    @abstractmethod
    def told_in(self, name: str) -> str:
        """Where the settings of a part are written, for messages."""

    @abstractmethod
    def empty(self, name: str) -> Any:
        """One network of the model without weights (on torch's meta device), in bf16."""

    @abstractmethod
    def scheduler(self) -> Any:
        """The scheduler that the model was published with."""

    @abstractmethod
    def fingerprint(self, name: str) -> str:
        """A hash of the part's weights, words and settings, for cache keys and metadata.

        Raises:
            ModelError: The model has no such part.
        """

    @abstractmethod
    def _network(self, name: str, plan: Plan, bits: Bits, waiting: float) -> Any:
        """One network, frozen, held in `bits`, the share `waiting` of its blocks offloaded."""

    @abstractmethod
    def _tokenizer(self, name: str) -> Any:
        """A tokenizer as it was published."""

    def part(self, name: str, plan: Plan) -> Any:
        """One network of the model, frozen, as the plan holds it, on its device.

        Raises:
            ModelError: A file or a tensor is missing, or damaged.
        """
        thrift, waiting = plan.thrift, 0.0
        bits: Bits = "plain"
        if name.startswith("text"):
            bits = thrift.text
        elif name != "vae":
            bits, waiting = thrift.base, thrift.offload
            plan = replace(plan, device="cpu") if plan.sharded else plan
        return self._network(name, plan, bits, waiting)

    def vae(self, plan: Plan) -> Any:
        """The VAE; on a CPU its decoder's weights lie as a CPU likes them, a third faster."""
        import torch

        vae = self.part("vae", plan)
        if plan.device == "cpu":
            vae.decoder.to(memory_format=torch.channels_last)
        return vae

    def settings(self, name: str) -> Any:
        """The configuration of one network of the model."""
        return self.empty(name).config

    def tokenizer(self, name: str, *, tokens: int, length: int) -> Any:
        """A tokenizer of the model, for a text encoder of so many tokens and places.

        Raises:
            ModelError: Its vocabulary is missing, or not that of the text encoder.
        """
        tokenizer = self._tokenizer(name)
        numbers = tokenizer.get_vocab().values()
        if max(numbers) >= tokens or 2 * len(numbers) < tokens:
            raise ModelError(
                f"its {len(numbers)} tokens, numbered up to {max(numbers)}, do not fit the "
                f"text encoder, which knows {tokens}",
                where=self.told_in(name),
                hint="the tokenizer that the model was published with",
            )
        tokenizer.model_max_length = min(tokenizer.model_max_length, length)
        return tokenizer
