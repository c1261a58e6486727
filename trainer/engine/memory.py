"""How much memory a run takes, phase by phase, and which plan fits into how much.

Checked against measured peaks by benchmarks/memory.py; docs/memory.md shows the table. It does not
know how much memory there is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trainer.core.device import Thrift, pictures_together
from trainer.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainer.core.device import Bits, Plan
    from trainer.families.outline import Outline
    from trainer.job.config import JobConfig

GIB = 2**30
OWN = int(0.95 * GIB)
"""Of Python and its libraries, on the CPU; of a card's context, about as much."""
STATE = 3
"""A checkpoint holds the adapter and two moments of it."""
_WORK = {"cpu": (1.15, 6.5), "cuda": (1.3, 1.3)}
"""Times what is kept, and what the largest block keeps, that a step takes: gradients, and what a
block works with. On the CPU half of it is holes in glibc's heap, which come from tensors of many
sizes coming and going (fitted to the table in docs/memory.md); a card's is not measured."""
_MADE: dict[Bits, int] = {"plain": 1, "nf4": 2, "int8": 3, "fp8": 4}
"""Times the largest layer that its weight takes while it is made for a product."""
_ENCODE = 8
"""Times the first level's activations that encoding a picture takes."""
_FIRST_LEVEL = 128
"""Channels there, in the VAEs of all families."""
_BITS: dict[Bits, float] = {"int8": 8.03, "fp8": 8.03, "nf4": 4.5}
"""Bits of a held weight with its share of scales; nf4 has 0.5 more for one fp32 each 64."""
_DOUBLE = 4.13


@dataclass(frozen=True, slots=True)
class Phases:
    """Bytes at the peak of each phase, the libraries' own among them.

    Attributes:
        words: Encoding captions.
        pictures: Encoding pictures.
        steps: Training.
        weights: Of these, the frozen denoiser.
        kept: What the forward pass keeps for the backward pass, and what both work with.
        adapter: The adapter, its gradients, moments and mean.
    """

    words: int
    pictures: int
    steps: int
    weights: int
    kept: int
    adapter: int

    @property
    def peak(self) -> int:
        """The largest phase."""
        return max(self.words, self.pictures, self.steps)


def phases(job: JobConfig, plan: Plan, outline: Outline) -> Phases:
    """What each phase of a run takes on the plan's device."""
    wide, thrift = _wide(plan), plan.thrift
    words, vae, weights = _parts(plan, outline)
    made = wide * _MADE[thrift.base] * outline.largest
    kept, adapter = _kept(job, plan, outline) + made, _adapter(job, outline)
    area = job.model.resolution**2
    encode = _through_vae(plan, outline, area * pictures_together(plan.device, area))
    live = words if job.text_encoder.train or job.dataset.captions_vary else 0
    rendering = weights if job.prior.enabled and job.prior.folder is None else 0
    own = OWN if thrift.staged else OWN + words + vae + weights
    return Phases(
        words=own + (words if thrift.staged else 0),
        pictures=own + encode + (vae + live + rendering if thrift.staged else 0),
        steps=own + kept + adapter + (weights + live if thrift.staged else 0),
        weights=weights,
        kept=kept,
        adapter=adapter,
    )


def _parts(plan: Plan, outline: Outline) -> tuple[int, int, int]:
    """Bytes of the text encoders, the VAE and the denoiser, as the plan holds them."""
    wide, thrift = _wide(plan), plan.thrift
    texts = [name for name in outline.weights if name.startswith("text")]
    words = sum(_held(outline, name, thrift.text, wide, double=thrift.double) for name in texts)
    (network,) = (name for name in outline.weights if name not in (*texts, "vae"))
    weights = _held(outline, network, thrift.base, wide, double=thrift.double)
    if plan.device != "cpu":
        weights -= int(thrift.offload * _held_alone(outline, network, thrift.base, wide))
    if plan.packed:
        weights *= 2
    return words, _wide_vae(plan, outline) * outline.weights.get("vae", 0), weights


