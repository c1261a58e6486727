"""Writes models of a Diffusers folder as one file, with the names that their first codes gave.

It goes the other way than `trainer/families/single`, and shares nothing with it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

State = dict[str, Tensor]

RESNET = (
    ("norm1", "in_layers.0"),
    ("conv1", "in_layers.2"),
    ("time_emb_proj", "emb_layers.1"),
    ("norm2", "out_layers.0"),
    ("conv2", "out_layers.3"),
    ("conv_shortcut", "skip_connection"),
)
UNET_AROUND = (
    ("time_embedding.linear_1.", "time_embed.0."),
    ("time_embedding.linear_2.", "time_embed.2."),
    ("add_embedding.linear_1.", "label_emb.0.0."),
    ("add_embedding.linear_2.", "label_emb.0.2."),
    ("conv_in.", "input_blocks.0.0."),
    ("conv_norm_out.", "out.0."),
    ("conv_out.", "out.2."),
)


def weights(folder: Path, part: str) -> State:
    """All tensors of a part of the folder, whole or in shards."""
    return {
        k: v
        for file in sorted((folder / part).glob("*.safetensors"))
        for k, v in load_file(file).items()
    }


def unet(state: State, settings: dict[str, Any]) -> State:
    levels, layers = len(settings["block_out_channels"]), settings["layers_per_block"]
    starts = list(UNET_AROUND)
    for i in range(levels):
        for j in range(layers):
            at = (layers + 1) * i + j + 1
            starts.append((f"down_blocks.{i}.resnets.{j}.", f"input_blocks.{at}.0."))
            starts.append((f"down_blocks.{i}.attentions.{j}.", f"input_blocks.{at}.1."))
        at = (layers + 1) * (i + 1)
        starts.append((f"down_blocks.{i}.downsamplers.0.conv.", f"input_blocks.{at}.0.op."))
        for j in range(layers + 1):
            at = (layers + 1) * i + j
            starts.append((f"up_blocks.{i}.resnets.{j}.", f"output_blocks.{at}.0."))
            starts.append((f"up_blocks.{i}.attentions.{j}.", f"output_blocks.{at}.1."))
        at = (layers + 1) * i + layers
        piece = 2 if f"up_blocks.{i}.attentions.0.norm.weight" in state else 1
        starts.append((f"up_blocks.{i}.upsamplers.0.conv.", f"output_blocks.{at}.{piece}.conv."))
    starts += [
        ("mid_block.resnets.0.", "middle_block.0."),
        ("mid_block.attentions.0.", "middle_block.1."),
        ("mid_block.resnets.1.", "middle_block.2."),
    ]
    named = {}
    for name, tensor in state.items():
        ours, theirs = next(pair for pair in starts if name.startswith(pair[0]))
        inside = name.removeprefix(ours)
        if "resnets" in ours:
            for mine, first in RESNET:
                if inside.startswith(mine + "."):
                    inside = first + inside.removeprefix(mine)
        named[theirs + inside] = tensor
    return named


def vae(state: State, settings: dict[str, Any]) -> State:
    last = len(settings["block_out_channels"]) - 1
    named = {}
    for name, tensor in state.items():
        theirs = name
        for level in range(last + 1):
            theirs = theirs.replace(
                f"encoder.down_blocks.{level}.resnets.", f"encoder.down.{level}.block."
            )
            theirs = theirs.replace(
                f"encoder.down_blocks.{level}.downsamplers.0.", f"encoder.down.{level}.downsample."
            )
            theirs = theirs.replace(
                f"decoder.up_blocks.{level}.resnets.", f"decoder.up.{last - level}.block."
            )
            theirs = theirs.replace(
                f"decoder.up_blocks.{level}.upsamplers.0.", f"decoder.up.{last - level}.upsample."
            )
        for ours, first in (
            ("conv_shortcut", "nin_shortcut"),
            ("mid_block.resnets.0", "mid.block_1"),
            ("mid_block.resnets.1", "mid.block_2"),
            ("conv_norm_out", "norm_out"),
        ):
            theirs = theirs.replace(ours, first)
        if "mid_block.attentions.0" in theirs:
            theirs = theirs.replace("mid_block.attentions.0", "mid.attn_1")
            for ours, first in (
                ("group_norm", "norm"),
                ("to_q", "q"),
                ("to_k", "k"),
                ("to_v", "v"),
                ("to_out.0", "proj_out"),
            ):
                theirs = theirs.replace(f".{ours}.", f".{first}.")
            if tensor.ndim == 2:
                tensor = tensor[:, :, None, None]
        named[theirs] = tensor
    return named


def clip(state: State) -> State:
    """As transformers 4 saved it: inside `text_model.`, with its places counted."""
    named = {f"text_model.{k.removeprefix('text_model.')}": v for k, v in state.items()}
    places = len(named["text_model.embeddings.position_embedding.weight"])
    return named | {"text_model.embeddings.position_ids": torch.arange(places)[None]}


def open_clip(state: State, *, another_layer: bool = False) -> State:
    """OpenCLIP's names: one matrix for query, key and value, and the projection transposed."""
    state = {k.removeprefix("text_model."): v for k, v in state.items()}
    layers = 1 + max(int(k.split(".")[2]) for k in state if k.startswith("encoder.layers."))
    width = state["final_layer_norm.weight"].numel()
    named = {
        "token_embedding.weight": state["embeddings.token_embedding.weight"],
        "positional_embedding": state["embeddings.position_embedding.weight"],
        "ln_final.weight": state["final_layer_norm.weight"],
        "ln_final.bias": state["final_layer_norm.bias"],
        "logit_scale": torch.tensor(4.6),
        "text_projection": state["text_projection.weight"].T.contiguous()
        if "text_projection.weight" in state
        else torch.rand(width, width),
    }
    for layer in range(layers):
        ours, theirs = f"encoder.layers.{layer}.", f"transformer.resblocks.{layer}."
        for end in ("weight", "bias"):
            three = [state[f"{ours}self_attn.{letter}_proj.{end}"] for letter in "qkv"]
            named[f"{theirs}attn.in_proj_{end}"] = torch.cat(three)
            for mine, first in (
                ("self_attn.out_proj", "attn.out_proj"),
                ("layer_norm1", "ln_1"),
                ("layer_norm2", "ln_2"),
                ("mlp.fc1", "mlp.c_fc"),
                ("mlp.fc2", "mlp.c_proj"),
            ):
                named[f"{theirs}{first}.{end}"] = state[f"{ours}{mine}.{end}"]
    if another_layer:
        named |= {
            k.replace(f"resblocks.{layers - 1}.", f"resblocks.{layers}."): v + 1
            for k, v in named.items()
            if f"resblocks.{layers - 1}." in k
        }
    return named


