"""The least time that a training step can take on this machine: its FLOPs and their rate."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

FLUX_WORDS = 512
"""Tokens of a caption that FLUX.1 dev reads."""


def matmul_rate() -> float:
    """Bf16 FLOP/s of a large matrix product with all threads: the best of several."""
    import torch

    side = 4096
    a, b = (torch.randn(side, side).bfloat16() for _ in range(2))
    best = float("inf")
    for _ in range(8):
        started = time.perf_counter()
        torch.nn.functional.linear(a, b)
        best = min(best, time.perf_counter() - started)
    return 2 * side**3 / best


def flops_needed(family: str, model: Path, *, side: int, rank: int, targets: str) -> float:
    """FLOPs of a step: the forward pass, and the gradients that reach the LoRA matrices.

    Convolutions, matrix products and attention are counted, the latter without recomputing;
    counted on shapes alone, with text and latents already encoded.

    Args:
        family: Of the model.
        model: Its folder.
        side: Of the picture, px.
        rank: Of the LoRA.
        targets: The layers that carry it, as an expression.
    """
    import peft
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        network = _network(family, model)
        network.requires_grad_(False)
        peft.inject_adapter_in_model(peft.LoraConfig(r=rank, target_modules=targets), network)
        told = (_flux if family == "flux" else _unet)(network.config, side // 8)
        with FlopCounterMode(display=False) as counter:
            network(**told, return_dict=False)[0].sum().backward()
    return float(counter.get_total_flops())


def _network(family: str, model: Path) -> Any:
    import diffusers

    part, name = (
        ("transformer", "FluxTransformer2DModel")
        if family == "flux"
        else ("unet", "UNet2DConditionModel")
    )
    cls = getattr(diffusers, name)
    return cls.from_config(cls.load_config(model / part))


def _unet(config: Any, side: int) -> dict[str, Any]:
    import torch

    told: dict[str, Any] = {
        "sample": torch.zeros(1, config.in_channels, side, side),
        "timestep": torch.zeros(1),
        "encoder_hidden_states": torch.zeros(1, 77, config.cross_attention_dim),
    }
    if config.addition_embed_type == "text_time":
        width = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        more = {"text_embeds": torch.zeros(1, width), "time_ids": torch.zeros(1, 6)}
        told["added_cond_kwargs"] = more
    return told


def _flux(config: Any, side: int) -> dict[str, Any]:
    import torch

    places = side * side // 4
    return {
        "hidden_states": torch.zeros(1, places, config.in_channels),
        "encoder_hidden_states": torch.zeros(1, FLUX_WORDS, config.joint_attention_dim),
        "pooled_projections": torch.zeros(1, config.pooled_projection_dim),
        "timestep": torch.zeros(1),
        "guidance": torch.zeros(1),
        "img_ids": torch.zeros(places, 3),
        "txt_ids": torch.zeros(FLUX_WORDS, 3),
    }
