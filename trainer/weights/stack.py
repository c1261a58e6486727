"""Several LoRAs as one: what it adds to a layer is the sum of what they add."""

from __future__ import annotations

from collections.abc import Iterable

from trainer.weights.layouts import Weights


def stacked(some: Iterable[tuple[Weights, float]]) -> Weights:
    """One adapter that acts as these do together, each at its strength.

    `sum_i s_i B_i A_i` is `[s_1 B_1, s_2 B_2, ...] [A_1; A_2; ...]`: exact, and as large as they
    are together. Modules that only some of them have keep those alone.
    """
    import torch

    downs: dict[str, list[torch.Tensor]] = {}
    ups: dict[str, list[torch.Tensor]] = {}
    for weights, strength in some:
        for name, a, b, alpha in weights:
            downs.setdefault(name, []).append(a.float())
            ups.setdefault(name, []).append(b.float() * (strength * alpha / a.shape[0]))
    tensors = {f"{name}.lora_A": torch.cat(parts) for name, parts in downs.items()}
    tensors |= {f"{name}.lora_B": torch.cat(parts, dim=1) for name, parts in ups.items()}
    alphas = {name: float(tensors[f"{name}.lora_A"].shape[0]) for name in downs}
    return Weights(tensors, alphas)
