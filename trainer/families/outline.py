"""What training a model takes, as its configuration files tell it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Outline:
    """What training a model takes, found without reading its weights.

    Attributes:
        weights: Parameters of each part, by its name in the pipeline.
        adapted: Of each module that the targets mean, its inputs and outputs (a LoRA of rank r
            adds r times their sum).
        flops: Floating-point operations of the denoiser's forward pass, one picture.
        kept: Bytes that the forward pass keeps for the backward pass, one picture, in 16 bits.
        native_side: Side of the square pictures that the model was made for, px.
        size_step: Picture sides must be multiples of this, px.
        latent: Bytes of the cache that a pixel of a picture takes.
        caption: Bytes of the cache that a caption takes.
        text_adapted: As `adapted`, of each text encoder, by its name in the pipeline.
        facts: What else to tell before a run: label -> sentence.
        warnings: What may go wrong with this model.
        holdable: Weights of each part that can be held in fewer bits, of those in `weights`.
        largest: Weights of the denoiser's largest layer that can be held in fewer bits.
        delicate: Of `holdable`, those that are held in int8 whatever fewer bits are asked.
        wide_vae: The VAE computes in fp32 where the rest is fp16.
        recomputed: Of `kept`, what is still kept when all blocks are recomputed.
        block: What the largest block keeps, recomputed or not.
        heights: How densely training draws times, at the middles of as many equal parts from
            picture (0) to noise (1); empty where all are drawn alike.
    """

    weights: dict[str, int]
    adapted: dict[str, tuple[int, int]]
    flops: int
    kept: int
    native_side: int
    size_step: int
    latent: float
    caption: int
    text_adapted: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    holdable: dict[str, int] = field(default_factory=dict)
    largest: int = 0
    delicate: dict[str, int] = field(default_factory=dict)
    wide_vae: bool = False
    recomputed: int = 0
    block: int = 0
    heights: tuple[float, ...] = ()
