"""Base models from the hub are fetched here, in front of the person, before a worker needs them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainer.families.base import ModelConfig


def stay_offline() -> None:
    """Ask the network for nothing, in this process and those that it starts."""
    os.environ["HF_HUB_OFFLINE"] = "1"


def fetched(config: ModelConfig, say: Callable[[str], None]) -> ModelConfig:
    """The same settings, once all that they name is on this machine.

    Raises:
        ModelError: It cannot be had; says what to do.
        ResourceError: The disk has no room for it.
    """
    from trainer.families import hub
    from trainer.families.finding import downloads

    for download in downloads(config):
        say(f"fetching {download.told}")
        hub.fetch(download)
    return config
