"""ai-toolkit: a job in YAML or JSON, whose first process trains."""

from __future__ import annotations

import re
from typing import Any

from trainer.core.errors import ConfigError
from trainer.job.importers.account import Draft
from trainer.job.importers.ai_toolkit_keys import TABLE
from trainer.job.importers.ai_toolkit_pictures import PicturesOfJob
from trainer.job.importers.base import Importer
from trainer.job.importers.judging import unsupported_family, whole_model
from trainer.job.importers.methods import (
    choose_adapter,
    choose_optimizer,
    take_option,
    take_rank,
    take_rate,
    take_schedule,
)
from trainer.job.importers.names import take_base
from trainer.job.importers.reading import Key, Source
from trainer.job.importers.rules import Maps, apply, number_or_none, take

_TRAINERS = ("sd_trainer", "ui_trainer", "diffusion_trainer", "textual_inversion_trainer")
_ARCHS = {
    "sd1": "sd", "sd15": "sd", "sd2": "sd", "ssd": "SSD-1B", "vega": "Segmind Vega",
    "sdxl": "sdxl", "sd3": "sd3", "flux": "flux",
}  # fmt: skip
_BOXES = {
    "is_flux": "flux", "is_xl": "sdxl", "is_v3": "sd3", "is_v2": "sd", "is_pixart": "PixArt",
    "is_pixart_sigma": "PixArt Sigma", "is_auraflow": "AuraFlow", "is_lumina2": "Lumina 2",
    "is_ssd": "SSD-1B", "is_vega": "Segmind Vega",
}  # fmt: skip
_TYPES = {"lora": "lora", "locon": "lora", "lierla": "lora", "dora": "dora", "lokr": "lokr",
          "loha": "loha", "full": "full"}  # fmt: skip
_TIMES: dict[str, tuple[str, float | None, str]] = {
    "sigmoid": ("logit_normal", 1.0, ""),
    "linear": ("uniform", 1.0, ""),
    "weighted": ("uniform", 1.0, "unsupported: its weights; all times count alike"),
    "flux_shift": ("uniform", None, ""),
    "lumina2_shift": ("uniform", None, ""),
    "shift": ("uniform", None, ""),
    "lognorm_blend": ("logit_normal", 1.0, "unsupported: the blend; logit-normal alone"),
}
"""Theirs -> how times are drawn and shifted here, and what is lost."""
_BITS = {"qfloat8": "fp8", "float8": "fp8", "qint8": "int8", "int8": "int8", "uint8": "int8",
         "qint4": "nf4", "uint4": "nf4", "uint3": "nf4", "int4": "nf4", "nf4": "nf4"}  # fmt: skip


def _recognise(source: Source) -> bool:
    tree = source.tree
    config = tree.get("config") if isinstance(tree, dict) else None
    return isinstance(config, dict) and ("process" in config or "job" in tree)


def _opened(source: Source) -> Any:
    config = source.tree["config"]
    process = config.get("process")
    first = process[0] if isinstance(process, list) and process else None
    kind = first.get("type") if isinstance(first, dict) else None
    if kind not in _TRAINERS:
        raise ConfigError(
            f"this job of ai-toolkit ({kind or source.tree.get('job')!r}) trains no LoRA",
            where=str(source.path),
            hint="a job whose process is of type sd_trainer",
        )
    return source.tree


def _translate(draft: Draft) -> None:
    at = {key[3:]: key for key in draft.leaves if key[:3] == ("config", "process", "0")}
    job = _Job(draft, at)
    job.family()
    job.model()
    job.network()
    job.optimizer()
    job.length()
    job.times()
    job.datasets()
    job.samples()
    draft.assume("schedule.kind", "constant", "ai-toolkit's schedule is constant")
    draft.assume("schedule.warmup", 0.0, "ai-toolkit has no warm-up")
    apply(draft, TABLE)


