"""Stable Diffusion XL: two CLIP text encoders, pooled words, and sizes that the UNet is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from trainer.core.errors import ModelError
from trainer.core.schema import Knob
from trainer.families.base import Side, families
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
from trainer.families.words import CLIP, CLIP_ATTENTION, CLIP_TOKENIZER

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from torch import Tensor

    from trainer.core.device import Plan
    from trainer.families.files import ModelFiles

_LAYERS = 2
"""Resnets of a block on the way down, one less than on the way up; the names count them."""

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_ENDS = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}


def _stability_names() -> dict[str, str]:
    """Diffusers' names of the UNet's pieces -> those of Stability's code, which kohya keeps."""
    pieces = {"mid_block.resnets.0": "middle_block.0", "mid_block.resnets.1": "middle_block.2"}
    pieces["mid_block.attentions.0"] = "middle_block.1"
    for block in range(3):
        first = (_LAYERS + 1) * block
        for layer in range(_LAYERS + 1):
            down, up = f"input_blocks.{first + layer + 1}", f"output_blocks.{first + layer}"
            if layer < _LAYERS:
                pieces[f"down_blocks.{block}.resnets.{layer}"] = f"{down}.0"
                pieces[f"down_blocks.{block}.attentions.{layer}"] = f"{down}.1"
            pieces[f"up_blocks.{block}.resnets.{layer}"] = f"{up}.0"
            pieces[f"up_blocks.{block}.attentions.{layer}"] = f"{up}.1"
        pieces[f"down_blocks.{block}.downsamplers.0.conv"] = f"input_blocks.{first + 3}.0.op"
        pieces[f"up_blocks.{block}.upsamplers.0.conv"] = f"output_blocks.{first + 2}.2.conv"
    inside = {
        f"{ours}.{ours_inside}": f"{theirs}.{theirs_inside}"
        for ours, theirs in pieces.items()
        if "resnets" in ours
        for ours_inside, theirs_inside in _RESNET.items()
    }
    return _ENDS | pieces | inside


NAMING = Naming(
    marks=(
        Mark("SDXL", module=r"lora_unet_(input|middle|output)_block|attentions.*blocks[._][1-9]"),
        Mark("SDXL", "stable-diffusion-xl", CROSS_ATTENTION, (2048,)),
    ),
    parts=(
        PartNaming(
            "denoiser", kohya="lora_unet", diffusers="unet", kohya_starts=_stability_names()
        ),
        PartNaming(
            "text_encoder", kohya="lora_te1", diffusers="text_encoder", inside="text_model."
        ),
        PartNaming("text_encoder_2", kohya="lora_te2", diffusers="text_encoder_2"),
    ),
    words=UNET_WORDS | CLIP | {"add_embedding", "text_projection"},
)
"""SDXL: kohya's layout has the block names of Stability's code. transformers 5 took `text_model.`
out of the first text encoder, and not out of the second."""


@families.add
class SdxlConfig(UnetConfig):
    """Stable Diffusion XL, base or fine-tuned."""

    naming: ClassVar[Naming] = NAMING
    pipeline: ClassVar[str] = "StableDiffusionXLPipeline"
    encoders: ClassVar[dict[str, str]] = {
        "text_encoder": "tokenizer",
        "text_encoder_2": "tokenizer_2",
    }
    parts: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **UNET_PARTS,
        "text_encoder": ("transformers.CLIPTextModel",),
        "text_encoder_2": ("transformers.CLIPTextModelWithProjection",),
        "tokenizer": CLIP_TOKENIZER,
        "tokenizer_2": CLIP_TOKENIZER,
    }
    single: ClassVar[Mapping[str, tuple[Spelling, ...]]] = {
        **UNET_SINGLE,
        "text_encoder": (
            Spelling("conditioner.embedders.0.transformer.", word_names.clip, unused=CLIP_UNUSED),
        ),
        "text_encoder_2": (
            Spelling(
                "conditioner.embedders.1.model.",
                word_names.open_clip_with_projection,
                unused=word_names.OPEN_UNUSED,
            ),
        ),
    }
    kind: Literal["sdxl"] = "sdxl"
    base: Annotated[
        str,
        Field(
            description="Model to adapt: a folder in Diffusers format, a checkpoint in one "
            ".safetensors file, or the name of a hub repository, which is downloaded (7 GB) when "
            "it is not there yet."
        ),
        Knob(label="Base model", private=True, why="What most fine-tuned models stem from."),
    ] = "stabilityai/stable-diffusion-xl-base-1.0"
    resolution: Annotated[Side, Knob(unit="px", step=64, why="SDXL was trained at 1024 px.")] = 1024

    @classmethod
    def recognise(cls, content: Content) -> Recognised | None:
        """SDXL is told sizes; so are others, which read other words."""
        if content.channels is None or not content.told_sizes:
            return None
        if "edm_mean" in content.shapes:
            return Recognised("Playground 2.5", hint="SDXL, whose noise is the one trained here")
        reads = content.widths("attn2.to_k.weight")
        refiner = any(n.startswith("conditioner.embedders.0.model.") for n in content.shapes)
        if refiner or reads == {1280}:
            return Recognised("the SDXL refiner", hint="SDXL's base model")
        if reads in ({768}, {1024}):
            return Recognised("Stable unCLIP", hint="Stable Diffusion 2.1")
        return Recognised("SDXL", "sdxl")

    @classmethod
    def text_targets(cls, encoders: Mapping[str, Any]) -> dict[str, str]:
        """All layers, but for the first encoder's last: its words are taken before that one."""
        last = encoders["text_encoder"].config.num_hidden_layers - 1
        seen = rf"(?!.*layers\.{last}\.){CLIP_ATTENTION}"
        return {**super().text_targets(encoders), "text_encoder": seen}

    @classmethod
    def widens(cls, vae: Any) -> bool:
        return bool(vae.force_upcast)

    def check(self, folder: ModelFiles, unet: Any, encoders: Mapping[str, Any]) -> None:
        where = folder.told_in("unet")
        layers = unet.layers_per_block
        if layers not in (_LAYERS, [_LAYERS] * 3) or len(unet.block_out_channels) != 3:
            raise ModelError(
                f"its UNet has {len(unet.block_out_channels)} blocks of {layers} resnets, and "
                f"SDXL's has 3 of {_LAYERS}, by which LoRA files name them",
                where=where,
                hint="SDXL itself or a model that was fine-tuned from it",
            )
        told = unet.addition_time_embed_dim
        width = encoders["text_encoder_2"].config.projection_dim
        if unet.addition_embed_type != "text_time" or (
            unet.projection_class_embeddings_input_dim != 6 * told + width
        ):
            raise ModelError(
                "its UNet is not told sizes and pooled words as SDXL's base model is",
                where=where,
                hint="the base model (the refiner is told other things), or one fine-tuned from it",
            )

    def arguments_on_meta(self, encoders: Mapping[str, Any]) -> dict[str, Any]:
        import torch

        width = encoders["text_encoder_2"].config.projection_dim
        pooled = torch.empty(1, width, dtype=torch.bfloat16)
        return {"added_cond_kwargs": {"text_embeds": pooled, "time_ids": torch.empty(1, 6)}}

    def load(self, plan: Plan) -> Sdxl:
        return Sdxl(self, plan)


