"""What a model family is to the rest of the app.

A family is one file with two classes: a `ModelConfig`, which can be read and shown
without torch, and the `LoadedModel` that its `load` returns. The training loop, the
cache and the renderer know only what stands here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from trainer.core.registry import Registry
from trainer.core.schema import Config, Knob
from trainer.families.naming import Naming

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from torch import Generator, Tensor, nn

    from trainer.core.batch import Batch
    from trainer.core.device import Plan

BaseRef = Annotated[
    str,
    Field(
        description="Model to adapt: `demo` (the small one that ships with Sweetspot), a folder "
        "in Diffusers format, or the name of a hub repository."
    ),
    Knob(label="Base model", private=True, why="Works on any machine, without a download."),
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


@dataclass(frozen=True, slots=True)
class Outline:
    """What training a model takes, found without reading its weights.

    Attributes:
        weights: Parameters of each part, by its name in the pipeline.
        adapted: Of each module that the targets mean, its inputs and outputs (a LoRA of rank r
            adds r times their sum).
        flops: Floating-point operations of the denoiser's forward pass, one picture.
        kept: Bytes that the forward pass keeps for the backward pass, one picture, in 16 bits.
        native_side: Side of the square pictures that the model was made for, px.
        size_step: Picture sides must be multiples of this, px.
        text_adapted: As `adapted`, of each text encoder, by its name in the pipeline.
        caption: Bytes of the words of an encoded caption, fp32.
    """

    weights: dict[str, int]
    adapted: dict[str, tuple[int, int]]
    flops: int
    kept: int
    native_side: int
    size_step: int
    text_adapted: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)
    caption: int = 0


class ModelConfig(Config, ABC):
    """Which base model to adapt."""

    naming: ClassVar[Naming]
    """What LoRA files call the modules of the family."""

    pipeline: ClassVar[str] = ""
    """The Diffusers pipeline that models of the family are saved as."""

    kind: str
    base: BaseRef
    resolution: Resolution

    @abstractmethod
    def outline(self, targets: str) -> Outline:
        """What the model takes, from its configuration files alone.

        Raises:
            ModelError: The model is missing, damaged or of another family.
        """

    @abstractmethod
    def load(self, plan: Plan) -> LoadedModel:
        """Read the weights and put them where `plan` says.

        Raises:
            ModelError: The model is missing, damaged or of another family.
        """


class LoadedModel(ABC):
    """A base model in memory.

    Attributes:
        denoiser: The UNet or transformer.
        text_encoders: By the name they have in the pipeline ("text_encoder"); empty once
            `release` has freed them.
        naming: What LoRA files call its modules.
        text_targets: What of each text encoder may carry an adapter, as `targets` tells it of
            the denoiser; one choice.
        warnings: What the person should know of how it was loaded, in sentences.
        plan: Where it is, in what format.
        image_key: Names the weights and settings of `encode_images`; part of cache keys.
        text_key: The same for `encode_captions`.
        render_key: Names what `pipeline` renders by: the scheduler, and what the denoiser answers.
        base_hash: Names the denoiser's weights.
        native_side: Side of the square pictures it was made for, px.
        size_step: Picture sides must be multiples of this, px.
    """

    targets: ClassVar[dict[str, str]]
    """Named choices of modules that carry an adapter: name -> regular expression that a
    module's whole path in the denoiser must match."""

    denoiser: nn.Module
    text_encoders: dict[str, nn.Module]
    naming: Naming
    text_targets: dict[str, str]
    warnings: tuple[str, ...] = ()
    plan: Plan
    image_key: str
    text_key: str
    render_key: str
    base_hash: str
    native_side: int
    size_step: int

    @property
    @abstractmethod
    def modelspec(self) -> dict[str, str]:
        """`ss_*` and `modelspec.*` header entries by which readers file a LoRA of this model."""

    @abstractmethod
    def encode_images(self, pixels: Tensor) -> Tensor:
        """`(B, 3, H, W)` in [-1, 1] -> the latents' mean and deviation `(B, 2, C, h, w)`, fp32.

        Both already carry the family's scaling and shift.
        """

    @abstractmethod
    def encode_captions(self, captions: tuple[str, ...]) -> dict[str, Tensor]:
        """Conditioning for `losses` and `render`, batch first, one row a caption.

        Differentiable when a text encoder trains.
        """

    def encode_negative(self, text: str) -> dict[str, Tensor]:
        """What a picture should not show, as `encode_captions`; empty text is no words at all."""
        return self.encode_captions((text,))

    @abstractmethod
    def draw_noise(self, shape: tuple[int, int, int], generator: Generator) -> Tensor:
        """Noise for one picture's latents `(C, h, w)`, fp32."""

    @abstractmethod
    def draw_time(self, generator: Generator) -> Tensor:
        """When on the way from picture to noise to train: a scalar as `Batch.times` holds."""

    @abstractmethod
    def losses(self, batch: Batch) -> Tensor:
        """The loss of each picture, `(B,)` fp32, not yet weighted by `batch.weights`."""

    @abstractmethod
    def see(self, latents: Tensor) -> Tensor:
        """What the denoiser sees in pictures' scaled latents `(B, C, h, w)`: `(B, D)`, fp32.

        The same for the same latents; without a gradient when called without one.
        """

    @abstractmethod
    def render_arguments(
        self, positive: dict[str, Tensor], negative: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """What `encode_captions` gave, as the pipeline's call takes it."""

    @abstractmethod
    def checkpoint_activations(self) -> None:
        """Recompute activations in the backward pass instead of keeping them."""

    @abstractmethod
    def pipeline(self) -> DiffusionPipeline:
        """A Diffusers pipeline over the parts that are in memory, to render with."""

    @abstractmethod
    def release(self, part: str) -> None:
        """Free "images" (the VAE's encoder is no longer needed) or "captions" (text encoders)."""


families: Registry[ModelConfig] = Registry("model family", package="trainer.families", default="sd")