class _Job(PicturesOfJob):
    """The process that trains."""

    def family(self) -> None:
        arch = str(self.get("model.arch") or "").lower().partition(":")[0]
        box = next((name for name in _BOXES if self.on(f"model.{name}")), None)
        if arch:
            self._decide("model.arch", _ARCHS.get(arch, arch))
        elif box is not None:
            self._decide(f"model.{box}", _BOXES[box])
        else:
            self.draft.assume("model.kind", "sd", "no other model is named")
        for name in _BOXES:
            if self.at.get(f"model.{name}") not in self.draft.lines:
                self.tell(f"model.{name}", "it is off, or another one counts")

    def _decide(self, name: str, kind: str) -> None:
        key = self.at[name]
        if kind in ("sd", "sdxl", "flux", "sd3"):
            self.draft.take(key, "model.kind", kind)
        else:
            unsupported_family(self.draft, key, kind)

    def model(self) -> None:
        if self.get("model.name_or_path") is not None:
            take_base(self.draft, self.at["model.name_or_path"], self.get("model.name_or_path"))
        if self.on("model.is_v_pred") and self.draft.has("model.noise.prediction"):
            self.take("model.is_v_pred", "model.noise.prediction", "v_prediction")
        for part, ours in (("", "memory.base"), ("_te", "memory.text")):
            self._bits(f"model.quantize{part}", f"model.qtype{part}", ours)
        if self.on("model.layer_offloading"):
            share = self.number("model.layer_offloading_transformer_percent")
            asked = 1.0 if share is None else share
            self.take("model.layer_offloading", "memory.offload", asked)

    def _bits(self, switch: str, kind: str, ours: str) -> None:
        if not self.on(switch):
            self.tell(switch, "it is off")
            self.tell(kind, "it is off")
            return
        asked = str(self.get(kind) or "qfloat8").lower().partition("|")[0]
        bits = _BITS.get(asked, "fp8")
        where = kind if self.get(kind) is not None else switch
        told = "" if asked in ("qfloat8", "float8") else f"the nearest to {asked}"
        self.take(where, ours, bits, told)
        self.tell(switch, f"{ours} says how")

    def network(self) -> None:
        word = str(self.get("network.type") or "lora").lower()
        if "network.type" in self.at:
            choose_adapter(self.draft, self.at["network.type"], _TYPES.get(word, word))
        elif not any(name.startswith("network.") for name in self.at) and "train.lr" in self.at:
            whole_model(self.draft, self.at["train.lr"], "the whole model")
        rank = "network.linear" if self.get("network.linear") is not None else "network.rank"
        alpha = "network.linear_alpha" if "network.linear_alpha" in self.at else "network.alpha"
        dim, scale = self.at.get(rank), self.at.get(alpha)
        self._rank(dim, scale, alpha)
        conv = self.number("network.conv")
        flows = self.draft.flows
        if conv and not flows:
            same = conv == self.draft.chosen.get("adapter.rank")
            odd = "" if same else "one rank for all modules here: convolutions have the same"
            self.take("network.conv", "adapter.targets", "linear+conv", odd=odd)
        self._filter()
        self.draft.assume("adapter.targets", "linear", "all linear layers of the blocks there")
        if self.number("network.dropout") and self.draft.has("adapter.dropout"):
            take(self.draft, self.at["network.dropout"], self.get("network.dropout"),
                 Maps("adapter.dropout"))  # fmt: skip

    def _rank(self, dim: Key | None, scale: Key | None, alpha: str) -> None:
        """For transformers ai-toolkit takes the rank for alpha, whatever the file says."""
        draft = self.draft
        rank = draft.leaves.get(dim) if dim is not None else None
        if not draft.flows:
            take_rank(draft, dim, rank, scale, self.get(alpha), missing=1.0)
            return
        if scale is None:
            take_rank(draft, dim, rank, None, None, missing=0.0)
            return
        if dim is not None:
            take(draft, dim, rank, Maps("adapter.rank"))
        width = draft.chosen.get("adapter.rank", 16)
        same = number_or_none(draft.leaves[scale]) == width
        odd = "" if same else "ai-toolkit takes the rank for alpha in transformers; so does this"
        draft.take(scale, "adapter.alpha", float(width), odd=odd)

    def _filter(self) -> None:
        """`only_if_contains` holds pieces of Diffusers' paths, below `transformer.` or `unet.`."""
        name = "network.network_kwargs.only_if_contains"
        pieces = self.get(name)
        if isinstance(pieces, str):
            pieces = [pieces]
        if not isinstance(pieces, list) or not all(isinstance(p, str) for p in pieces):
            return
        bare = [re.sub(r"^(transformer|unet)\.", "", piece) for piece in pieces][:200]
        self.take(name, "adapter.targets", f".*(?:{'|'.join(map(re.escape, bare))}).*")

    def optimizer(self) -> None:
        found = None
        if self.get("train.optimizer") is not None:
            found = choose_optimizer(self.draft, self.at["train.optimizer"],
                                     self.get("train.optimizer"))  # fmt: skip
        prefix = "train.optimizer_params."
        for name, key in self.at.items():
            if name.startswith(prefix):
                take_option(self.draft, key, name[len(prefix) :], self.draft.leaves[key])
        rate = "train.unet_lr" if self.get("train.unet_lr") is not None else "train.lr"
        if self.get(rate) is not None:
            take_rate(self.draft, self.at[rate], self.get(rate), found)
        if rate == "train.unet_lr":
            self.tell("train.lr", "unet_lr decides")
        self._words()
        if self.get("train.lr_scheduler") is not None:
            take_schedule(self.draft, self.at["train.lr_scheduler"], self.get("train.lr_scheduler"))

    def _words(self) -> None:
        if not self.on("train.train_text_encoder"):
            self.tell("train.train_text_encoder", "it is off")
            self.tell("train.text_encoder_lr", "the text encoder does not train")
            return
        self.take("train.train_text_encoder", "text_encoder.train", True)
        rate = self.number("train.text_encoder_lr") or self.number("train.lr")
        where = "train.text_encoder_lr" if "train.text_encoder_lr" in self.at else "train.lr"
        if rate is not None and rate < 0.01 and where in self.at:
            self.take(where, "text_encoder.learning_rate", rate)

    def length(self) -> None:
        if self.get("train.steps") is not None:
            take(self.draft, self.at["train.steps"], self.get("train.steps"),
                 Maps("schedule.steps"))  # fmt: skip
        else:
            self.draft.assume("schedule.steps", 1000, "ai-toolkit trains 1000 steps")
        names = ("train.gradient_accumulation", "train.gradient_accumulation_steps")
        counts = {name: self.number(name) for name in names if self.number(name)}
        for name, count in counts.items():
            if count == max(counts.values(), key=lambda n: n or 0):
                take(self.draft, self.at[name], count, Maps("schedule.accumulate"))
            else:
                self.tell(name, "the other one of its two names decides")
        if self.on("train.ema_config.use_ema"):
            decay = self.number("train.ema_config.ema_decay")
            asked = 0.999 if decay is None else decay
            self.take("train.ema_config.use_ema", "schedule.ema", asked)
            self.tell("train.ema_config.ema_decay", "schedule.ema says how slowly", "mapped")

    def times(self) -> None:
        name = "train.timestep_type"
        if not self.draft.flows:
            self.tell(name, "of flow matching, which this model is not trained by")
            return
        word = str(self.get(name) or "sigmoid").lower()
        known = _TIMES.get(word, ("uniform", 1.0, f"unsupported: {word}; drawn evenly"))
        sampling, shift, odd = known
        if name in self.at:
            self.take(name, "model.flow.sampling", sampling, odd=odd)
            if shift is not None:
                self.take(name, "model.flow.shift", shift, "no shift there")
        else:
            self.draft.assume("model.flow.sampling", sampling, "ai-toolkit's times: sigmoid")
            self.draft.assume("model.flow.shift", shift, "ai-toolkit does not shift these")


IMPORTER = Importer(
    name="ai-toolkit",
    reads="a job in YAML or JSON",
    recognise=_recognise,
    opened=_opened,
    translate=_translate,
    table=TABLE,
)
