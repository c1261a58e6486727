"""The least time that a training step can take on this machine: its FLOPs and their rate."""

from __future__ import annotations

import time


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


def flops_needed(*, side: int, rank: int) -> float:
    """FLOPs of a step: the forward pass, and the gradients that reach the LoRA matrices.

    Convolutions, matrix products and attention are counted, the latter without recomputing;
    counted on shapes alone, with text and latents already encoded.
    """
    import peft
    import torch
    from diffusers import UNet2DConditionModel
    from torch.utils.flop_counter import FlopCounterMode

    from trainer.families.sd import Sd

    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8)
        unet.requires_grad_(False)
        config = peft.LoraConfig(r=rank, target_modules=Sd.targets["attention"])
        peft.inject_adapter_in_model(config, unet)
        latents = torch.zeros(1, 4, side // 8, side // 8)
        text = torch.zeros(1, 77, 768)
        with FlopCounterMode(display=False) as counter:
            unet(latents, torch.zeros(1), text, return_dict=False)[0].sum().backward()
    return float(counter.get_total_flops())