class Sdxl(Unet):
    """A loaded Stable Diffusion XL model."""

    def __init__(self, config: SdxlConfig, plan: Plan) -> None:
        super().__init__(config, plan)
        self._no_words_are_zeros = bool(self._folder.parts.get("force_zeros_for_empty_prompt"))
        self.render_key += ":zeros" if self._no_words_are_zeros else ""

    @property
    def modelspec(self) -> dict[str, str]:
        velocity = self.prediction == "v_prediction"
        return {
            "ss_base_model_version": "sdxl_base_v1-0",
            "ss_v2": "False",
            "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
            "modelspec.implementation": "diffusers",
            "modelspec.prediction_type": "v" if velocity else "epsilon",
        }

    def _plan_of_vae(self) -> Plan:
        """In fp32 where the plan is fp16 and the model does not say that its VAE bears it.

        The published VAE's activations pass fp16's largest number, and its latents are NaN then.
        """
        vae = self._folder.settings("vae")
        if self.plan.precision != "fp16" or not SdxlConfig.widens(vae):
            return self.plan
        self.warnings += (
            "the VAE of this model overflows in fp16 (force_upcast), so it computes in fp32, which "
            "takes more memory while pictures are encoded and rendered",
        )
        return replace(self.plan, precision="fp32")

    def _read(self, part: str) -> Any:
        network = super()._read(part)
        if part == "vae" and self._vae_plan.precision != self.plan.precision:
            for layer in (network.post_quant_conv, network.decoder):
                if layer is not None:
                    layer.register_forward_pre_hook(_in_fp32)
        return network

    def encode_captions(self, captions: tuple[str, ...]) -> dict[str, Tensor]:
        import torch

        words: list[Tensor] = []
        pooled: Tensor | None = None
        for name, encoder in self.text_encoders.items():
            answer = encoder(self._tokens(name, captions), output_hidden_states=True)
            words.append(answer.hidden_states[-2])
            pooled = answer[0]
        assert pooled is not None
        return {"encoder_hidden_states": torch.cat(words, dim=-1), "text_embeds": pooled}

    def encode_negative(self, text: str) -> dict[str, Tensor]:
        import torch

        words = super().encode_negative(text)
        if text or not self._no_words_are_zeros:
            return words
        return {name: torch.zeros_like(value) for name, value in words.items()}

    def _arguments(self, conditioning: dict[str, Tensor], frames: Tensor) -> dict[str, Any]:
        """Sizes stay fp32: 16 bits do not hold every number of pixels."""
        more = {"text_embeds": conditioning["text_embeds"], "time_ids": frames}
        words = conditioning["encoder_hidden_states"]
        return {"encoder_hidden_states": words, "added_cond_kwargs": more}

    def render_arguments(
        self, positive: dict[str, Tensor], negative: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        return {
            "prompt_embeds": positive["encoder_hidden_states"],
            "pooled_prompt_embeds": positive["text_embeds"],
            "negative_prompt_embeds": negative["encoder_hidden_states"],
            "negative_pooled_prompt_embeds": negative["text_embeds"],
        }

    def pipeline(self) -> DiffusionPipeline:
        from diffusers import StableDiffusionXLPipeline

        pipeline = StableDiffusionXLPipeline(
            vae=self.vae,
            text_encoder=self.text_encoders.get("text_encoder"),
            text_encoder_2=self.text_encoders.get("text_encoder_2"),
            tokenizer=self.tokenizers["text_encoder"],
            tokenizer_2=self.tokenizers["text_encoder_2"],
            unet=self.denoiser,
            scheduler=type(self.scheduler).from_config(self.scheduler.config),
            force_zeros_for_empty_prompt=self._no_words_are_zeros,
            add_watermarker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


def _in_fp32(module: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """A pipeline in fp16 hands its latents over as they are."""
    return tuple(x.float() if x.is_floating_point() else x for x in inputs)