def flux(state: State) -> State:
    """Black Forest Labs' names."""
    doubles = 1 + max(int(k.split(".")[1]) for k in state if k.startswith("transformer_blocks."))
    singles = 1 + max(int(k.split(".")[1]) for k in state if k.startswith("single_transformer"))
    pairs = {"img_in": "x_embedder", "txt_in": "context_embedder", "final_layer.linear": "proj_out"}
    for theirs, ours in (("time", "timestep"), ("vector", "text"), ("guidance", "guidance")):
        if f"time_text_embed.{ours}_embedder.linear_1.weight" in state:
            pairs[f"{theirs}_in.in_layer"] = f"time_text_embed.{ours}_embedder.linear_1"
            pairs[f"{theirs}_in.out_layer"] = f"time_text_embed.{ours}_embedder.linear_2"
    named: State = {}
    for theirs, ours in pairs.items():
        named |= joined(state, theirs, ours)
    for end in ("weight", "bias"):
        scale, shift = state[f"norm_out.linear.{end}"].chunk(2)
        named[f"final_layer.adaLN_modulation.1.{end}"] = torch.cat([shift, scale])
    for i in range(doubles):
        named |= double_block(state, f"transformer_blocks.{i}", f"double_blocks.{i}")
    for i in range(singles):
        o, t = f"single_transformer_blocks.{i}", f"single_blocks.{i}"
        named |= joined(state, f"{t}.modulation.lin", f"{o}.norm.linear")
        named |= joined(
            state, f"{t}.linear1", *(f"{o}.attn.to_{x}" for x in "qkv"), f"{o}.proj_mlp"
        )
        named |= joined(state, f"{t}.linear2", f"{o}.proj_out")
        named[f"{t}.norm.query_norm.scale"] = state[f"{o}.attn.norm_q.weight"]
        named[f"{t}.norm.key_norm.scale"] = state[f"{o}.attn.norm_k.weight"]
    return named


