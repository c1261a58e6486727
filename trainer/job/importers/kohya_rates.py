"""How long and how fast sd-scripts trains what, in our terms."""

from __future__ import annotations

from typing import Any

from trainer.job.importers.account import Draft
from trainer.job.importers.kohya_args import Args
from trainer.job.importers.methods import (
    Optimizer,
    choose_optimizer,
    take_option,
    take_rate,
    take_schedule,
    take_warmup,
)
from trainer.job.importers.values import UnreadableError, numbers

_LARGEST = 0.01
"""Rates from here on are meant for optimizers that find their own."""


def decide_rates(args: Args) -> None:
    """Tell of length, schedule, optimizer, rates, and which text encoder learns."""
    _length(args)
    _schedule(args)
    _rates(args)


def _length(args: Args) -> None:
    draft = args.draft
    epochs, steps = args.number("max_train_epochs"), args.number("max_train_steps")
    if epochs is not None:
        args.take("max_train_epochs", "schedule.epochs")
        if steps is not None:
            draft.tell(args.key("max_train_steps"), "explained", "max_train_epochs decides")
    elif steps is not None:
        args.take("max_train_steps", "schedule.steps")
    elif "epoch" in args.at:
        args.take("epoch", "schedule.epochs")
    else:
        draft.assume("schedule.steps", 1600, "sd-scripts trains 1600 steps where none are given")


def _schedule(args: Args) -> None:
    draft, schedule = args.draft, "constant"
    for name in ("lr_scheduler", "lr_scheduler_type"):
        if args.get(name) is not None:
            schedule = take_schedule(draft, args.key(name), args.get(name))
    draft.assume("schedule.kind", "constant", "sd-scripts' schedule is constant")
    if args.get("lr_warmup_steps") is not None:
        value = args.get("lr_warmup_steps")
        take_warmup(draft, args.key("lr_warmup_steps"), value, schedule=schedule)
    draft.assume("schedule.warmup", 0.0, "sd-scripts has no warm-up where none is given")


def _optimizer(args: Args) -> Optimizer | None:
    draft, found = args.draft, None
    for name, word in (("use_8bit_adam", "AdamW8bit"), ("use_lion_optimizer", "Lion")):
        if args.on(name):
            found = choose_optimizer(draft, args.key(name), word)
    if args.get("optimizer_type") is not None:
        found = choose_optimizer(draft, args.key("optimizer_type"), args.get("optimizer_type"))
    for name, key in args.below("optimizer_args"):
        take_option(draft, key, name, draft.leaves[key])
    return found


def _rates(args: Args) -> None:
    draft, optimizer = args.draft, _optimizer(args)
    unet, text = args.number("unet_lr"), args.number("text_encoder_lr")
    if args.get("text_encoder_lr") is not None and text is None:
        text = _first(args.get("text_encoder_lr"))
    name = "unet_lr" if unet else "learning_rate"
    if args.get(name) is not None:
        take_rate(draft, args.key(name), args.get(name), optimizer)
    for other in {"learning_rate", "unet_lr"} - {name}:
        if other in args.at:
            draft.tell(args.key(other), "explained", f"{name} decides")
    _text_encoder(args, text, asked=_asks_for_words(args, unet, text))


def _first(value: Any) -> float | None:
    try:
        found = numbers(value)
    except UnreadableError:
        return None
    return found[0] if found else None


def _asks_for_words(args: Args, unet: float | None, text: float | None) -> bool:
    """Whether a text encoder is to train there: in every family, unless it is told not to.

    `is_train_text_encoder` of sd-scripts' `train_network.py`, for SDXL, SD3 and FLUX too. OFT is on
    the denoiser alone.
    """
    module = str(args.get("network_module")).rpartition(".")[2]
    if args.on("network_train_unet_only") or module in ("oft", "oft_flux"):
        return False
    if text == 0 or (text is None and "text_encoder_lr" in args.zero_is_unset and unet):
        return False
    told = text is not None or "network_train_unet_only" in args.at
    return told or args.whole or args.draft.chosen.get("model.kind") == "sd"


def _caches_words(args: Args) -> bool:
    """Whether all words are cached, so that none can learn; FLUX and SD3 then cache T5's alone."""
    flows = args.draft.chosen.get("model.kind") in ("flux", "sd3")
    return args.on("cache_text_encoder_outputs") and not flows


_WORDS = ("network_train_unet_only", "network_train_text_encoder_only", "text_encoder_lr",
          "t5xxl_lr")  # fmt: skip


def _text_encoder(args: Args, text: float | None, *, asked: bool) -> None:
    draft, trained = args.draft, asked and not _caches_words(args)
    if args.on("network_train_text_encoder_only"):
        key = args.key("network_train_text_encoder_only")
        odd = "unsupported: the denoiser always trains too"
        draft.take(key, "text_encoder.train", True, odd=odd)
    elif trained:
        _words_learn(args, text)
    elif not args.whole and text is None:
        told = "the header does not tell whether words learned; `lora_te` in its tensors would"
        draft.assume("text_encoder.train", False, told)
    said = f"text_encoder.train is {'on' if trained else 'off'}"
    for name in _WORDS:
        if name in args.at and args.key(name) not in draft.lines:
            draft.tell(args.key(name), "explained", said)
    if asked and not trained:
        told = "sd-scripts refuses it without network_train_unet_only; the words do not learn here"
        draft.tell(args.key("cache_text_encoder_outputs"), "suspicious", told)
    shuffles = args.on("shuffle_caption") or args.number("caption_tag_dropout_rate")
    if args.on("cache_text_encoder_outputs") and shuffles:
        draft.tell(
            args.key("cache_text_encoder_outputs"),
            "suspicious",
            "with cached words, sd-scripts refuses tags that are shuffled or dropped",
        )


def _words_learn(args: Args, text: float | None) -> None:
    draft, rate = args.draft, draft_rate(args.draft)
    general = args.number("learning_rate")
    if general and general < _LARGEST:  # which unet_lr does not replace for the words
        rate = general
    own = "text_encoder_lr" in args.at and text is not None and 0 < text < _LARGEST
    if own:
        draft.take(args.key("text_encoder_lr"), "text_encoder.learning_rate", text)
    told = [name for name in ("text_encoder_lr", "network_train_unet_only") if name in args.at]
    if told:
        name = told[0] if own else told[-1]
        draft.take(args.key(name), "text_encoder.train", True)
    else:
        draft.assume("text_encoder.train", True, "sd-scripts trains it unless told otherwise")
    if rate:
        draft.assume("text_encoder.learning_rate", rate, "learning_rate, as it has none of its own")


def draft_rate(draft: Draft) -> float | None:
    """The denoiser's learning rate, if the file decides one."""
    rate = draft.chosen.get("optimizer.learning_rate")
    return float(rate) if rate is not None and rate < _LARGEST else None
