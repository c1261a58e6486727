"""The section of a job about memory: what a run gives up to fit a small card."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from trainer.core.device import Bits, Thrift
from trainer.core.schema import Config, Knob


class MemoryConfig(Config):
    """How to fit a small card. Each setting says what it costs."""

    target_gib: Annotated[
        float | None,
        Field(gt=0, le=1024),
        Knob(label="Memory to use at most", unit="GiB", why="The model as it is, when it fits."),
    ] = None
    """Chooses the settings below, the fastest that fit into so much memory of the device, and
    refuses the run when none does. Empty: they are as they stand."""

    base: Annotated[
        Bits, Knob(label="Frozen weights", advanced=True, why="Exact, and the fastest.")
    ] = "plain"
    """How the denoiser's frozen weights are held. `int8` and `fp8`: half the memory, a little
    slower, hardly less exact (int8) or somewhat (fp8). `nf4`: a quarter, slower, less exact; needs
    bitsandbytes. What trains stays exact, and a LoRA file does not change its size."""

    text: Annotated[
        Bits, Knob(label="Text encoders' weights", advanced=True, why="Exact, and the fastest.")
    ] = "plain"
    """The same for the text encoders: it counts for T5 (FLUX), which is as large as the rest."""

    double: Annotated[
        bool, Knob(label="Double quantisation", advanced=True, why="A tenth of nf4's memory.")
    ] = True
    """Hold nf4's scales in 8 bits too; it costs next to nothing."""

    staged: Annotated[
        bool, Knob(label="One part at a time", advanced=True, why="Costs nothing.")
    ] = True
    """Read the text encoders, encode all captions and free them; then the VAE; then the denoiser.
    Text encoders that train, or captions that vary, keep them in memory."""

    offload: Annotated[
        float,
        Field(ge=0, le=1),
        Knob(label="Weights kept in main memory", advanced=True, why="Each step fetches them."),
    ] = 0.0
    """Share of the denoiser's blocks whose frozen weights wait in main memory and come to the card
    when they are needed, the next one already while one computes: slower by what the cable takes,
    some seconds a step for FLUX."""

    recompute: Annotated[
        float,
        Field(ge=0, le=1),
        Knob(label="Blocks that are recomputed", advanced=True, why="All: the least memory."),
    ] = 1.0
    """With `compute.gradient_checkpointing`, the share of blocks whose activations are recomputed
    instead of kept; less is faster and takes more memory."""

    @property
    def thrift(self) -> Thrift:
        """The settings, as a plan holds them."""
        return Thrift(self.base, self.text, self.double, self.staged, self.offload, self.recompute)
