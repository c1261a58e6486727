"""The sections of a job about training itself, which every model family shares."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from trainer.core.device import Precision
from trainer.core.errors import ConfigError
from trainer.core.schema import Config, Knob
from trainer.families.base import Guidance

Share = Annotated[float, Field(ge=0, lt=1)]


class TextEncoderConfig(Config):
    """An adapter on the text encoder as well."""

    train: Annotated[
        bool, Knob(label="Train the text encoder", why="The denoiser alone is safer.")
    ] = False
    """Learn new words in the text encoder too. Helps odd subjects, overfits sooner, and captions
    can no longer be encoded ahead."""

    learning_rate: Annotated[
        float,
        Field(gt=0, le=1),
        Knob(advanced=True, why="Half the denoiser's, as in kohya's presets."),
    ] = 5e-5
    """Peak learning rate of the text encoder's adapter."""

    which: Annotated[
        Literal["all", "first", "second"],
        Knob(label="Which text encoder", advanced=True, why="They read the same words."),
    ] = "all"
    """Which one learns, where two can: in every family that has both, the `first` is CLIP-L and
    the `second` OpenCLIP-G. A model with one has no `second`."""

    def chosen(self, encoders: Iterable[str]) -> tuple[str, ...]:
        """Which of a model's text encoders carry an adapter, by their names in the pipeline.

        Raises:
            ConfigError: The one that is asked for is not there.
        """
        there = tuple(encoders)
        if not self.train:
            return ()
        chosen = {"all": there, "first": there[:1], "second": there[1:2]}[self.which]
        if not chosen:
            raise ConfigError(
                f"text_encoder.which is {self.which!r}, and the model's text encoders are: "
                f"{', '.join(there) or 'none'}",
                where="text_encoder.which",
                hint="'all'" if there else "text_encoder.train = false",
            )
        return chosen


class ScheduleConfig(Config):
    """How long and how hard to train."""

    epochs: Annotated[int | None, Field(ge=1, le=100000)] = None
    """Passes over the dataset; 10 when neither epochs nor steps is given."""

    steps: Annotated[int | None, Field(ge=1, le=10_000_000), Knob(advanced=True)] = None
    """Optimizer steps to take instead of whole epochs."""

    batch_size: Annotated[
        int,
        Field(ge=1, le=256),
        Knob(step=1, why="Fits the smallest card; more is steadier where it fits."),
    ] = 1
    """Pictures that go through the model at once, over all processes together."""

    accumulate: Annotated[
        int,
        Field(ge=1, le=1024),
        Knob(
            label="Gradient accumulation",
            advanced=True,
            why="One batch a step; raise it when the card is too small.",
        ),
    ] = 1
    """Batches whose gradients are added up for one step: a larger batch for the same memory."""

    kind: Annotated[
        Literal["constant", "linear", "cosine"],
        Knob(label="Learning rate over time", why="Ends softly."),
    ] = "cosine"
    """How the learning rate falls after warm-up: not at all, in a line, or along a cosine."""

    warmup: Annotated[
        Share, Knob(advanced=True, why="A short ramp steadies AdamW's first steps.")
    ] = 0.05
    """Share of all steps over which the learning rate rises from zero."""

    clip: Annotated[float, Field(ge=0, le=1000), Knob(advanced=True, why="Diffusers' default.")] = (
        1.0
    )
    """Gradients longer than this are shortened to it; 0 turns it off."""

    ema: Annotated[
        float,
        Field(ge=0, lt=1),
        Knob(label="EMA decay", advanced=True, why="Short runs gain little from a mean."),
    ] = 0.0
    """Save a running mean of the weights, which is smoother; 0.99 or so, 0 turns it off."""

    seed: Annotated[int | None, Field(ge=0, lt=2**31), Knob(advanced=True)] = None
    """Fixes noise and order; when empty the run draws one and records it."""

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.epochs is not None and self.steps is not None:
            raise ValueError(
                f"epochs ({self.epochs}) and steps ({self.steps}) are both given; keep one"
            )
        return self


