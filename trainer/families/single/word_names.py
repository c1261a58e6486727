"""How single files name text encoders: CLIP and T5 as transformers do, OpenCLIP as its own code."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.families.single.pending import Pending
from trainer.families.single.spelling import Tensors

CLIP_UNUSED = r"(text_model\.)?embeddings\.position_ids|logit_scale|text_projection(\.weight)?"
"""What CLIPs carry that belongs to their other half, or is counted anew."""
OPEN_UNUSED = r"logit_scale|attn_mask"

_ENDS = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
_LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}


def clip(tensors: Tensors) -> Iterator[tuple[str, Pending]]:
    """CLIP as transformers 5 has it: without the `text_model.` that files carry."""
    for name, tensor in tensors.items():
        yield name.removeprefix("text_model."), tensor


def clip_with_projection(tensors: Tensors) -> Iterator[tuple[str, Pending]]:
    """The same with a projection, where `text_model.` stays."""
    for name, tensor in clip(tensors):
        yield name if name.startswith("text_projection") else f"text_model.{name}", tensor


def open_clip(tensors: Tensors) -> Iterator[tuple[str, Pending]]:
    """OpenCLIP without its projection, as SD 2.x reads words."""
    for name, tensor in _open(tensors):
        if name != "text_projection.weight":
            yield name, tensor


def open_clip_with_projection(tensors: Tensors) -> Iterator[tuple[str, Pending]]:
    """OpenCLIP with its projection, as SDXL reads words."""
    for name, tensor in _open(tensors):
        yield name if name.startswith("text_projection") else f"text_model.{name}", tensor


def _open(tensors: Tensors) -> Iterator[tuple[str, Pending]]:
    for name, tensor in tensors.items():
        if name in _ENDS:
            yield _ENDS[name], tensor
        elif name == "text_projection":
            yield "text_projection.weight", tensor.transposed()
        elif name.startswith("transformer.resblocks."):
            yield from _of_layer(name.removeprefix("transformer.resblocks."), tensor)
        else:
            yield name, tensor


def _of_layer(name: str, tensor: Pending) -> Iterator[tuple[str, Pending]]:
    number, _, path = name.partition(".")
    start = f"encoder.layers.{number}."
    if path in ("attn.in_proj_weight", "attn.in_proj_bias"):
        width = tensor.shape[0] // 3
        for index, letter in enumerate("qkv"):
            rows = tensor.part(index * width, (index + 1) * width)
            yield f"{start}self_attn.{letter}_proj.{path.rpartition('_')[2]}", rows
        return
    module, _, end = path.rpartition(".")
    yield f"{start}{_LAYER.get(module, module)}.{end}", tensor
