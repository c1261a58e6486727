"""FLUX.1 dev and schnell: CLIP and T5, a transformer over packed latents, flow matching."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, cast

from pydantic import Field, model_validator

from trainer.core.errors import ConfigError, ModelError
from trainer.core.schema import Knob
from trainer.families import blocks
from trainer.families.base import BaseRef, Side, families
from trainer.families.flowing import refuse_noise
from trainer.families.flux_names import NAMING, SINGLE, recognise
from trainer.families.naming import Naming
from trainer.families.single.spelling import Spelling
from trainer.families.transformer import Transformer, TransformerConfig
from trainer.families.words import CLIP_TOKENIZER, T5_TOKENIZER

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trainer.core.device import Plan
    from trainer.families.files import ModelFiles
    from trainer.families.single.recognise import Content, Recognised

_READ = (3072, 19, 38)
"""Width and blocks of the published models, which Diffusers' reader of kohya's files expects."""
_SCHNELL = (
    "this is FLUX.1 schnell, distilled to render in 4 steps: training wears that off within some "
    "hundred steps, so keep the run short and optimizer.learning_rate low, or train with a base "
    "that has a de-distilling adapter merged in; a LoRA trained on FLUX.1 dev works on schnell "
    "too. It has no guidance (samples.guidance changes nothing), and samples.steps = 4 is enough"
)


@families.add
class FluxConfig(TransformerConfig):
    """FLUX.1 dev or schnell."""

    naming: ClassVar[Naming] = NAMING
    pipeline: ClassVar[str] = "FluxPipeline"
    parts: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "transformer": ("diffusers.FluxTransformer2DModel",),
        "vae": ("diffusers.AutoencoderKL",),
        "text_encoder": ("transformers.CLIPTextModel",),
        "text_encoder_2": ("transformers.T5EncoderModel",),
        "tokenizer": CLIP_TOKENIZER,
        "tokenizer_2": T5_TOKENIZER,
    }
    single: ClassVar[Mapping[str, tuple[Spelling, ...]]] = SINGLE
    clips: ClassVar[dict[str, str]] = {"text_encoder": "tokenizer"}
    t5: ClassVar[tuple[str, str]] = ("text_encoder_2", "tokenizer_2")
    usual_guidance: ClassVar[float] = 3.5
    contrasts: ClassVar[bool] = False
    kind: Literal["flux"] = "flux"
    base: BaseRef = "demo"
    resolution: Annotated[
        Side, Knob(unit="px", step=64, why="FLUX.1 was made for 1024 px; 512 trains too.")
    ] = 1024

    max_tokens: Annotated[
        int | None, Field(ge=8, le=512), Knob(advanced=True, why="What each model was made with.")
    ] = None
    """Tokens of a caption that T5 reads; the rest is cut off. Empty: 512 for dev, 256 for schnell.
    Fewer are faster and take less memory."""

    guidance: Annotated[
        float | None,
        Field(ge=0, le=20),
        Knob(advanced=True, why="1.0 is sd-scripts' and Diffusers' advice."),
    ] = None
    """What dev's guidance embedding is told while training. Empty: 1.0; schnell has none."""

    double_blocks: blocks.Blocks = "all"
    """Which double blocks carry the adapter: `all`, `none`, or numbers such as `0-4, 7, 12`.
    `adapter.targets` says which of their modules."""

    single_blocks: blocks.Blocks = "all"
    """Which single blocks carry the adapter, in the same way."""

    @model_validator(mode="before")
    @classmethod
    def _has_no_noise(cls, tree: Any) -> Any:
        return refuse_noise(tree, "FLUX.1")

    @model_validator(mode="after")
    def _some_blocks_learn(self) -> Self:
        blocks.require_some(double_blocks=self.double_blocks, single_blocks=self.single_blocks)
        return self

    @classmethod
    def recognise(cls, content: Content) -> Recognised | None:
        return recognise(content)

    def load(self, plan: Plan) -> Flux:
        return Flux(self, plan)

    def tokens_of(self, network: Any) -> int:
        """Dev and schnell are told apart by the guidance embedding."""
        return self.max_tokens or (512 if network.guidance_embeds else 256)

    def check(self, folder: ModelFiles, made: Mapping[str, Any]) -> None:
        network, vae = made["transformer"], made["vae"]
        if network.in_channels != 4 * vae.latent_channels or vae.shift_factor is None:
            raise ModelError(
                f"its transformer takes {network.in_channels} channels and its VAE makes "
                f"{vae.latent_channels} (shift {vae.shift_factor}), which is not FLUX.1 dev or "
                "schnell",
                where=str(folder.path),
                hint="FLUX.1 dev or schnell; Fill, Control and others are not trained here",
            )
        if not network.guidance_embeds and self.guidance is not None:
            raise ConfigError(
                "this is FLUX.1 schnell, which has no guidance embedding",
                where="model.guidance",
                hint="leave it out",
            )

    def shapes(self, made: Mapping[str, Any], side: int, length: int) -> dict[str, tuple[int, ...]]:
        network, places = made["transformer"], side * side // 4
        return {
            "hidden_states": (1, places, network.in_channels),
            "encoder_hidden_states": (1, length, made["text_encoder_2"].d_model),
            "pooled_projections": (1, made["text_encoder"].hidden_size),
            "timestep": (1,),
            "img_ids": (places, 3),
            "txt_ids": (length, 3),
            **({"guidance": (1,)} if network.guidance_embeds else {}),
        }

    def warnings(self, made: Mapping[str, Any]) -> tuple[str, ...]:
        return () if made["transformer"].guidance_embeds else (_SCHNELL,)

    def pattern(self, network: Any, targets: str) -> str:
        left_out = {}
        for kind, text, count in (
            ("double", self.double_blocks, network.num_layers),
            ("single", self.single_blocks, network.num_single_layers),
        ):
            name = "transformer_blocks" if kind == "double" else "single_transformer_blocks"
            kept = blocks.chosen(text, count, where=f"model.{kind}_blocks")
            left_out[name] = set(range(count)) - kept
        return blocks.without(Flux.targets.get(targets, targets), left_out)


