"""Adapters, optimizers and schedules as other trainers call them, and what is used here instead.

What Sweetspot has is asked of its registries, so a new file there is met here by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainer.adapters.base import adapters
from trainer.job.importers.account import Draft
from trainer.job.importers.reading import Key
from trainer.job.importers.rules import Maps, number_or_none, take
from trainer.job.importers.values import UnreadableError, flag, is_unset, numbers, shown, text
from trainer.optimizers.base import optimizers

ADAPTER_NAMES = {
    "lora": "LoRA",
    "loha": "LoHa",
    "lokr": "LoKr",
    "dora": "DoRA",
    "oft": "OFT",
    "boft": "BOFT",
    "glora": "GLoRA",
    "ia3": "(IA)3",
    "dylora": "DyLoRA",
    "lora_fa": "LoRA-FA",
    "full": "a fine-tune of whole layers",
}
"""Methods, by the kind that an adapter of ours would have."""

SCHEDULES: dict[str, tuple[str, str]] = {
    "constant": ("constant", ""),
    "constant_with_warmup": ("constant", ""),
    "linear": ("linear", ""),
    "cosine": ("cosine", ""),
    "cosine_with_restarts": ("cosine", "unsupported: restarts; one cosine over the run instead"),
    "cosine_with_hard_restarts": ("cosine", "unsupported: restarts; one cosine instead"),
    "cosine_with_min_lr": ("cosine", "unsupported: its floor; the rate ends at 0"),
    "cosineannealinglr": ("cosine", ""),
    "cosineannealingwarmrestarts": ("cosine", "unsupported: restarts; one cosine instead"),
    "polynomial": ("linear", "unsupported: powers; a line instead"),
    "sine": ("cosine", "unsupported: sine; a cosine instead"),
    "rex": ("linear", "unsupported: REX; a line instead"),
    "inverse_sqrt": ("linear", "unsupported: inverse square root; a line instead"),
    "piecewise_constant": ("constant", "unsupported: pieces; constant instead"),
    "warmup_stable_decay": ("constant", "unsupported: its decay; constant instead"),
    "adafactor": ("constant", "Adafactor's own schedule means a constant one"),
    "custom": ("constant", "unsupported: a schedule from code, which is not run"),
}


@dataclass(frozen=True, slots=True)
class Optimizer:
    """What an optimizer of theirs is here.

    Attributes:
        kind: That of ours that would be it.
        name: What people call it.
        more: Further settings of ours that it implies.
        adaptive: Whether it finds its own rate, and the rate given is a factor of that.
        advice: What to say of its rate where AdamW stands in.
    """

    kind: str
    name: str
    more: Mapping[str, Any] = field(default_factory=dict)
    adaptive: bool = False
    advice: str = ""


_EIGHT = {"optimizer.eight_bit": True}
_PAGED = {"optimizer.eight_bit": True, "optimizer.paged": True}
_LION = "Lion's rates are a third to a tenth of AdamW's, so this one may be low"
OPTIMIZERS: dict[str, Optimizer] = {
    "adamw": Optimizer("adamw", "AdamW"),
    "adamw8bit": Optimizer("adamw", "AdamW in 8 bits", _EIGHT),
    "pagedadamw8bit": Optimizer("adamw", "paged AdamW in 8 bits", _PAGED),
    "pagedadamw": Optimizer("adamw", "paged AdamW"),
    "pagedadamw32bit": Optimizer("adamw", "paged AdamW"),
    "adamwbf16": Optimizer("adamw", "AdamW in bf16"),
    "torchadamw": Optimizer("adamw", "AdamW"),
    "torchaoadamw8bit": Optimizer("adamw", "AdamW in 8 bits", _EIGHT),
    "bnbadamw": Optimizer("adamw", "AdamW"),
    "bnbadamw8bit": Optimizer("adamw", "AdamW in 8 bits", _EIGHT),
    "bnbadamwpaged": Optimizer("adamw", "paged AdamW"),
    "bnbadamw8bitpaged": Optimizer("adamw", "paged AdamW in 8 bits", _PAGED),
    "optimiadamw": Optimizer("adamw", "AdamW"),
    "stableadamw": Optimizer("adamw", "StableAdamW"),
    "adam": Optimizer("adam", "Adam"),
    "adam8bit": Optimizer("adam", "Adam in 8 bits"),
    "adamwschedulefree": Optimizer("schedulefree", "schedule-free AdamW"),
    "schedulefreeadamw": Optimizer("schedulefree", "schedule-free AdamW"),
    "prodigy": Optimizer("prodigy", "Prodigy", adaptive=True),
    "prodigyadv": Optimizer("prodigy", "Prodigy", adaptive=True),
    "prodigy8bit": Optimizer("prodigy", "Prodigy in 8 bits", adaptive=True),
    "prodigyplusschedulefree": Optimizer("prodigyplus", "Prodigy+", adaptive=True),
    "dadaptation": Optimizer("dadapt", "D-Adaptation", adaptive=True),
    "adafactor": Optimizer("adafactor", "Adafactor"),
    "lion": Optimizer("lion", "Lion", advice=_LION),
    "lion8bit": Optimizer("lion", "Lion in 8 bits", advice=_LION),
    "pagedlion8bit": Optimizer("lion", "paged Lion in 8 bits", advice=_LION),
    "optimilion": Optimizer("lion", "Lion", advice=_LION),
    "came": Optimizer("came", "CAME"),
}


def choose_adapter(draft: Draft, key: tuple[str, ...], word: str) -> str:
    """Take the adapter's kind over, or name what is trained instead; gives the kind."""
    name = ADAPTER_NAMES.get(word, word)
    if word in adapters:
        draft.take(key, "adapter.kind", word, name)
        return word
    instead = f"unsupported: {name}; a plain LoRA is trained instead"
    if word in ("loha", "lokr"):
        instead += f", for which the rank and the rate of a {name} are too high or too low"
    draft.tell(key, "explained", instead)
    return adapters.default


