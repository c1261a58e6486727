"""Settings that every family has, each with the words and bounds that it has in all of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from trainer.core.schema import Knob

BaseRef = Annotated[
    str,
    Field(
        description="Model to adapt: `demo` (the small one that ships with Sweetspot), a folder "
        "in Diffusers format, a checkpoint in one .safetensors file, or the name of a hub "
        "repository."
    ),
    Knob(label="Base model", private=True, why="Works on any machine, without a download."),
]
Guidance = Annotated[
    float | None,
    Field(
        ge=0,
        le=50,
        description="How strictly prompts are followed. Empty: the family's usual value, which "
        "stands above its settings in the reference.",
    ),
    Knob(advanced=True, why="What pictures of the family are usually rendered with."),
]
Side = Annotated[
    int,
    Field(
        ge=64,
        le=2048,
        multiple_of=8,
        description="Side of the square whose area every training picture is scaled to. "
        "The size the base model was trained at learns best.",
    ),
]
Resolution = Annotated[Side, Knob(unit="px", step=64, why="SD 1.5 was trained at 512 px.")]
