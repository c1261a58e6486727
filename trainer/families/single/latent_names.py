"""The names of CompVis' and Stability's code for the UNet and the VAE (SD, SDXL, FLUX's VAE)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trainer.families.single.pending import Pending
from trainer.families.single.spelling import Tensors

VAE_UNUSED = r"(loss|model_ema)\..*"
"""What training a VAE leaves in its file: the network that judged it, and averaged weights."""

_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_UNET_ENDS = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
_MIDDLE = {"0": "mid_block.resnets.0", "1": "mid_block.attentions.0", "2": "mid_block.resnets.1"}
_VAE_ATTENTION = {
    "norm": "group_norm",
    "q": "to_q",
    "k": "to_k",
    "v": "to_v",
    "proj_out": "to_out.0",
}


def unet(tensors: Tensors) -> Iterator[tuple[str, Pending]]:
    """The UNet's tensors; how many resnets a block has is told by where it first halves."""
    first = (re.fullmatch(r"input_blocks\.(\d+)\.0\.op\.weight", name) for name in tensors)
    halved = [int(match[1]) for match in first if match]
    layers = min(halved, default=1 + _highest(tensors, r"input_blocks\.(\d+)\.")) - 1
    for name, tensor in tensors.items():
        module, _, end = name.rpartition(".")
        yield f"{_unet_module(module, layers)}.{end}", tensor


def _highest(tensors: Tensors, pattern: str) -> int:
    return max((int(m[1]) for name in tensors if (m := re.match(pattern, name))), default=0)


def _unet_module(module: str, layers: int) -> str:
    """Ours for a module of the first code; the same where it is not known."""
    if module in _UNET_ENDS:
        return _UNET_ENDS[module]
    match = re.fullmatch(r"(input_blocks|output_blocks)\.(\d+)\.(\d)\.(.+)", module)
    if match:
        side, number, piece, inside = match.groups()
        down = side == "input_blocks"
        block, layer = divmod(int(number) - down, layers + 1)
        return _block(down, block, layer, piece, inside)
    middle = re.fullmatch(r"middle_block\.([012])\.(.+)", module)
    if middle:
        inside = middle[2] if middle[1] == "1" else _RESNET.get(middle[2], middle[2])
        return f"{_MIDDLE[middle[1]]}.{inside}"
    return module


def _block(down: bool, block: int, layer: int, piece: str, inside: str) -> str:
    start = f"{'down' if down else 'up'}_blocks.{block}"
    if down and inside == "op":
        return f"{start}.downsamplers.0.conv"
    if not down and piece in "12" and inside == "conv":
        return f"{start}.upsamplers.0.conv"
    if piece == "0":
        return f"{start}.resnets.{layer}.{_RESNET.get(inside, inside)}"
    return f"{start}.attentions.{layer}.{inside}"


def vae(tensors: Tensors) -> Iterator[tuple[str, Pending]]:
    """The VAE's tensors; its decoder counts levels from the other end."""
    levels = 1 + _highest(tensors, r"decoder\.up\.(\d+)\.")
    for name, tensor in tensors.items():
        module, _, end = name.rpartition(".")
        ours = _vae_module(module, levels)
        flat = ".attentions.0.to_" in ours and len(tensor.shape) == 4
        yield f"{ours}.{end}", tensor.flat() if flat else tensor


def _vae_module(module: str, levels: int) -> str:
    side, _, path = module.partition(".")
    if side not in ("encoder", "decoder"):
        return module
    if path == "norm_out":
        return f"{side}.conv_norm_out"
    middle = re.fullmatch(r"mid\.(block_([12])|attn_1)\.(\w+)", path)
    if middle:
        if middle[2]:
            number = int(middle[2]) - 1
            return f"{side}.mid_block.resnets.{number}.{_vae_resnet(middle[3])}"
        inside = _VAE_ATTENTION.get(middle[3], middle[3])
        return f"{side}.mid_block.attentions.0.{inside}"
    level = re.fullmatch(r"(down|up)\.(\d+)\.(?:block\.(\d+)\.(\w+)|(down|up)sample\.conv)", path)
    if not level:
        return module
    way, told, resnet, inside, sampled = level.groups()
    start = f"{side}.{way}_blocks.{int(told) if way == 'down' else levels - 1 - int(told)}"
    if sampled:
        return f"{start}.{sampled}samplers.0.conv"
    return f"{start}.resnets.{resnet}.{_vae_resnet(inside)}"


def _vae_resnet(inside: str) -> str:
    return "conv_shortcut" if inside == "nin_shortcut" else inside