class Flux(Transformer):
    """A loaded FLUX.1 model."""

    targets: ClassVar[dict[str, str]] = {
        "attention": r".*\.attn\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)",
        "attention+ff": r".*\.(attn\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)"
        r"|ff(_context)?\.net\.(0\.proj|2)|proj_mlp|proj_out)",
        "linear": r"(single_)?transformer_blocks\..*",
    }
    _config: FluxConfig

    def diffusers_reads(self, modules: Iterable[str]) -> bool:
        """Its reader has the published sizes in it, and drops what lies outside the blocks."""
        network = self._network
        width = network.num_attention_heads * network.attention_head_dim
        read = re.compile(r"(denoiser\.(single_)?transformer_blocks|text_encoder)\..*")
        size = (width, network.num_layers, network.num_single_layers)
        return size == _READ and all(read.fullmatch(name) for name in modules)

    @property
    def modelspec(self) -> dict[str, str]:
        kind = "dev" if self._network.guidance_embeds else "schnell"
        return {
            "ss_base_model_version": "flux1",
            "ss_network_module": "networks.lora_flux",
            "modelspec.architecture": f"flux-1-{kind}/lora",
            "modelspec.implementation": "https://github.com/black-forest-labs/flux",
        }

    def encode_captions(self, captions: tuple[str, ...]) -> dict[str, Tensor]:
        clip, t5 = self.text_encoders["text_encoder"], self.text_encoders["text_encoder_2"]
        return {
            "pooled_projections": clip(self._tokens("text_encoder", captions)).pooler_output,
            "encoder_hidden_states": t5(self._tokens("text_encoder_2", captions))[0],
        }

    def _answer(self, noisy: Tensor, times: Tensor, conditioning: dict[str, Tensor]) -> Tensor:
        import torch

        from trainer.diffusion import patches

        height, width = noisy.shape[2:]
        like = {"device": noisy.device, "dtype": torch.float32}
        length = conditioning["encoder_hidden_states"].shape[1]
        asked = self._config.guidance
        guidance = torch.full((len(noisy),), 1.0 if asked is None else asked, **like)
        answer = self.denoiser(
            hidden_states=patches.pack(noisy).to(self.plan.dtype),
            timestep=times,
            guidance=guidance if self._network.guidance_embeds else None,
            img_ids=patches.places(height, width).to(noisy.device),
            txt_ids=torch.zeros(length, 3, **like),
            return_dict=False,
            **{name: value.to(self.plan.dtype) for name, value in conditioning.items()},
        )[0]
        return patches.unpack(answer, height, width)

    def _watched(self) -> tuple[nn.Module, nn.Module]:
        network = cast("Any", self.denoiser)
        return network.transformer_blocks[-1], network.single_transformer_blocks[-1]
