"""SimpleTuner: `config.json`, and the data backends and LyCORIS settings that it names."""

from __future__ import annotations

import re
from typing import Any

from trainer.job.importers.account import Draft
from trainer.job.importers.base import Importer
from trainer.job.importers.beside import read_beside
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
from trainer.job.importers.names import take_base, take_name
from trainer.job.importers.prompts import take_negative
from trainer.job.importers.reading import Source
from trainer.job.importers.rules import Maps, apply, is_off, number_or_none, take
from trainer.job.importers.simpletuner_keys import TABLE
from trainer.job.importers.simpletuner_pictures import BACKENDS, is_backends, said, take_backends
from trainer.job.importers.values import options

_FAMILIES = {"sd1x": "sd", "sd2x": "sd", "sdxl": "sdxl", "flux": "flux", "sd3": "sd3"}
_BITS = {"int8": "int8", "fp8": "fp8", "fp8uz": "fp8", "nf4": "nf4", "int4": "nf4", "int2": "nf4",
         "uint4": "nf4"}  # fmt: skip
_TARGETS = {"all": "attention", "all+ffs": "attention+ff", "mmdit": "attention",
            "ai-toolkit": "linear"}  # fmt: skip
_LYCORIS = "lycoris_config"
_BLOCKS = {"flux": 57, "sd3": 38}


def _recognise(source: Source) -> bool:
    tree = source.tree
    if isinstance(tree, list):
        return is_backends(tree)
    names = {str(name).removeprefix("--") for name in tree}
    return len({"model_family", "model_type", BACKENDS, "lora_rank"} & names) >= 2


def _is_lycoris(tree: Any) -> bool:
    return isinstance(tree, dict) and "algo" in tree


def _opened(source: Source) -> Any:
    """Names without the dashes of a command line, which older files have."""
    tree = source.tree
    if isinstance(tree, list):
        return {BACKENDS: tree}
    plain = {str(name).removeprefix("--") or str(name): value for name, value in tree.items()}
    if len(plain) < len(tree):
        plain = dict(tree)
    value = plain.get("optimizer_config")
    if isinstance(value, str) and value.strip():
        plain["optimizer_config"] = options(value.replace(",", " ")) or value
    return plain


def _translate(draft: Draft) -> None:
    if ("model_family",) in draft.leaves or ("model_type",) in draft.leaves:
        _family(draft)
        read_beside(draft, (BACKENDS,), is_backends, label=BACKENDS)
        if said(draft, "lora_type") == "lycoris":
            read_beside(draft, (_LYCORIS,), _is_lycoris, label=_LYCORIS)
        _network(draft)
        _rates(draft)
        _length(draft)
        _times(draft)
        _memory(draft)
        _samples(draft)
    elif (BACKENDS, "0", "id") in draft.leaves or len(draft.leaves) > 1:
        draft.assume("model.kind", "sd", "a file of data backends does not say the model")
    take_backends(draft)
    apply(draft, TABLE)


def _family(draft: Draft) -> None:
    key, word = ("model_family",), str(said(draft, "model_family") or "").lower()
    flavour = str(said(draft, "model_flavour") or "").lower()
    if word in _FAMILIES and "kontext" not in flavour:
        draft.take(key, "model.kind", _FAMILIES[word])
    elif key in draft.leaves:
        unsupported_family(draft, key, f"{word} {flavour}".strip())
    if said(draft, "pretrained_model_name_or_path") is not None:
        take_base(draft, ("pretrained_model_name_or_path",),
                  said(draft, "pretrained_model_name_or_path"))  # fmt: skip
    kind = str(said(draft, "model_type") or "full").lower()
    if ("model_type",) in draft.leaves:
        if "full" in kind:
            whole_model(draft, ("model_type",), "the whole model")
        else:
            draft.tell(("model_type",), "explained", "a LoRA is what Sweetspot trains")
    if not is_off(draft.leaves.get(("controlnet",))):
        draft.tell(("controlnet",), "suspicious", "unsupported: ControlNets and their pictures")
        draft.refuse("model.kind", "the file trains a ControlNet, which Sweetspot does not")
    answer = str(said(draft, "prediction_type") or "").lower()
    if answer in ("epsilon", "v_prediction") and draft.has("model.noise.prediction"):
        draft.take(("prediction_type",), "model.noise.prediction", answer)


