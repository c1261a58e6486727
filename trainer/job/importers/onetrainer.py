"""OneTrainer: what differs from its defaults, in JSON; concepts and samples in files beside."""

from __future__ import annotations

import re
from collections.abc import Iterable

from trainer.job.importers.account import Draft
from trainer.job.importers.base import Importer
from trainer.job.importers.judging import unsupported_family, whole_model
from trainer.job.importers.methods import (
    choose_adapter,
    choose_optimizer,
    take_option,
    take_rank,
    take_rate,
    take_schedule,
    take_warmup,
)
from trainer.job.importers.names import take_base
from trainer.job.importers.onetrainer_keys import TABLE
from trainer.job.importers.onetrainer_pictures import concepts, said, samples
from trainer.job.importers.pictures import take_largest
from trainer.job.importers.reading import Key, Source
from trainer.job.importers.rules import Maps, apply, is_off, number_or_none, take

_MODELS = {
    "STABLE_DIFFUSION_15": "sd", "STABLE_DIFFUSION_20": "sd", "STABLE_DIFFUSION_20_BASE": "sd",
    "STABLE_DIFFUSION_21": "sd", "STABLE_DIFFUSION_21_BASE": "sd",
    "STABLE_DIFFUSION_3": "sd3", "STABLE_DIFFUSION_35": "sd3",
    "STABLE_DIFFUSION_XL_10_BASE": "sdxl", "FLUX_DEV_1": "flux",
}  # fmt: skip
_WHOLE = {"FINE_TUNE": "the whole model", "EMBEDDING": "words", "FINE_TUNE_VAE": "the VAE"}
_PEFT = {"LORA": "lora", "LOHA": "loha", "LOKR": "lokr", "OFT_2": "oft"}
_BITS = {"FLOAT_8": "fp8", "FLOAT_W8A8": "fp8", "INT_8": "int8", "INT_W8A8": "int8",
         "NFLOAT_4": "nf4"}  # fmt: skip
_FILTERS = {"attn-mlp": ("linear", "attention+ff"), "attn-only": ("attention", "attention"),
            "blocks": ("linear", "linear"), "full": ("linear+conv", "linear")}  # fmt: skip
"""Theirs -> ours for a UNet, and for a transformer."""
_DENOISERS = ("unet", "transformer", "prior")
_TEXTS = ("text_encoder", "text_encoder_2", "text_encoder_3", "text_encoder_4")


def _recognise(source: Source) -> bool:
    tree = source.tree
    return isinstance(tree, dict) and (
        "model_type" in tree and bool({"training_method", "base_model_name"} & tree.keys())
    )


def _translate(draft: Draft) -> None:
    family(draft)
    parts(draft)
    network(draft)
    optimizer(draft)
    length(draft)
    times(draft)
    noise(draft)
    resolution(draft)
    concepts(draft)
    samples(draft)
    apply(draft, TABLE, _words)


def _words(key: Key) -> Iterable[str]:
    """A second file's keys are those that could stand in the first."""
    if key[0].endswith(".json"):
        return ("concepts" if "concept" in key[0] else "samples", *key[1:])
    return key


def family(draft: Draft) -> None:
    """The model, and whether a LoRA is trained at all."""
    word = str(said(draft, "model_type") or "").upper()
    if word in _MODELS:
        draft.take(("model_type",), "model.kind", _MODELS[word])
    else:
        unsupported_family(draft, ("model_type",), word)
    if said(draft, "base_model_name") is not None:
        take_base(draft, ("base_model_name",), said(draft, "base_model_name"))
    method = str(said(draft, "training_method") or "FINE_TUNE").upper()
    if ("training_method",) in draft.leaves:
        if method in _WHOLE:
            whole_model(draft, ("training_method",), _WHOLE[method])
        else:
            draft.tell(("training_method",), "explained", "a LoRA is what Sweetspot trains")
    for name, ours in (("force_v_prediction", "v_prediction"),
                       ("force_epsilon_prediction", "epsilon")):  # fmt: skip
        if not is_off(draft.leaves.get((name,))) and draft.has("model.noise.prediction"):
            draft.take((name,), "model.noise.prediction", ours)


