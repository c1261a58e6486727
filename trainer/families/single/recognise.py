"""Which model a file holds, told from the names and shapes of its tensors.

A family knows its own (`ModelConfig.recognise`); here is what no family trains.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from trainer.families.single.header import Header

_PREFIXES = ("model.diffusion_model.", "transformer.", "")
_ADVICE = "a checkpoint of a family that is trained here (docs/models.md lists them)"
_LORA = re.compile(r"\.(lora_(down|up|A|B|mid)|hada_w1_a|lokr_w[12](_a)?)(\.weight)?$")
_OTHERS = (
    ("distilled_guidance_layer.", "Chroma"),
    ("double_stream_modulation", "FLUX.2"),
    ("single_stream_modulation", "FLUX.2"),
    ("txt_in.individual_token_refiner.", "HunyuanVideo"),
    ("txtfusion.", "Krea 2"),
    ("double_stream_blocks.", "HiDream"),
    ("head.modulation", "Wan"),
    ("cap_embedder.", "Lumina 2 or Z-Image"),
    ("txt_norm.weight", "Qwen-Image"),
    ("double_layers.", "AuraFlow"),
    ("joint_transformer_blocks.", "AuraFlow"),
    ("blocks.0.attn.qkv_x.", "Mochi"),
    ("clip_txt_mapper.", "Stable Cascade"),
    ("adaln_single.", "PixArt, Sana or LTX-Video"),
    ("control_model.", "a ControlNet"),
    ("input_hint_block.", "a ControlNet"),
    ("controlnet_cond_embedding.", "a ControlNet"),
    ("controlnet_blocks.", "a ControlNet"),
    ("net.blocks.", "Cosmos"),
    ("motion_modules.", "AnimateDiff"),
)
"""How names of a denoiser's tensors begin -> what it is."""
_PARTS = (
    ("first_stage_model.", "a VAE alone"),
    ("encoder.down", "a VAE alone"),
    ("decoder.", "a VAE alone"),
    ("text_model.", "a text encoder alone"),
    ("transformer.resblocks.", "a text encoder alone"),
    ("encoder.block.", "a text encoder alone"),
    ("shared.weight", "a text encoder alone"),
)
_ALONE = "the checkpoint itself; model.parts_from = a folder brings what a checkpoint lacks"
_ODD = {5: "a depth", 7: "an upscaling", 8: "an InstructPix2Pix", 9: "an inpainting"}
_MADE_FROM = "the base model that it was made from; its extra channels are not trained here"


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a file holds.

    Attributes:
        name: What people call such models.
        variant: Which of the settings that ship with Sweetspot are its own; "" where it cannot be
            read from one file, or not be trained.
        hint: What to use instead, then.
    """

    name: str
    variant: str = ""
    hint: str = _ADVICE


@dataclass(frozen=True, slots=True)
class Content:
    """A file as families look at it.

    Attributes:
        shapes: Of all its tensors, by name.
        inner: Of the denoiser's, without their prefix.
    """

    shapes: Mapping[str, tuple[int, ...]]
    inner: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, header: Header) -> Content:
        """What a header tells."""
        shapes = {name: entry.shape for name, entry in header.tensors.items()}
        for prefix in _PREFIXES:
            found = {n.removeprefix(prefix): s for n, s in shapes.items() if n.startswith(prefix)}
            if found:
                break
        return cls(shapes, found)

    def begins(self, *starts: str) -> bool:
        """Whether a name of the denoiser begins with one of these."""
        return any(name.startswith(starts) for name in self.inner)

    @property
    def channels(self) -> int | None:
        """Of the latents that a UNet takes; None where there is no UNet."""
        if "down_blocks.0.resnets.0.conv1.weight" in self.inner:
            first = self.inner.get("conv_in.weight")
        else:
            first = self.inner.get("input_blocks.0.0.weight")
        hints = self.begins("input_hint_block.", "controlnet_")
        return None if first is None or hints else first[1]

    @property
    def told_sizes(self) -> bool:
        """Whether the UNet is told more than times and words."""
        return self.begins("label_emb.", "add_embedding.")

    def widths(self, end: str) -> set[int]:
        """How many columns the denoiser's tensors have whose names end so."""
        return {shape[1] for name, shape in self.inner.items() if name.endswith(end)}

    def places(self, end: str) -> set[int]:
        """How many dimensions the denoiser's tensors have whose names end so."""
        return {len(shape) for name, shape in self.inner.items() if name.endswith(end)}


def recognise_first(content: Content) -> Recognised | None:
    """What must be told before any family is asked."""
    if any(_LORA.search(name) for name in content.shapes):
        return Recognised("a LoRA, not a base model")
    odd = _ODD.get(content.channels or 0)
    if odd:
        return Recognised(f"{odd} model ({content.channels} input channels)", hint=_MADE_FROM)
    for start, name in _OTHERS:
        if content.begins(start):
            return Recognised(name)
    return None


def recognise_last(content: Content) -> Recognised:
    """What a file is that no family knows."""
    for start, name in _PARTS:
        if any(n.startswith(start) for n in content.shapes):
            return Recognised(name, hint=_ALONE)
    return Recognised("no model that Sweetspot knows")
