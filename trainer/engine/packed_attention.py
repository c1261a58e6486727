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

if TYPE_CHECKING:
    from torch import Tensor

LARGEST = 2**24
"""Probabilities of a layer up to which they are kept: 32 MiB in 16 bits."""


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
        query, key, value = (
            project(states).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for project, states in (
                (attn.to_q, hidden_states),
                (attn.to_k, source),
                (attn.to_v, source),
            )
        )
        answer = attend(query, key, value).transpose(1, 2).flatten(2)
        return cast("Tensor", attn.to_out[1](attn.to_out[0](answer)))


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
    """`softmax(q k^T / sqrt d) v`, with the gradients written out."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        scale = query.shape[-1] ** -0.5
        scores = (query.float() * scale) @ key.float().mT
        shares = torch.softmax(scores, dim=-1).to(query.dtype)
        ctx.save_for_backward(query, key, value, shares)
        return shares @ value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value, shares = ctx.saved_tensors
        (gradient,) = gradients
        scale = query.shape[-1] ** -0.5
        of_scores = torch._softmax_backward_data(
            gradient @ value.mT, shares, -1, input_dtype=shares.dtype
        )
        return (of_scores @ key) * scale, (of_scores.mT @ query) * scale, shares.mT @ gradient


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