def parts(draft: Draft) -> None:
    """Formats, offloading and rates of the denoiser and the text encoders."""
    seen: list[str] = []
    for part in (*_DENOISERS, *_TEXTS):
        kind = str(said(draft, part, "weight_dtype") or "").upper()
        if not kind or part in _TEXTS[3:]:
            continue
        ours = "memory.base" if part in _DENOISERS else "memory.text"
        bits = _BITS.get(kind)
        if bits and ours not in seen:
            seen.append(ours)
            draft.take((part, "weight_dtype"), ours, bits)
    for part in _DENOISERS:
        share = number_or_none(said(draft, part, "offload_fraction"))
        if share:
            draft.take((part, "offload_fraction"), "memory.offload", share)
        switch = (part, "gradient_checkpointing")
        if said(draft, *switch) is not None:
            take(draft, switch, said(draft, *switch), Maps("compute.gradient_checkpointing"))
    old = str(said(draft, "gradient_checkpointing") or "").upper()
    if old:
        draft.take(("gradient_checkpointing",), "compute.gradient_checkpointing",
                   old not in ("OFF", "FALSE"))  # fmt: skip
    draft.assume("compute.gradient_checkpointing", True, "OneTrainer recomputes activations")


def network(draft: Draft) -> None:
    """Method, rank, scale and modules."""
    if said(draft, "peft_type") is not None:
        word = str(said(draft, "peft_type")).upper()
        choose_adapter(draft, ("peft_type",), _PEFT.get(word, word.lower()))
    dim = ("lora_rank",) if ("lora_rank",) in draft.leaves else None
    scale = ("lora_alpha",) if ("lora_alpha",) in draft.leaves else None
    if dim is None:
        draft.assume("adapter.rank", 16, "OneTrainer's rank")
    take_rank(draft, dim, said(draft, "lora_rank"), scale, said(draft, "lora_alpha"), missing=1.0)
    draft.assume("adapter.alpha", 1.0, "OneTrainer's alpha")
    dropout = number_or_none(said(draft, "dropout_probability"))
    if dropout and draft.has("adapter.dropout"):
        draft.take(("dropout_probability",), "adapter.dropout", dropout)
    _filter(draft)


def _filter(draft: Draft) -> None:
    for key in (("layer_filter_preset",), ("lora_layer_preset",)):
        word = str(said(draft, *key) or "").lower()
        if word in _FILTERS:
            targets = _FILTERS[word][1 if draft.flows else 0]
            draft.take(key, "adapter.targets", targets, "layer_filter goes with it")
            return
    for name in ("layer_filter", "lora_layers"):
        written = said(draft, name)
        regular = not is_off(draft.leaves.get((f"{name}_regex",)))
        if not isinstance(written, str):
            continue
        if regular or any(sign in written for sign in "^$()*+?[]|\\"):
            draft.tell(
                (name,),
                "suspicious",
                "unsupported: a regular expression over OneTrainer's "
                "names is not taken over; adapter.targets takes one over whole paths",
            )
            continue
        pieces = [re.escape(piece.strip()) for piece in written.split(",") if piece.strip()]
        draft.take((name,), "adapter.targets", f".*(?:{'|'.join(pieces)}).*", "pieces of names")
        return
    draft.assume("adapter.targets", "linear" if draft.flows else "linear+conv",
                 "OneTrainer's LoRA is on all layers")  # fmt: skip


def optimizer(draft: Draft) -> None:
    """The optimizer, its arguments and the rates."""
    key: Key = ("optimizer", "optimizer")
    found = None
    if ("optimizer",) in draft.leaves:
        key = ("optimizer",)
    if said(draft, *key) is not None:
        found = choose_optimizer(draft, key, said(draft, *key))
    for inner, value in list(draft.leaves.items()):
        argument = inner[0] == "optimizer" and len(inner) == 2
        if argument and inner[1] not in ("optimizer", "__version"):
            take_option(draft, inner, inner[1], value)
    own = next(((part, "learning_rate") for part in _DENOISERS
                if number_or_none(said(draft, part, "learning_rate"))), None)  # fmt: skip
    rate = own or ("learning_rate",)
    if said(draft, *rate) is not None:
        take_rate(draft, rate, said(draft, *rate), found)
    else:
        draft.assume("optimizer.learning_rate", 3e-6, "OneTrainer's rate")
    _text_encoder(draft)


def _text_encoder(draft: Draft) -> None:
    """Text encoders train there unless they are told not to."""
    on: list[str] = []
    for part in _TEXTS[:3]:
        key = (part, "train")
        asked = draft.leaves.get(key)
        if key in draft.leaves and not is_off(asked):
            on.append(part)
            draft.take(key, "text_encoder.train", True)
        elif key in draft.leaves:
            draft.tell(key, "explained", "this text encoder does not train")
    if not on and (_TEXTS[0], "train") not in draft.leaves:
        if draft.chosen.get("model.kind") == "sd":
            draft.assume("text_encoder.train", True, "OneTrainer trains it unless told otherwise")
        else:
            return
    own = next(((p, "learning_rate") for p in on if said(draft, p, "learning_rate")), None)
    rate = draft.chosen.get("optimizer.learning_rate")
    if own is not None:
        take(draft, own, said(draft, *own), Maps("text_encoder.learning_rate"))
    elif rate and draft.chosen.get("text_encoder.train"):
        draft.assume("text_encoder.learning_rate", rate, "the same rate as the denoiser's")


