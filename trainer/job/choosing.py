"""The section of a job about choosing: what is rendered and judged to say which epoch to keep."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from trainer.core.schema import Config, Knob
from trainer.families.base import Guidance

MOST_STRENGTHS = 100


class AnalysisConfig(Config):
    """Which epochs, strengths, prompts and seeds are compared, and by what rule."""

    after_training: Annotated[bool, Knob(why="It takes about as long as the training.")] = False
    """Analyse the run as soon as it is completed."""

    strengths: Annotated[tuple[float, ...], Knob(why="Past 1.2 few LoRAs hold together.")] = (
        0.2,
        0.4,
        0.6,
        0.8,
        1.0,
        1.2,
    )
    """Strengths to render every epoch at. 0, the base model alone, is always rendered."""

    fine: Annotated[bool, Knob(why="Two more strengths cost little beside the grid.")] = True
    """Afterwards render the chosen epoch at strengths half a step to both sides of the chosen."""

    prompts: Annotated[tuple[str, ...], Knob(private=True)] = ()
    """Prompts that ask for what was trained. Empty: made from the trigger word and the class, or
    from captions."""

    plain_prompts: Annotated[tuple[str, ...], Knob(private=True)] = ()
    """Prompts without the trigger word, to see what leaks into them. Empty: made from the
    class, when there is a trigger word and a dataset."""

    negative: Annotated[str, Knob(advanced=True, private=True)] = ""
    """What the pictures should not show."""

    seeds: Annotated[int, Field(ge=1, le=1000), Knob(why="One seed says little.")] = 2
    """Pictures of each prompt; all epochs and strengths use the same seeds."""

    first_seed: Annotated[
        int, Field(ge=0, lt=2**31), Knob(advanced=True, why="Other seeds than the samples'.")
    ] = 1000
    """The first seed; the next are counted up from it."""

    steps: Annotated[int, Field(ge=1, le=1000), Knob(advanced=True, why="Enough for DDIM.")] = 25
    """Denoising steps a picture."""

    guidance: Guidance = None

    side: Annotated[
        int, Field(ge=0, le=4096), Knob(unit="px", advanced=True, why="What was trained at.")
    ] = 0
    """Side of the square pictures; 0 is the size of training, or the model's own."""

    minutes: Annotated[
        float, Field(ge=0), Knob(unit="min", advanced=True, why="The full grid is surest.")
    ] = 0.0
    """With a time to spend, hopeless settings are dropped early and the rest is spent on the
    contenders; 0 renders everything."""

    renders: Annotated[
        int, Field(ge=0), Knob(unit="pictures", advanced=True, why="The full grid is surest.")
    ] = 0
    """The same with a number of pictures to spend."""

    rule: Annotated[
        Literal["sweetspot", "ancestor", "weights"],
        Knob(why="Learned most while quality holds; BRISQUE alone misleads."),
    ] = "sweetspot"
    """How the choice is made: the most learned whose quality holds, the lowest BRISQUE, or the
    best by weights of your own."""

    weights: Annotated[tuple[str, ...], Knob(advanced=True)] = ()
    """For rule `weights`: metrics and what each counts, like `fidelity=2`."""

    metrics: Annotated[
        tuple[str, ...], Knob(advanced=True, why="All that need no further network.")
    ] = ("ssim", "brisque", "burn", "fidelity", "memorised", "diversity", "leak")
    """What is measured in the pictures. For those who have CLIP, DINOv2, LPIPS or pyiqa too:
    `clip_i`, `clip_t`, `dinov2`, `lpips`, `pyiqa`; settings follow a colon, like
    `clip_i: weights=/models/clip` or `pyiqa: name=niqe`."""

    judge: Annotated[bool, Knob(advanced=True, why="Costs a tenth of the rendering.")] = True
    """Ask the model itself too: its loss on held-out pictures and on pictures of the class."""

    draws: Annotated[
        int, Field(ge=1, le=1000), Knob(advanced=True, why="Noise evens out over pictures.")
    ] = 4
    """Noises and timesteps for each picture that is judged."""

    together: Annotated[
        int, Field(ge=0, le=4096), Knob(advanced=True, private=True, why="By picture size.")
    ] = 0
    """Pictures rendered in one pass; 0 chooses by their size and the device."""

    processes: Annotated[int, Field(ge=0, le=64), Knob(advanced=True, private=True)] = 0
    """Processes that share the rendering and the judging, one a device; a CPU's threads are
    divided among them. 0: as many as `compute.processes`."""

    @field_validator("strengths")
    @classmethod
    def _strengths_are_usable(cls, strengths: tuple[float, ...]) -> tuple[float, ...]:
        if not strengths or len(strengths) > MOST_STRENGTHS:
            raise ValueError(f"needs 1 to {MOST_STRENGTHS} strengths")
        odd = [s for s in strengths if not math.isfinite(s) or not 0 < abs(s) <= 10]
        if odd:
            raise ValueError(f"strength {odd[0]:g} is not between 0 and 10 (0 is always rendered)")
        if len(set(strengths)) < len(strengths):
            raise ValueError("a strength stands there twice")
        return tuple(sorted(strengths))

    @field_validator("prompts", "plain_prompts")
    @classmethod
    def _prompts_say_something(cls, prompts: tuple[str, ...]) -> tuple[str, ...]:
        if any(not prompt.strip() for prompt in prompts):
            raise ValueError("an empty prompt asks for nothing")
        if len(set(prompts)) < len(prompts):
            raise ValueError("a prompt stands there twice")
        return prompts

    @model_validator(mode="after")
    def _weights_fit_the_rule(self) -> Self:
        if self.rule == "weights" and not self.weights:
            raise ValueError("rule 'weights' needs weights, like weights = ['fidelity=2']")
        if (self.minutes or self.renders) and self.rule != "sweetspot":
            raise ValueError(
                f"a race drops what learned little, which rule {self.rule!r} does not ask for; "
                "render the full grid"
            )
        if self.minutes and self.renders:
            raise ValueError(
                f"minutes ({self.minutes:g}) and renders ({self.renders}) are both given; keep one"
            )
        self.weight_of  # noqa: B018 - raises where one is no number
        return self

    @property
    def weight_of(self) -> dict[str, float]:
        """The weights by metric."""
        weights: dict[str, float] = {}
        for told in self.weights:
            name, equals, number = told.partition("=")
            try:
                weights[name.strip()] = float(number)
            except ValueError:
                equals = ""
            if not math.isfinite(weights.get(name.strip(), math.nan)):
                equals = ""
            if not equals:
                raise ValueError(f"weight {told!r} is not like 'fidelity=2'")
        return weights