def take_rank(
    draft: Draft, dim: Key | None, rank: Any, scale: Key | None, alpha: Any, *, missing: float
) -> None:
    """Rank and alpha; an alpha that is missing is the trainer's own default, not ours.

    Args:
        draft: The translation.
        dim: Where the rank stands.
        rank: What is said there.
        scale: Where alpha stands.
        alpha: What is said there.
        missing: Alpha when it is not in the file; 0 is the rank.
    """
    if dim is not None and rank is not None:
        take(draft, dim, rank, Maps("adapter.rank"))
    width = draft.chosen.get("adapter.rank", 16)
    asked = number_or_none(alpha)
    if scale is not None and asked == 0:
        odd = "alpha 0 is taken as the rank, as sd-scripts does"
        draft.take(scale, "adapter.alpha", float(width), odd=odd)
    elif scale is not None and asked is not None:
        draft.take(scale, "adapter.alpha", asked)
    elif dim is not None or scale is not None:
        told = f"their alpha where none is given is {missing or 'the rank'}"
        draft.assume("adapter.alpha", float(missing or width), told)


def choose_optimizer(draft: Draft, key: Key, written: Any) -> Optimizer:
    """Take the optimizer over, or name what is used instead."""
    name = text(written) if not isinstance(written, dict | list) else ""
    plain = name.rpartition(".")[2].lower().replace("_", "").replace("-", "")
    found = OPTIMIZERS.get(plain)
    if found is None and plain.startswith("dadapt"):
        found = OPTIMIZERS["dadaptation"]
    if found is None:
        found = Optimizer(plain, name or "this", adaptive="prodigy" in plain)
    if found.kind in optimizers:
        draft.take(key, "optimizer.kind", found.kind, found.name)
        for ours, value in found.more.items():
            if draft.has(ours):
                draft.take(key, ours, value)
        return found
    rate = "; it finds its own rate, AdamW does not" if found.adaptive else ""
    draft.tell(key, "explained", f"unsupported: {found.name}; AdamW is used instead{rate}")
    return found