def length(draft: Draft) -> None:
    """Epochs, schedule and warm-up."""
    draft.assume("schedule.epochs", 100, "OneTrainer's epochs")
    if said(draft, "epochs") is not None:
        take(draft, ("epochs",), said(draft, "epochs"), Maps("schedule.epochs"))
    key, schedule = ("learning_rate_scheduler",), "constant_"
    if said(draft, *key) is not None:
        schedule = take_schedule(draft, key, said(draft, *key))
    draft.assume("schedule.kind", "constant", "OneTrainer's schedule is constant")
    warm = ("learning_rate_warmup_steps",)
    if said(draft, *warm) is not None:
        steps = number_or_none(said(draft, *warm))
        if steps == 1:
            draft.tell(warm, "explained", "the whole run is warm-up there; it is left at ours")
        else:
            take_warmup(draft, warm, said(draft, *warm), schedule=f"{schedule}_")
    word = str(said(draft, "ema") or "OFF").upper()
    if word not in ("OFF", "FALSE"):
        decay = number_or_none(said(draft, "ema_decay"))
        draft.take(("ema",), "schedule.ema", 0.999 if decay is None else decay)
        if ("ema_decay",) in draft.leaves:
            draft.tell(("ema_decay",), "explained", "schedule.ema has it")


def times(draft: Draft) -> None:
    """Timesteps of flow matching; for others the whole range is drawn evenly, as here."""
    if not draft.flows:
        return
    word = str(said(draft, "timestep_distribution") or "UNIFORM").upper()
    key = ("timestep_distribution",)
    kind = "logit_normal" if word == "LOGIT_NORMAL" else "uniform"
    if key in draft.leaves:
        odd = "" if word in ("LOGIT_NORMAL", "UNIFORM") else f"unsupported: {word}; evenly instead"
        draft.take(key, "model.flow.sampling", kind, odd=odd)
    else:
        draft.assume("model.flow.sampling", kind, "OneTrainer draws times evenly")
    if kind == "logit_normal":
        weight = number_or_none(said(draft, "noising_weight"))
        if weight is not None:
            draft.take(("noising_weight",), "model.flow.spread", weight + 1.0, "one more")
        if said(draft, "noising_bias") is not None:
            take(draft, ("noising_bias",), said(draft, "noising_bias"), Maps("model.flow.mean"))
    if not is_off(draft.leaves.get(("dynamic_timestep_shifting",))):
        draft.tell(("dynamic_timestep_shifting",), "mapped",
                   "model.flow.shift is left empty, which is by each picture's size",
                   "model.flow.shift")  # fmt: skip
    elif said(draft, "timestep_shift") is not None:
        take(draft, ("timestep_shift",), said(draft, "timestep_shift"), Maps("model.flow.shift"))
    else:
        draft.assume("model.flow.shift", 1.0, "OneTrainer does not shift times")


def noise(draft: Draft) -> None:
    """Loss weights that are a setting of ours."""
    key, strength = ("loss_weight_fn",), number_or_none(said(draft, "loss_weight_strength"))
    word = str(said(draft, *key) or "CONSTANT").upper()
    if key not in draft.leaves:
        return
    if word == "MIN_SNR_GAMMA" and draft.has("model.noise.min_snr_gamma"):
        draft.take(key, "model.noise.min_snr_gamma", 5.0 if strength is None else strength)
        if ("loss_weight_strength",) in draft.leaves:
            draft.tell(("loss_weight_strength",), "explained", "the gamma of min-SNR")
    elif word == "MIN_SNR_GAMMA":
        draft.tell(key, "suspicious", "min-SNR weighs the prediction of noise; flow matching has "
                   "none")  # fmt: skip
    elif word == "SIGMA" and draft.has("model.flow.weighting"):
        draft.tell(key, "suspicious", "unsupported: weights by sigma; all times count alike")
    elif word == "CONSTANT":
        draft.tell(key, "explained", "all times count alike")
    else:
        draft.tell(key, "suspicious", f"unsupported: {word}; model.noise.min_snr_gamma = 5 is near")


def resolution(draft: Draft) -> None:
    """One size, or several, of which the largest is taken."""
    if said(draft, "resolution") is None:
        draft.assume("model.resolution", 512, "OneTrainer's size")
    else:
        take_largest(draft, ("resolution",), said(draft, "resolution"))


IMPORTER = Importer(
    name="OneTrainer",
    reads="JSON of its settings",
    recognise=_recognise,
    opened=lambda source: source.tree,
    translate=_translate,
    table=TABLE,
)