def _network(draft: Draft) -> None:
    if said(draft, _LYCORIS, "algo") is not None:
        _lycoris(draft)
    elif str(said(draft, "lora_type") or "standard").lower() == "lycoris":
        told = "unsupported: LyCORIS; a plain LoRA of our own rank: lycoris_config is not here"
        draft.tell(("lora_type",), "suspicious", told)
    else:
        _plain_lora(draft)


def _lycoris(draft: Draft) -> None:
    word = str(said(draft, _LYCORIS, "algo")).lower()
    choose_adapter(draft, (_LYCORIS, "algo"), {"locon": "lora", "diag-oft": "oft"}.get(word, word))
    dim, scale = (_LYCORIS, "linear_dim"), (_LYCORIS, "linear_alpha")
    take_rank(draft, dim, said(draft, *dim), scale, said(draft, *scale), missing=1.0)
    for name in ("lora_rank", "lora_alpha"):
        if (name,) in draft.leaves:
            draft.tell((name,), "explained", "lycoris_config decides")
    draft.assume("adapter.targets", "attention+ff", "LyCORIS' usual modules")


def _plain_lora(draft: Draft) -> None:
    if not is_off(draft.leaves.get(("use_dora",))):
        choose_adapter(draft, ("use_dora",), "dora")
    dim = ("lora_rank",) if ("lora_rank",) in draft.leaves else None
    scale = ("lora_alpha",) if ("lora_alpha",) in draft.leaves else None
    if dim is None:
        draft.assume("adapter.rank", 16, "SimpleTuner's rank")
    take_rank(draft, dim, said(draft, "lora_rank"), scale, said(draft, "lora_alpha"), missing=0.0)
    dropout = number_or_none(said(draft, "lora_dropout"))
    if dropout is not None and draft.has("adapter.dropout"):
        draft.take(("lora_dropout",), "adapter.dropout", dropout)
    else:
        draft.assume("adapter.dropout", 0.1, "SimpleTuner's dropout")
    target = ("flux_lora_target",)
    if target in draft.leaves:
        word = str(said(draft, *target) or "all").lower()
        told = "" if word in _TARGETS else f"unsupported: {word}; attention instead"
        draft.take(target, "adapter.targets", _TARGETS.get(word, "attention"), odd=told)
    draft.assume("adapter.targets", "attention", "SimpleTuner's LoRA is on attention")


_ARGUMENTS = {
    "adam_beta1": "beta1", "optimizer_beta1": "beta1", "adam_beta2": "beta2",
    "optimizer_beta2": "beta2", "adam_weight_decay": "weight_decay",
}  # fmt: skip


def _rates(draft: Draft) -> None:
    found = None
    if said(draft, "optimizer") is not None:
        found = choose_optimizer(draft, ("optimizer",), said(draft, "optimizer"))
    if said(draft, "learning_rate") is not None:
        take_rate(draft, ("learning_rate",), said(draft, "learning_rate"), found)
    for name, ours in _ARGUMENTS.items():
        if said(draft, name) is not None:
            take_option(draft, (name,), ours, said(draft, name))
    for key, value in list(draft.leaves.items()):
        if key[0] == "optimizer_config" and len(key) == 2:
            take_option(draft, key, key[1], value)
    _text_and_clip(draft)


def _text_and_clip(draft: Draft) -> None:
    if not is_off(draft.leaves.get(("train_text_encoder",))):
        draft.take(("train_text_encoder",), "text_encoder.train", True)
        if said(draft, "text_encoder_lr") is not None:
            take(draft, ("text_encoder_lr",), said(draft, "text_encoder_lr"),
                 Maps("text_encoder.learning_rate"))  # fmt: skip
    method = str(said(draft, "grad_clip_method") or "value").lower()
    if said(draft, "max_grad_norm") is not None:
        if method == "norm":
            take(draft, ("max_grad_norm",), said(draft, "max_grad_norm"), Maps("schedule.clip"))
        else:
            draft.tell(("max_grad_norm",), "explained", "unsupported: SimpleTuner cuts each value "
                       "off there (grad_clip_method); here the gradient's length is held: "
                       "schedule.clip")  # fmt: skip


def _length(draft: Draft) -> None:
    steps = number_or_none(said(draft, "max_train_steps"))
    epochs = number_or_none(said(draft, "num_train_epochs"))
    if steps:
        take(draft, ("max_train_steps",), steps, Maps("schedule.steps"))
    elif epochs:
        take(draft, ("num_train_epochs",), epochs, Maps("schedule.epochs"))
    for name in ("max_train_steps", "num_train_epochs"):
        if (name,) in draft.leaves and (name,) not in draft.lines:
            draft.tell((name,), "explained", "0 or empty: the other of the two decides")
    _schedule(draft)


