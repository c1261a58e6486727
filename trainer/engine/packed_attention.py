"""Attention for training on a CPU: keeps the probabilities instead of computing them twice.

torch's CPU kernel never holds the whole matrix of probabilities. That is right for long
sequences; for short ones its backward pass takes up to four times as long as plain matrix
products. Without gradients, or when the matrix is large, torch's kernel is used. Scores are
computed in fp32 as that kernel does: in bf16 the error would be several times as large.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from trainer.engine.packed_lora import is_lone, project

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

LARGEST = 2**24
"""Probabilities of a layer up to which they are kept: 32 MiB in 16 bits."""

IN_CACHE = 2**20
"""Scores computed at a time: 4 MiB."""


def keep_probabilities(network: nn.Module) -> int:
    """Exchange the processors of a UNet's attention layers; the number of them."""
    layers = [layer for layer in network.modules() if _is_plain(layer)]
    for layer in layers:
        layer.processor = ShortAttention()
    return len(layers)


def restore_attention(network: nn.Module) -> None:
    """Give those layers the processor that they had."""
    for layer in network.modules():
        if isinstance(layer, Attention) and isinstance(layer.processor, ShortAttention):
            layer.processor = AttnProcessor2_0()


class ShortAttention:
    """A Diffusers attention processor for layers that `keep_probabilities` chose."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        if attention_mask is not None or hidden_states.ndim != 3:
            plain = AttnProcessor2_0()
            return cast(
                "Tensor", plain(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
            )
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        if source is hidden_states:
            projected = _project((attn.to_q, attn.to_k, attn.to_v), source)
        else:
            projected = attn.to_q(hidden_states), *_project((attn.to_k, attn.to_v), source)
        query, key, value = (x.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for x in projected)
        answer = attend(query, key, value).transpose(1, 2).flatten(2)
        return cast("Tensor", attn.to_out[1](attn.to_out[0](answer)))


def _project(layers: Sequence[nn.Module], x: Tensor) -> tuple[Tensor, ...]:
    if all(is_lone(layer) for layer in layers):
        return project(layers, x)
    return tuple(layer(x) for layer in layers)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention: `(B, heads, n, d)`, twice `(B, heads, m, d)` -> `(B, heads, n, d)`."""
    learns = torch.is_grad_enabled() and (
        query.requires_grad or key.requires_grad or value.requires_grad
    )
    size = query.shape[:3].numel() * key.shape[2]
    if not learns or size > LARGEST:
        return scaled_dot_product_attention(query, key, value)
    return cast("Tensor", _Attention.apply(query, key, value))


class _Attention(torch.autograd.Function):
    """`softmax(q k^T / sqrt d) v`, with the gradients written out, a few heads at a time."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        ctx.heads = query.shape[:2]
        query, key, value = (x.flatten(0, 1) for x in (query, key, value))
        shares = query.new_empty(*query.shape[:2], key.shape[1])
        answer = torch.empty_like(query)
        scaled = query.float() * query.shape[-1] ** -0.5
        for q, k, v, p, a in _in_parts(scaled, key.float(), value, shares, answer):
            p.copy_(torch.softmax(q @ k.mT, dim=-1))
            torch.bmm(p, v, out=a)
        ctx.save_for_backward(query, key, value, shares)
        return answer.unflatten(0, ctx.heads)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        gradient = gradients[0].flatten(0, 1)
        saved = ctx.saved_tensors  # read once: recomputed activations are given out once
        answers = tuple(torch.empty_like(x) for x in saved[:3])
        for q, k, v, p, g, of_q, of_k, of_v in _in_parts(*saved, gradient, *answers):
            of_scores = torch._softmax_backward_data(g @ v.mT, p, -1, input_dtype=p.dtype)
            torch.bmm(of_scores, k, out=of_q)
            torch.bmm(of_scores.mT, q, out=of_k)
            torch.bmm(p.mT, g, out=of_v)
        scale = gradient.shape[-1] ** -0.5
        answers[0].mul_(scale)
        answers[1].mul_(scale)
        return tuple(x.unflatten(0, ctx.heads) for x in answers)


def _in_parts(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same few heads of each, so few that their scores stay in the processor's cache."""
    queries, keys = tensors[0].shape[1], tensors[1].shape[1]
    heads = max(1, IN_CACHE // (queries * keys))
    return zip(*(tensor.split(heads) for tensor in tensors), strict=True)


def _is_plain(layer: nn.Module) -> bool:
    """Whether the layer is projections and attention, and nothing that Diffusers may add."""
    return (
        isinstance(layer, Attention)
        and type(layer.processor) is AttnProcessor2_0
        and layer.to_k is not None
        and not layer.norm_cross
        and not layer.residual_connection
        and layer.rescale_output_factor == 1
        and all(
            getattr(layer, name) is None
            for name in ("spatial_norm", "group_norm", "norm_q", "norm_k", "add_q_proj")
            if hasattr(layer, name)
        )
        and next(layer.parameters()).device.type == "cpu"
    )
