"""What a network's configuration must be, as far as the shapes of its tensors tell.

Files carry no configuration. One that ships with Sweetspot says what shapes cannot (heads,
activations, scaling); what they can is read here, so that narrower variants load as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Shapes = Mapping[str, tuple[int, ...]]
Settings = dict[str, Any]


def measure(network: str, shapes: Shapes) -> Settings:
    """The settings of a class of network that shapes determine; shapes by the network's names."""
    return _MEASURES[network](shapes)


def customary(network: str, settings: Settings) -> Settings:
    """What is only a custom: heads are 64 wide, where the configuration does not fix their number.

    Args:
        network: Its class.
        settings: As measured, over the published ones.
    """
    if network.startswith("CLIP"):
        return {"num_attention_heads": max(1, settings["hidden_size"] // 64)}
    if network == "UNet2DConditionModel" and isinstance(settings["attention_head_dim"], list):
        widths = settings["block_out_channels"]
        return {"attention_head_dim": [max(1, width // 64) for width in widths]}
    return {}


def fits(told: Settings, found: Settings) -> bool:
    """Whether settings that someone wrote can be those of a network that was measured."""
    return all(_same(told[name], value) for name, value in found.items() if name in told)


def _same(one: Any, other: Any) -> bool:
    """Whether two settings mean the same; a number stands for a list of nothing else."""
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return list(one) == list(other)
    if isinstance(one, list | tuple):
        return set(one) == {other}
    return set(other) == {one} if isinstance(other, list | tuple) else bool(one == other)


def _count(shapes: Shapes, pattern: str) -> int:
    """How many numbers there are where the pattern has its group."""
    return len({m[1] for name in shapes if (m := re.match(pattern, name))})


def _unet(shapes: Shapes) -> Settings:
    levels = range(_count(shapes, r"down_blocks\.(\d+)\."))
    attends = {
        way: [any(n.startswith(f"{way}_blocks.{b}.attentions.") for n in shapes) for b in levels]
        for way in ("down", "up")
    }
    inside = r"attentions\.0\.transformer_blocks\.(\d+)\."
    depths = [_count(shapes, rf"down_blocks\.{b}\.{inside}") or 1 for b in levels]
    if not attends["down"][-1]:
        depths[-1] = _count(shapes, rf"mid_block\.{inside}")
    first, middle = "down_blocks.{}.resnets.0.conv1.weight", "mid_block.attentions.0."
    found: Settings = {
        "in_channels": shapes["conv_in.weight"][1],
        "out_channels": shapes["conv_out.weight"][0],
        "block_out_channels": [shapes[first.format(level)][0] for level in levels],
        "layers_per_block": _count(shapes, r"down_blocks\.0\.resnets\.(\d+)\."),
        "down_block_types": [_kind("Down", yes) for yes in attends["down"]],
        "up_block_types": [_kind("Up", yes) for yes in attends["up"]],
        "transformer_layers_per_block": depths[0] if len(set(depths)) == 1 else depths,
        "cross_attention_dim": shapes[middle + "transformer_blocks.0.attn2.to_k.weight"][1],
        "use_linear_projection": len(shapes[middle + "proj_in.weight"]) == 2,
    }
    told = shapes.get("add_embedding.linear_1.weight")
    return found | ({"projection_class_embeddings_input_dim": told[1]} if told else {})


def _kind(way: str, attends: bool) -> str:
    return f"CrossAttn{way}Block2D" if attends else f"{way}Block2D"


def _vae(shapes: Shapes) -> Settings:
    levels = range(_count(shapes, r"encoder\.down_blocks\.(\d+)\."))
    first = "encoder.down_blocks.{}.resnets.0.conv1.weight"
    return {
        "block_out_channels": [shapes[first.format(level)][0] for level in levels],
        "down_block_types": ["DownEncoderBlock2D"] * len(levels),
        "up_block_types": ["UpDecoderBlock2D"] * len(levels),
        "layers_per_block": _count(shapes, r"encoder\.down_blocks\.0\.resnets\.(\d+)\."),
        "latent_channels": shapes["decoder.conv_in.weight"][1],
        "use_quant_conv": "quant_conv.weight" in shapes,
        "use_post_quant_conv": "post_quant_conv.weight" in shapes,
    }


def _clip(shapes: Shapes) -> Settings:
    bare = {name.removeprefix("text_model."): shape for name, shape in shapes.items()}
    tokens, width = bare["embeddings.token_embedding.weight"]
    projection = bare.get("text_projection.weight")
    return {
        "vocab_size": tokens,
        "hidden_size": width,
        "max_position_embeddings": bare["embeddings.position_embedding.weight"][0],
        "intermediate_size": bare["encoder.layers.0.mlp.fc1.weight"][0],
        "num_hidden_layers": _count(bare, r"encoder\.layers\.(\d+)\."),
        **({"projection_dim": projection[0]} if projection else {}),
    }


def _t5(shapes: Shapes) -> Settings:
    tokens, width = shapes["shared.weight"]
    inner = shapes["encoder.block.0.layer.0.SelfAttention.q.weight"][0]
    buckets, heads = shapes["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]
    gated = "encoder.block.0.layer.1.DenseReluDense.wi_0.weight"
    return {
        "vocab_size": tokens,
        "d_model": width,
        "d_kv": inner // heads,
        "num_heads": heads,
        "relative_attention_num_buckets": buckets,
        "d_ff": shapes[gated][0],
        "num_layers": _count(shapes, r"encoder\.block\.(\d+)\."),
    }


def _flux(shapes: Shapes) -> Settings:
    width, channels = shapes["x_embedder.weight"]
    head = shapes["transformer_blocks.0.attn.norm_q.weight"][0]
    return {
        "in_channels": channels,
        "num_layers": _count(shapes, r"transformer_blocks\.(\d+)\."),
        "num_single_layers": _count(shapes, r"single_transformer_blocks\.(\d+)\."),
        "attention_head_dim": head,
        "num_attention_heads": width // head,
        "joint_attention_dim": shapes["context_embedder.weight"][1],
        "pooled_projection_dim": shapes["time_text_embed.text_embedder.linear_1.weight"][1],
        "guidance_embeds": "time_text_embed.guidance_embedder.linear_1.weight" in shapes,
    }


_MEASURES: dict[str, Callable[[Shapes], Settings]] = {
    "UNet2DConditionModel": _unet,
    "AutoencoderKL": _vae,
    "CLIPTextModel": _clip,
    "CLIPTextModelWithProjection": _clip,
    "T5EncoderModel": _t5,
    "FluxTransformer2DModel": _flux,
}
