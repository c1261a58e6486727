"""Settings that the families of the noise-predicting kind share (DDPM: SD, SDXL)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trainer.core.schema import Config, Knob


class NoiseConfig(Config):
    """How pictures are noised while training, and how the answers are weighed."""

    prediction: Annotated[
        Literal["auto", "epsilon", "v_prediction"],
        Knob(advanced=True, why="A wrong guess ruins a run, and the model says it."),
    ] = "auto"
    """What the denoiser answers: the noise or the velocity. `auto` reads it from the model."""

    min_snr_gamma: Annotated[
        float,
        Field(ge=0, le=100),
        Knob(advanced=True, why="The paper's 5 helps; off is the plain loss."),
    ] = 0.0
    """Weigh timesteps by min-SNR with this gamma (arXiv:2303.09556); 0 turns it off."""

    offset: Annotated[
        float,
        Field(ge=0, le=1),
        Knob(label="Noise offset", advanced=True, why="Most base models were made without."),
    ] = 0.0
    """Shift each picture's noise as a whole by this much; teaches very dark and bright pictures."""