def take_rate(draft: Draft, key: Key, value: Any, optimizer: Optimizer | None) -> None:
    """Take a learning rate over, unless it is a factor of a rate that nobody finds here."""
    rate = number_or_none(value)
    if rate is None:
        draft.tell(key, "suspicious", f"not taken over: {shown(value)} is no number")
        return
    there = optimizer is None or optimizer.kind in optimizers
    if optimizer is not None and optimizer.adaptive and not there:
        draft.tell(
            key,
            "explained",
            f"it is a factor of the rate that {optimizer.name} finds, and no rate of AdamW's; "
            "optimizer.learning_rate has its default",
        )
        return
    odd = ""
    if rate >= 0.01 and not (optimizer is not None and optimizer.adaptive):
        odd = "this is a rate for Prodigy or D-Adaptation; with AdamW it ruins a run"
    elif optimizer is not None and not there:
        odd = optimizer.advice
    draft.take(key, "optimizer.learning_rate", rate, odd=odd)


def take_schedule(draft: Draft, key: Key, written: Any) -> str:
    """Take the schedule over, or the nearest; gives their name of it, plain."""
    try:
        word = text(written).lower().replace(" ", "_")
    except UnreadableError:
        word = ""
    kind, told = SCHEDULES.get(word, ("constant", f"unsupported: {word!r}; constant instead"))
    draft.take(key, "schedule.kind", kind, told)
    return word


def take_warmup(draft: Draft, key: Key, value: Any, *, schedule: str) -> None:
    """Take a warm-up in steps, or a share below 1, over as a share of the run."""
    asked = number_or_none(value)
    if asked is None or asked < 0:
        draft.tell(key, "suspicious", f"not taken over: {shown(value)} is no number of steps")
    elif schedule == "constant" and asked:
        draft.take(
            key,
            "schedule.warmup",
            0.0,
            odd="there a `constant` schedule has no warm-up whatever is set here",
        )
    elif asked < 1:
        draft.take(key, "schedule.warmup", asked, "a share of all steps" if asked else "")
    elif steps := draft.chosen.get("schedule.steps"):
        draft.take(key, "schedule.warmup", round(min(asked / steps, 0.99), 6), f"of {steps} steps")
    else:
        draft.tell(
            key,
            "explained",
            "here warm-up is a share of the run, whose steps the file does not say; "
            "schedule.warmup has its default",
        )


_OPTIONS = {
    "weight_decay": "optimizer.weight_decay",
    "beta1": "optimizer.beta1",
    "beta2": "optimizer.beta2",
}


def take_option(draft: Draft, key: Key, name: str, value: Any) -> None:
    """Take one argument of an optimizer over, where ours has it."""
    ours = _OPTIONS.get(name, f"optimizer.{name}")
    if is_unset(value):
        draft.tell(key, "explained", "it is left empty")
    elif name == "betas":
        _take_betas(draft, key, value)
    elif draft.has(ours) and name not in ("kind", "learning_rate"):
        found = number_or_none(value)
        if found is None:
            _take_switch(draft, key, ours, value)
        else:
            draft.take(key, ours, found)
    else:
        kind = draft.chosen.get("optimizer.kind", optimizers.default)
        draft.tell(key, "explained", f"{kind} has no such setting here")


def _take_betas(draft: Draft, key: Key, value: Any) -> None:
    try:
        found = numbers(value)
    except UnreadableError as error:
        draft.tell(key, "suspicious", f"not taken over: {error}")
        return
    for index, beta in enumerate(found[:2], start=1):
        if draft.has(f"optimizer.beta{index}"):
            draft.take(key, f"optimizer.beta{index}", beta)
    if key not in draft.lines:
        draft.tell(key, "explained", "the optimizer has no such setting here")


def _take_switch(draft: Draft, key: Key, ours: str, value: Any) -> None:
    try:
        draft.take(key, ours, flag(value))
    except UnreadableError:
        draft.tell(key, "suspicious", f"not taken over: {shown(value)} is no number")