def _schedule(draft: Draft) -> None:
    schedule = "constant_with_warmup"
    if said(draft, "lr_scheduler") is not None:
        schedule = take_schedule(draft, ("lr_scheduler",), said(draft, "lr_scheduler"))
    draft.assume("schedule.kind", "constant", "SimpleTuner's schedule is constant")
    if said(draft, "lr_warmup_steps") is not None:
        take_warmup(draft, ("lr_warmup_steps",), said(draft, "lr_warmup_steps"),
                    schedule=schedule)  # fmt: skip
    draft.assume("schedule.warmup", 0.0, "SimpleTuner has no warm-up where none is given")
    if not is_off(draft.leaves.get(("use_ema",))):
        decay = number_or_none(said(draft, "ema_decay"))
        draft.take(("use_ema",), "schedule.ema", 0.995 if decay is None else decay)
        if ("ema_decay",) in draft.leaves:
            draft.tell(("ema_decay",), "explained", "schedule.ema has it")


def _times(draft: Draft) -> None:
    if not draft.flows:
        return
    if not is_off(draft.leaves.get(("flow_use_uniform_schedule",))):
        draft.take(("flow_use_uniform_schedule",), "model.flow.sampling", "uniform")
    elif said(draft, "flow_sigmoid_scale") is not None:
        take(draft, ("flow_sigmoid_scale",), said(draft, "flow_sigmoid_scale"),
             Maps("model.flow.spread"))  # fmt: skip
    shift = number_or_none(said(draft, "flow_schedule_shift"))
    if not is_off(draft.leaves.get(("flow_schedule_auto_shift",))):
        draft.tell(("flow_schedule_auto_shift",), "mapped", "model.flow.shift is left empty, which "
                   "is by each picture's size", "model.flow.shift")  # fmt: skip
    elif shift is not None:
        draft.take(("flow_schedule_shift",), "model.flow.shift", shift or 1.0,
                   "" if shift else "0 is none, which is 1")  # fmt: skip
    else:
        draft.assume("model.flow.shift", 3.0, "SimpleTuner's shift")
    constant = str(said(draft, "flux_guidance_mode") or "constant").lower() == "constant"
    asked = said(draft, "flux_guidance_value")
    if constant and asked is not None and draft.has("model.guidance"):
        take(draft, ("flux_guidance_value",), asked, Maps("model.guidance"))


def _memory(draft: Draft) -> None:
    for name, ours in (("base_model_precision", "memory.base"),
                       ("text_encoder_1_precision", "memory.text"),
                       ("text_encoder_2_precision", "memory.text"),
                       ("text_encoder_3_precision", "memory.text")):  # fmt: skip
        word = str(said(draft, name) or "no_change").lower()
        bits = _BITS.get(re.split(r"[-_]", word)[0])
        if bits is not None:
            draft.take((name,), ours, bits, "the nearest")
    swapped = number_or_none(said(draft, "musubi_blocks_to_swap"))
    blocks = _BLOCKS.get(draft.chosen.get("model.kind", ""))
    if swapped and blocks:
        share = round(min(1.0, swapped / blocks), 3)
        draft.take(("musubi_blocks_to_swap",), "memory.offload", share, f"of {blocks} blocks")


def _samples(draft: Draft) -> None:
    if said(draft, "validation_prompt") is not None:
        draft.take(("validation_prompt",), "samples.prompts",
                   [str(said(draft, "validation_prompt")).strip()])  # fmt: skip
    if said(draft, "validation_negative_prompt") is not None:
        take_negative(draft, ("validation_negative_prompt",),
                      said(draft, "validation_negative_prompt"))  # fmt: skip
    name = said(draft, "tracker_run_name") or said(draft, "hub_model_id")
    if name is not None:
        key = "tracker_run_name" if said(draft, "tracker_run_name") else "hub_model_id"
        take_name(draft, (key,), str(name).rpartition("/")[2])


IMPORTER = Importer(
    name="SimpleTuner",
    reads="its config.json, or its data backends",
    recognise=_recognise,
    opened=_opened,
    translate=_translate,
    table=TABLE,
)
