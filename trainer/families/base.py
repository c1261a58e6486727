"""What a model family is to the rest of the app.

A family is one file with two classes: a `ModelConfig`, which can be read and shown
without torch, and the `LoadedModel` that its `load` returns. The training loop, the
cache and the renderer know only what stands here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

from trainer.core.device import trim_memory
from trainer.core.errors import ConfigError
from trainer.core.registry import Registry
from trainer.core.schema import Config, Knob
from trainer.families.asked import BaseRef, Guidance, Resolution, Side
from trainer.families.naming import Naming
from trainer.families.outline import Outline
from trainer.families.single.spelling import Spelling

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from torch import Generator, Tensor, nn

    from trainer.core.batch import Batch
    from trainer.core.device import Plan
    from trainer.families.single.recognise import Content, Recognised


class ModelConfig(Config, ABC):
    """Which base model to adapt."""

    naming: ClassVar[Naming]
    """What LoRA files call the modules of the family."""

    pipeline: ClassVar[str] = ""
    """The Diffusers pipeline that models of the family are saved as."""

    parts: ClassVar[Mapping[str, tuple[str, ...]]]
    """What each part of a model's folder may be: its name in the pipeline -> classes of Diffusers
    and transformers. A scheduler may be any of Diffusers'."""

    single: ClassVar[Mapping[str, tuple[Spelling, ...]]] = {}
    """How checkpoints in one file spell each part, the usual way first; none: not read."""

    usual_guidance: ClassVar[float] = 7.0
    """How strictly prompts are followed where nothing is asked."""

    contrasts: ClassVar[bool] = True
    """Whether guidance above 1 renders every step a second time, with the negative prompt.
    Where it does not, there is no negative prompt."""

    kind: str
    base: BaseRef
    resolution: Resolution

    parts_from: Annotated[str, Knob(advanced=True, private=True)] = ""
    """Where a checkpoint in one file gets the parts that it lacks (VAE, text encoders, the words
    of T5): a folder in Diffusers format of the same family, or the name of a hub repository.
    Its settings go before the published ones where they fit."""

    @property
    def prediction_asked(self) -> str:
        """What the denoiser answers, where the settings say it; else "auto"."""
        return "auto"

    def guidance_or(self, asked: float | None) -> float:
        """The guidance that is asked, or the family's usual one."""
        return self.usual_guidance if asked is None else asked

    def require_negative(self, asked: str, *, where: str) -> None:
        """Refuse a negative prompt where the family has none.

        Raises:
            ConfigError: It has none.
        """
        if asked and not self.contrasts:
            raise ConfigError(
                f"models of the family {self.kind!r} are rendered without a negative prompt",
                where=where,
                hint="leave it out, and say in the prompt what to show",
            )

    @classmethod
    def recognise(cls, content: Content) -> Recognised | None:
        """What a file holds, where it is a model that the family knows, trained here or not."""
        return None

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
    """A base model in memory, or about to be.

    Attributes:
        naming: What LoRA files call its modules.
        encoder_names: The text encoders, by the names they have in the pipeline.
        text_targets: What of a text encoder may carry an adapter, as `targets` tells it of the
            denoiser; one choice.
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

    naming: Naming
    encoder_names: tuple[str, ...]
    text_targets: dict[str, str]
    warnings: tuple[str, ...] = ()
    plan: Plan
    image_key: str
    text_key: str
    render_key: str
    base_hash: str
    native_side: int
    size_step: int

    @cached_property
    def denoiser(self) -> nn.Module:
        """The UNet or transformer."""
        return cast("nn.Module", self._read("denoiser"))

    @cached_property
    def vae(self) -> Any:
        """Diffusers' AutoencoderKL."""
        return self._read("vae")

    @cached_property
    def text_encoders(self) -> dict[str, nn.Module]:
        """By the name they have in the pipeline; empty once `release` has freed them."""
        return {name: self._read(name) for name in self.encoder_names}

    @property
    def in_memory(self) -> list[nn.Module]:
        """The denoiser and the text encoders, as far as they were read."""
        encoders = self.__dict__.get("text_encoders", {}).values()
        denoiser = self.__dict__.get("denoiser")
        return [*encoders, *([] if denoiser is None else [denoiser])]

    @abstractmethod
    def _read(self, part: str) -> Any:
        """Read "denoiser", "vae" or a text encoder from the model's files, as the plan says.

        Raises:
            ModelError: A file or a tensor is missing, or damaged.
        """

    def _read_all(self) -> None:
        """Read every part now, unless the plan has them read when they are needed."""
        if not self.plan.thrift.staged:
            _ = self.text_encoders, self.denoiser, self.vae

    def pattern(self, targets: str) -> str:
        """The expression that `targets` means: a named choice, or an expression itself."""
        return self.targets.get(targets, targets)

    def diffusers_reads(self, modules: Iterable[str]) -> bool:
        """Whether Diffusers reads files in kohya's layout with these modules (our names)."""
        return True

    @property
    @abstractmethod
    def modelspec(self) -> dict[str, str]:
        """`ss_*` and `modelspec.*` header entries by which readers file a LoRA of this model."""

    def encode_images(self, pixels: Tensor) -> Tensor:
        """`(B, 3, H, W)` in [-1, 1] -> the latents' mean and deviation `(B, 2, C, h, w)`, fp32.

        Both already carry the VAE's shift and scaling.
        """
        import torch

        made = self.vae.config
        moments = self.vae.encode(pixels.to(self.plan.device, self.vae.dtype)).latent_dist
        mean = moments.mean.float() - (made.shift_factor or 0.0)
        return torch.stack((mean, moments.std.float()), dim=1) * float(made.scaling_factor)

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
    def draw_time(self, shape: tuple[int, int, int], generator: Generator) -> Tensor:
        """When on the way from picture to noise to train one picture's latents `(C, h, w)`.

        A scalar as `Batch.times` holds.
        """

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
        """What `encode_captions` gave, as the pipeline's call takes it.

        `negative` is left out where the family does not contrast.
        """

    def checkpoint_activations(self) -> None:
        """Recompute activations in the backward pass instead of keeping them.

        Of every ten blocks, as many as the plan's share says.
        """
        from trainer.networks.sparing import Recompute

        recompute = Recompute(self.plan.thrift.recompute)
        cast("Any", self.denoiser).enable_gradient_checkpointing(recompute)

    @abstractmethod
    def pipeline(self) -> DiffusionPipeline:
        """A Diffusers pipeline over the parts that are in memory, to render with."""

    def release(self, part: str) -> None:
        """Free "images" (the VAE's encoder is no longer needed) or "captions" (text encoders).

        Where the plan reads parts when they are needed, the VAE is freed whole, and comes back to
        render.
        """
        if part == "captions":
            self.text_encoders = {}
        elif part == "images" and self.plan.thrift.staged:
            self.__dict__.pop("vae", None)
        elif part == "images":
            self.vae.encoder = None
        trim_memory()


__all__ = ["BaseRef", "Guidance", "LoadedModel", "ModelConfig", "Resolution", "Side", "families"]

families: Registry[ModelConfig] = Registry("model family", package="trainer.families", default="sd")
