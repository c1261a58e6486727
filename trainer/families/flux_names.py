"""What files call FLUX.1's modules: Diffusers' names, and those of the first code.

The first code (github.com/black-forest-labs/flux) has query, key and value in one matrix, in
single blocks with the feed-forward's first; kohya's layout and ComfyUI name modules after it.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainer.families.naming import Mark, Naming, Original, PartNaming
from trainer.families.single import latent_names, word_names
from trainer.families.single.recognise import Content, Recognised
from trainer.families.single.spelling import Spelling, as_is, of_originals
from trainer.families.words import CLIP, T5

_TRANSFORMER = """
    transformer_blocks single_transformer_blocks attn to_q to_k to_v to_out add_q_proj add_k_proj
    add_v_proj to_add_out ff ff_context net proj norm norm1 norm1_context linear proj_mlp proj_out
    x_embedder context_embedder time_text_embed timestep_embedder text_embedder guidance_embedder
    linear_1 linear_2 norm_out
"""
_DOUBLE = {
    "img_attn.proj": "attn.to_out.0",
    "txt_attn.proj": "attn.to_add_out",
    "img_mlp.0": "ff.net.0.proj",
    "img_mlp.2": "ff.net.2",
    "txt_mlp.0": "ff_context.net.0.proj",
    "txt_mlp.2": "ff_context.net.2",
    "img_mod.lin": "norm1.linear",
    "txt_mod.lin": "norm1_context.linear",
}
_SINGLE = {"linear2": "proj_out", "modulation.lin": "norm.linear"}
_AROUND = {
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "final_layer.linear": "proj_out",
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2",
}


def _originals() -> Iterator[Original]:
    double, single = "transformer_blocks.{}.", "single_transformer_blocks.{}."
    for side, ours in (("img", "to_{}"), ("txt", "add_{}_proj")):
        qkv = tuple(f"{double}attn.{ours.format(letter)}" for letter in "qkv")
        yield Original(f"double_blocks.{{}}.{side}_attn.qkv", qkv, (1, 1, 1))
    parts = ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")
    stacked = tuple(single + part for part in parts)
    yield Original("single_blocks.{}.linear1", stacked, (1, 1, 1, 4))
    for first, ours in _DOUBLE.items():
        yield Original(f"double_blocks.{{}}.{first}", (double + ours,))
    for first, ours in _SINGLE.items():
        yield Original(f"single_blocks.{{}}.{first}", (single + ours,))
    for first, ours in _AROUND.items():
        yield Original(first, (ours,))
    yield Original("final_layer.adaLN_modulation.1", ("norm_out.linear",), swapped=True)


_NORMS = {
    "double_blocks.{}.img_attn.norm.query_norm.scale": "transformer_blocks.{}.attn.norm_q.weight",
    "double_blocks.{}.img_attn.norm.key_norm.scale": "transformer_blocks.{}.attn.norm_k.weight",
    "double_blocks.{}.txt_attn.norm.query_norm.scale": (
        "transformer_blocks.{}.attn.norm_added_q.weight"
    ),
    "double_blocks.{}.txt_attn.norm.key_norm.scale": (
        "transformer_blocks.{}.attn.norm_added_k.weight"
    ),
    "single_blocks.{}.norm.query_norm.scale": "single_transformer_blocks.{}.attn.norm_q.weight",
    "single_blocks.{}.norm.key_norm.scale": "single_transformer_blocks.{}.attn.norm_k.weight",
}

_MADE_FROM_DEV = {384: "FLUX.1 Fill", 128: "FLUX.1 Canny or Depth"}
_transformer = of_originals(_originals(), _NORMS)
_CLIP = "text_encoders.clip_l."
_T5_FILE = "text_encoders.t5xxl."
SINGLE = {
    "transformer": (
        Spelling("model.diffusion_model.", _transformer, mark="double_blocks."),
        Spelling("model.diffusion_model.", as_is, mark="transformer_blocks."),
        Spelling("transformer.", as_is, mark="transformer_blocks."),
        Spelling("", _transformer, mark="double_blocks."),
        Spelling("", as_is, mark="transformer_blocks."),
    ),
    "vae": (
        Spelling("vae.", latent_names.vae, unused=latent_names.VAE_UNUSED),
        Spelling("first_stage_model.", latent_names.vae, unused=latent_names.VAE_UNUSED),
    ),
    "text_encoder": (
        Spelling(f"{_CLIP}transformer.", word_names.clip, unused=word_names.CLIP_UNUSED),
    ),
    "text_encoder_2": (Spelling(f"{_T5_FILE}transformer.", as_is),),
}
"""How single files spell it: the transformer alone, as the first code or Diffusers has it, or all
parts as ComfyUI writes them."""

NAMING = Naming(
    marks=(
        Mark(
            "FLUX.1",
            architecture="flux",
            module="double_blocks|single_blocks|single_transformer_blocks",
        ),
    ),
    parts=(
        PartNaming(
            "denoiser",
            kohya="lora_unet",
            diffusers="transformer",
            also=("lora_transformer",),
            dotted="diffusion_model",
            originals=tuple(_originals()),
        ),
        PartNaming(
            "text_encoder",
            kohya="lora_te1",
            diffusers="text_encoder",
            inside="text_model.",
            also=("lora_te",),
        ),
        PartNaming(
            "text_encoder_2", kohya="lora_te3", diffusers="text_encoder_2", also=("lora_te2",)
        ),
    ),
    words=frozenset(_TRANSFORMER.split()) | CLIP | T5,
)
"""FLUX.1, its CLIP and its T5."""


def recognise(content: Content) -> Recognised | None:
    """Dev and schnell, and what was made from dev, by what the transformer takes.

    FLUX.1 Kontext has dev's shapes and passes for it.
    """
    if content.begins("double_blocks.0.img_attn."):
        first = content.inner.get("img_in.weight")
    elif content.begins("single_transformer_blocks.") and content.begins("time_text_embed."):
        first = content.inner.get("x_embedder.weight")
    else:
        return None
    other = None if first is None else _MADE_FROM_DEV.get(first[1])
    if other:
        return Recognised(other, hint="FLUX.1 dev, which it was made from")
    guided = content.begins("guidance_in.", "time_text_embed.guidance_embedder.")
    kind = "dev" if guided else "schnell"
    return Recognised(f"FLUX.1 {kind}", f"flux-{kind}")