class ComputeConfig(Config):
    """How the work is done on this machine."""

    device: Annotated[str, Knob(advanced=True, private=True)] = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1` or `mps`."""

    precision: Annotated[Precision, Knob(advanced=True, why="The fastest the device has.")] = "auto"
    """Number format of the frozen weights and the maths; what trains is always fp32."""

    packed: Annotated[bool, Knob(advanced=True, why="Off: it needs memory for a second copy.")] = (
        False
    )
    """On a CPU, keep frozen convolutions laid out for its matrix units: somewhat faster, for
    a second copy of their weights."""

    gradient_checkpointing: Annotated[bool, Knob(advanced=True, why="Slower; for small cards.")] = (
        False
    )
    """Recompute activations instead of keeping them: a third slower, much less memory."""

    attention: Annotated[
        str,
        Field(pattern=r"^[a-z0-9_]+$"),
        Knob(label="Attention by", advanced=True, why="torch picks the fastest it has."),
    ] = "auto"
    """What computes attention: `auto` is torch's own; or one of Diffusers' backends, such as
    `flash`, `sage` or `xformers`, whose package you have installed."""

    compile: Annotated[
        bool, Knob(label="Compile blocks", advanced=True, why="It pays in long runs only.")
    ] = False
    """Compile the denoiser's blocks: minutes before the first step, then faster ones. Needs a
    C++ compiler, and Triton on a card."""

    processes: Annotated[int, Field(ge=1, le=64), Knob(advanced=True, private=True)] = 1
    """Processes that share each batch, one a device (docs/cluster.md tells of more)."""


class SamplesConfig(Config):
    """Pictures rendered while training, to look at."""

    every: Annotated[
        int, Field(ge=0, le=10000), Knob(unit="epochs", why="Cheap beside an epoch.")
    ] = 1
    """Render after every so many epochs; 0 renders none."""

    prompts: Annotated[tuple[str, ...], Knob(private=True)] = ()
    """What to render; empty means the first captions of the dataset."""

    negative: Annotated[str, Knob(advanced=True, private=True)] = ""
    """What the pictures should not show."""

    seed: Annotated[
        int,
        Field(ge=0, lt=2**31),
        Knob(advanced=True, why="Any number does, as long as it stays the same."),
    ] = 42
    """The first picture's seed; the same each time, so that epochs can be compared."""

    steps: Annotated[int, Field(ge=1, le=1000), Knob(advanced=True, why="Enough for DDIM.")] = 25
    """Denoising steps a picture."""

    guidance: Guidance = None


class SaveConfig(Config):
    """What is kept."""

    every_epochs: Annotated[
        int,
        Field(ge=1, le=100000),
        Knob(unit="epochs", why="The best epoch is chosen afterwards, so keep them all."),
    ] = 1
    """A LoRA file after every so many epochs, and after the last."""

    files: Annotated[
        int,
        Field(ge=0, le=10_000),
        Knob(label="LoRA files in all", why="As every_epochs says; presets count in steps."),
    ] = 0
    """Save about so many files, evenly over the run, at the ends of epochs, instead of every
    `every_epochs`; samples and validation then come no more often. 0 turns it off."""

    every_steps: Annotated[
        int,
        Field(ge=0, le=10_000_000),
        Knob(unit="steps", advanced=True, why="Epochs are enough to choose from."),
    ] = 0
    """A LoRA file after every so many steps as well; 0 turns it off."""

    state_every_steps: Annotated[
        int,
        Field(ge=0, le=10_000_000),
        Knob(unit="steps", advanced=True, why="A few minutes of work."),
    ] = 100
    """Keep the state to resume from after so many steps, besides each epoch; 0: epochs only."""

    precision: Annotated[
        Literal["fp16", "bf16", "fp32"], Knob(advanced=True, why="Half the size; error below 1e-4.")
    ] = "fp16"
    """Number format of the LoRA files."""

    diffusers: Annotated[bool, Knob(advanced=True, why="kohya's layout loads everywhere.")] = False
    """Write each file in the Diffusers/PEFT layout too."""

    def rhythm(self, epochs: int) -> int:
        """Epochs from one file to the next in a run of so many."""
        return max(1, round(epochs / self.files)) if self.files else self.every_epochs

    def looks(self, every: int, epochs: int) -> int:
        """Epochs from one look to the next that is asked for every so many; 0 for none."""
        return max(every, self.rhythm(epochs)) if every and self.files else every
