"""Stable Diffusion 1.x and 2.x: one CLIP text encoder, a UNet, epsilon or velocity prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from trainer.families.base import BaseRef, Resolution, families
from trainer.families.naming import Naming, PartNaming
from trainer.families.unet import CLIP_WORDS, UNET_WORDS, Unet, UnetConfig

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from torch import Tensor

    from trainer.core.device import Plan

NAMING = Naming(
    families=("Stable Diffusion 1.x", "Stable Diffusion 2.x"),
    parts=(
        PartNaming("denoiser", kohya="lora_unet", diffusers="unet"),
        PartNaming(
            "text_encoder",
            kohya="lora_te",
            diffusers="text_encoder",
            inside="text_model.",
            also=("lora_te1",),
        ),
    ),
    words=UNET_WORDS | CLIP_WORDS,
)
"""Stable Diffusion 1.x and 2.x: kohya's layout keeps Diffusers' block names."""


@families.add
class SdConfig(UnetConfig):
    """Stable Diffusion 1.x or 2.x."""

    naming: ClassVar[Naming] = NAMING
    pipeline: ClassVar[str] = "StableDiffusionPipeline"
    encoders: ClassVar[dict[str, str]] = {"text_encoder": "tokenizer"}
    kind: Literal["sd"] = "sd"
    base: BaseRef = "demo"
    resolution: Resolution = 512

    def load(self, plan: Plan) -> Sd:
        return Sd(self, plan)


class Sd(Unet):
    """A loaded Stable Diffusion 1.x or 2.x model."""

    @property
    def modelspec(self) -> dict[str, str]:
        second = self._unet_config.cross_attention_dim == 1024
        velocity = self.prediction == "v_prediction"
        if second:
            architecture = f"stable-diffusion-v2-{'768-v' if velocity else '512'}"
        else:
            architecture = "stable-diffusion-v1"
        return {
            "ss_base_model_version": f"sd_v{2 if second else 1}{'_v' if velocity else ''}",
            "ss_v2": str(second),
            "modelspec.architecture": f"{architecture}/lora",
            "modelspec.implementation": "diffusers",
            "modelspec.prediction_type": "v" if velocity else "epsilon",
        }

    def encode_captions(self, captions: tuple[str, ...]) -> dict[str, Tensor]:
        tokens = self._tokens("text_encoder", captions)
        return {"encoder_hidden_states": self.text_encoders["text_encoder"](tokens)[0]}

    def _arguments(self, conditioning: dict[str, Tensor], frames: Tensor) -> dict[str, Any]:
        return dict(conditioning)

    def render_arguments(
        self, positive: dict[str, Tensor], negative: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        return {
            "prompt_embeds": positive["encoder_hidden_states"],
            "negative_prompt_embeds": negative["encoder_hidden_states"],
        }

    def pipeline(self) -> DiffusionPipeline:
        from diffusers import StableDiffusionPipeline

        pipeline = StableDiffusionPipeline(
            vae=self.vae,
            text_encoder=self.text_encoders.get("text_encoder"),
            tokenizer=self.tokenizers["text_encoder"],
            unet=self.denoiser,
            scheduler=type(self.scheduler).from_config(self.scheduler.config),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline
