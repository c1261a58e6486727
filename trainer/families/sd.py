"""Stable Diffusion 1.x and 2.x: one CLIP text encoder, a UNet, epsilon or velocity prediction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from trainer.families.base import BaseRef, Resolution, families
from trainer.families.naming import Mark, Naming, PartNaming
from trainer.families.single import word_names
from trainer.families.single.recognise import Content, Recognised
from trainer.families.single.spelling import Spelling
from trainer.families.single.word_names import CLIP_UNUSED
from trainer.families.unet import (
    CROSS_ATTENTION,
    UNET_PARTS,
    UNET_SINGLE,
    UNET_WORDS,
    Unet,
    UnetConfig,
)
from trainer.families.words import CLIP, CLIP_TOKENIZER

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from torch import Tensor

    from trainer.core.device import Plan

NAMING = Naming(
    marks=(
        Mark("Stable Diffusion 1.x", "stable-diffusion-v1", CROSS_ATTENTION, (768,)),
        Mark("Stable Diffusion 2.x", "stable-diffusion-v2", CROSS_ATTENTION, (1024,)),
    ),
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
    words=UNET_WORDS | CLIP,
)
"""Stable Diffusion 1.x and 2.x: kohya's layout keeps Diffusers' block names."""


@families.add
class SdConfig(UnetConfig):
    """Stable Diffusion 1.x or 2.x."""

    naming: ClassVar[Naming] = NAMING
    pipeline: ClassVar[str] = "StableDiffusionPipeline"
    encoders: ClassVar[dict[str, str]] = {"text_encoder": "tokenizer"}
    parts: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **UNET_PARTS,
        "text_encoder": ("transformers.CLIPTextModel",),
        "tokenizer": CLIP_TOKENIZER,
    }
    single: ClassVar[Mapping[str, tuple[Spelling, ...]]] = {
        **UNET_SINGLE,
        "text_encoder": (
            Spelling("cond_stage_model.transformer.", word_names.clip, unused=CLIP_UNUSED),
            Spelling(
                "cond_stage_model.model.",
                word_names.open_clip,
                unused=word_names.OPEN_UNUSED,
                last_unused=True,
            ),
        ),
    }
    kind: Literal["sd"] = "sd"
    base: BaseRef = "demo"
    resolution: Resolution = 512

    @classmethod
    def recognise(cls, content: Content) -> Recognised | None:
        """The second generation's transformers begin with matrices, the first's with kernels."""
        if content.channels is None or content.told_sizes:
            return None
        if content.places("proj_in.weight") == {2}:
            return Recognised("Stable Diffusion 2.x", "sd2")
        return Recognised("Stable Diffusion 1.x", "sd1")

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