def _wide(plan: Plan) -> int:
    """Bytes of a number."""
    return 4 if plan.precision == "fp32" else 2


def _wide_vae(plan: Plan, outline: Outline) -> int:
    """Bytes of a number in the VAE."""
    return 4 if outline.wide_vae and plan.precision == "fp16" else _wide(plan)


def _through_vae(plan: Plan, outline: Outline, pixels: int) -> int:
    """Bytes that the VAE works with while so many pixels go through it together."""
    return _ENCODE * _wide_vae(plan, outline) * _FIRST_LEVEL * pixels


def _held(outline: Outline, part: str, bits: Bits, wide: int, *, double: bool) -> int:
    count = outline.weights[part]
    if bits == "plain":
        return wide * count
    holdable, delicate = outline.holdable[part], outline.delicate.get(part, 0)
    each = _DOUBLE if bits == "nf4" and double else _BITS[bits]
    fewer = (holdable - delicate) * each + delicate * _BITS["int8"]
    return wide * (count - holdable) + int(fewer / 8)


def _held_alone(outline: Outline, part: str, bits: Bits, wide: int) -> int:
    """Bytes of the layers that can wait in main memory."""
    return int(outline.holdable[part] * (wide if bits == "plain" else _BITS[bits] / 8))


def _kept(job: JobConfig, plan: Plan, outline: Outline) -> int:
    """Activations of the pictures that one device trains together."""
    pictures = -(-job.schedule.batch_size // job.compute.processes)
    pictures *= 2 if job.prior.enabled else 1
    wide = 2 if plan.precision == "fp32" else 1
    share = plan.thrift.recompute if plan.checkpointing else 0.0
    kept = share * outline.recomputed + (1 - share) * outline.kept
    all_blocks, one_block = _WORK["cpu" if plan.device == "cpu" else "cuda"]
    return int((all_blocks * kept + one_block * outline.block) * pictures * wide)


def _adapter(job: JobConfig, outline: Outline) -> int:
    means = 1 if job.schedule.ema else 0
    return int(4 * (2 + job.optimizer.moments + means) * parameters(job, outline))


def parameters(job: JobConfig, outline: Outline) -> int:
    """How many parameters train."""
    layers = [*outline.adapted.values()]
    for encoder in job.text_encoder.chosen(outline.text_adapted):
        layers += outline.text_adapted[encoder].values()
    return sum(job.adapter.rank * (i + o) for i, o in layers)


def proof_thrift(thrift: Thrift, *, spare: bool) -> Thrift:
    """How the proof holds the base model: exactly, or in 8 bits where that was or must be spared.

    Both compared pictures come from the same weights, so that rounding them changes no finding.
    """
    if thrift.base == "plain" and not spare:
        return Thrift()
    base: Bits = "int8" if thrift.base == "plain" else thrift.base
    return Thrift(base=base, text="int8", double=thrift.double, staged=True)


def proof(job: JobConfig, plan: Plan, outline: Outline) -> int:
    """Bytes at the peak of the proof: fp32, unless the run's own weights are held in fewer bits."""
    thrift = proof_thrift(plan.thrift, spare=False)
    if thrift.base == "plain":
        return 4 * (sum(outline.weights.values()) + parameters(job, outline)) + OWN
    plain = replace(plan, precision="fp32", thrift=thrift, checkpointing=False, packed=False)
    found = phases(job, plain, outline)
    return max(found.words, OWN + found.weights + 8 * parameters(job, outline))


def memory_in_words(plan: Plan, outline: Outline, found: Phases) -> str:
    """The plan and what it takes, as a person reads it before anything is loaded."""
    texts = [name for name in outline.weights if name.startswith("text")]
    (network,) = (name for name in outline.weights if name not in (*texts, "vae"))
    thrift = plan.thrift
    held = "" if thrift.base == "plain" else f" {thrift.base}"
    told = [f"{network}{held} {found.weights / GIB:.1f} GiB"]
    if thrift.offload and plan.device != "cpu":
        told[0] += f" ({thrift.offload:.0%} of its blocks wait in main memory)"
    told.append(f"activations {found.kept / GIB:.1f} GiB" + _recomputed(plan))
    told.append(f"adapter and optimizer {found.adapter / GIB:.2f} GiB")
    if thrift.staged:
        text = "" if thrift.text == "plain" else f" in {thrift.text}"
        told.append(f"text encoders{text} freed after caching ({found.words / GIB:.1f} GiB then)")
    return ", ".join(told)


def _recomputed(plan: Plan) -> str:
    if not plan.checkpointing:
        return ""
    share = plan.thrift.recompute
    return " (recomputed)" if share == 1 else f" ({share:.0%} of blocks recomputed)"


def tiers(asked: Thrift, plan: Plan, *, four_bits: bool = True) -> Iterator[Plan]:
    """Plans from the fastest to the thriftiest; each gives up a little more than the one before.

    Args:
        asked: What is given up in any case.
        plan: Of the device.
        four_bits: Whether nf4 works there.
    """
    staged = replace(plan, thrift=replace(asked, staged=True))
    yield staged
    yield replace(staged, checkpointing=True)
    least: tuple[Bits, ...] = ("int8", "nf4") if four_bits else ("int8",)
    held: list[tuple[Bits, Bits, float]] = [("int8", "int8", 0.0)]
    if four_bits and not asked.offload:  # 4 bits cannot wait in main memory
        held += [("nf4", text, 0.0) for text in least]
    if plan.device != "cpu":
        held += [("int8", "int8", 0.5), *(("int8", text, 1.0) for text in least)]
    for base, text, offload in held:
        waiting = max(offload, asked.offload)
        thrift = replace(staged.thrift, base=base, text=text, offload=waiting)
        yield replace(staged, packed=False, checkpointing=True, thrift=thrift)


def fitted(
    job: JobConfig, plan: Plan, outline: Outline, target: int, *, four_bits: bool = True
) -> Plan:
    """The fastest plan whose peak is at most `target` bytes.

    Raises:
        ConfigError: None is; tells the least that would do.
    """
    least = None
    for tier in tiers(job.memory.thrift, plan, four_bits=four_bits):
        peak = phases(job, tier, outline).peak
        if peak <= target:
            return tier
        least = peak if least is None else min(least, peak)
    assert least is not None, "there is always a first tier"
    raise ConfigError(
        f"{job.model.resolution} px with batches of {job.schedule.batch_size} does not fit into "
        f"{target / GIB:.1f} GiB: the thriftiest plan takes {least / GIB:.1f} GiB",
        where="memory.target_gib",
        hint=_smaller(job),
    )


def rendering(plan: Plan, outline: Outline, side: int) -> int:
    """Bytes while pictures of this side are rendered, with every part in memory."""
    return OWN + sum(_parts(plan, outline)) + _through_vae(plan, outline, side**2)


def fitted_to_render(
    asked: Thrift, plan: Plan, outline: Outline, side: int, target: int, *, four_bits: bool
) -> Plan:
    """The fastest plan that renders in at most `target` bytes, else the thriftiest there is."""
    found = [
        replace(tier, checkpointing=False, thrift=replace(tier.thrift, staged=False))
        for tier in tiers(asked, plan, four_bits=four_bits)
    ]
    fitting = (tier for tier in found if rendering(tier, outline, side) <= target)
    return next(fitting, min(found, key=lambda tier: rendering(tier, outline, side)))


def _smaller(job: JobConfig) -> str:
    if job.schedule.batch_size > 1:
        return "a smaller schedule.batch_size (and more schedule.accumulate)"
    return "a smaller model.resolution, or a larger memory.target_gib"