def double_block(state: State, o: str, t: str) -> State:
    named = joined(state, f"{t}.img_mod.lin", f"{o}.norm1.linear")
    named |= joined(state, f"{t}.txt_mod.lin", f"{o}.norm1_context.linear")
    named |= joined(state, f"{t}.img_attn.qkv", *(f"{o}.attn.to_{x}" for x in "qkv"))
    named |= joined(state, f"{t}.txt_attn.qkv", *(f"{o}.attn.add_{x}_proj" for x in "qkv"))
    named |= joined(state, f"{t}.img_attn.proj", f"{o}.attn.to_out.0")
    named |= joined(state, f"{t}.txt_attn.proj", f"{o}.attn.to_add_out")
    for side, ff, norm in (("img", "ff", "norm"), ("txt", "ff_context", "norm_added")):
        named |= joined(state, f"{t}.{side}_mlp.0", f"{o}.{ff}.net.0.proj")
        named |= joined(state, f"{t}.{side}_mlp.2", f"{o}.{ff}.net.2")
        named[f"{t}.{side}_attn.norm.query_norm.scale"] = state[f"{o}.attn.{norm}_q.weight"]
        named[f"{t}.{side}_attn.norm.key_norm.scale"] = state[f"{o}.attn.{norm}_k.weight"]
    return named


def joined(state: State, theirs: str, *ours: str) -> State:
    """One layer of theirs from the rows of some of ours."""
    return {
        f"{theirs}.{end}": torch.cat([state[f"{name}.{end}"] for name in ours])
        for end in ("weight", "bias")
    }


def under(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def sd_state(folder: Path, *, second: bool = False) -> State:
    """Stable Diffusion 1.x (CLIP) or 2.x (OpenCLIP, with a last layer that is not used)."""
    words = weights(folder, "text_encoder")
    text = (
        under("cond_stage_model.model.", open_clip(words, another_layer=True))
        if second
        else under("cond_stage_model.transformer.", clip(words))
    )
    return latent_state(folder) | text | {"alphas_cumprod": torch.rand(1000)}


def sdxl_state(folder: Path) -> State:
    first, second = weights(folder, "text_encoder"), weights(folder, "text_encoder_2")
    return (
        latent_state(folder)
        | under("conditioner.embedders.0.transformer.", clip(first))
        | under("conditioner.embedders.1.model.", open_clip(second))
        | {"denoiser.sigmas": torch.rand(1000)}
    )


def latent_state(folder: Path) -> State:
    """The UNet and the VAE."""
    return under(
        "model.diffusion_model.", unet(weights(folder, "unet"), settings(folder, "unet"))
    ) | under("first_stage_model.", vae(weights(folder, "vae"), settings(folder, "vae")))


def flux_state(folder: Path) -> State:
    """All parts, as ComfyUI writes them."""
    t5 = weights(folder, "text_encoder_2")
    return (
        under("model.diffusion_model.", flux(weights(folder, "transformer")))
        | under("vae.", vae(weights(folder, "vae"), settings(folder, "vae")))
        | under("text_encoders.clip_l.transformer.", clip(weights(folder, "text_encoder")))
        | under("text_encoders.t5xxl.transformer.", t5)
    )


def settings(folder: Path, part: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / part / "config.json").read_text(encoding="utf-8"))
    return read


def write(state: State, file: Path, metadata: dict[str, str] | None = None) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous().clone() for k, v in state.items()}, file, metadata)
    return file


def without_weights(folder: Path, to: Path) -> Path:
    """A copy of a model folder that has settings and words, and no weights."""
    for file in folder.rglob("*"):
        if file.is_file() and file.suffix != ".safetensors":
            copy = to / file.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    return to
