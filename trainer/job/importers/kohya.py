"""sd-scripts' arguments, wherever they stand: what several of them decide together.

kohya_ss writes them flat in JSON under names of its own for some, sd-scripts reads them from TOML
in sections, and LoRA files carry them as `ss_*`. Each importer says which key is which argument.
"""

from __future__ import annotations

from typing import Any

from trainer.job.importers.account import Draft
from trainer.job.importers.judging import unsupported_family
from trainer.job.importers.kohya_args import Args
from trainer.job.importers.kohya_flow import decide_flow
from trainer.job.importers.kohya_keys import FLOW_NOISE
from trainer.job.importers.kohya_rates import decide_rates
from trainer.job.importers.methods import choose_adapter, take_rank
from trainer.job.importers.names import take_base, take_name
from trainer.job.importers.pictures import take_folder, take_prior
from trainer.job.importers.prompts import take_prompts
from trainer.job.importers.reading import Key
from trainer.job.importers.rules import Maps, take
from trainer.job.importers.values import UnreadableError, side

MODULES = {
    "networks.lora": "lora",
    "networks.lora_flux": "lora",
    "networks.lora_sd3": "lora",
    "networks.lora_fa": "lora_fa",
    "networks.dylora": "dylora",
    "networks.loha": "loha",
    "networks.lokr": "lokr",
    "networks.oft": "oft",
    "networks.oft_flux": "oft",
}
_OF_FAMILY = {"flux": "flux", "sd3": "sd3", "lumina": "Lumina", "anima": "Anima",
              "hunyuan_image": "HunyuanImage"}  # fmt: skip
_ALGOS = {"locon": "lora", "lora": "lora", "loha": "loha", "lokr": "lokr", "dylora": "dylora",
          "glora": "glora", "ia3": "ia3", "diag-oft": "oft", "boft": "boft",
          "full": "full"}  # fmt: skip
_BLOCKS = {"flux": 57, "sd3": 38}
"""Blocks of FLUX.1, and of the larger SD 3, for the share that is swapped."""


def family_of_module(module: Any) -> str:
    """The family, or the name of a model that is none of ours, that a network module is for."""
    name = str(module).rpartition(".")[2]
    return next((f for mark, f in _OF_FAMILY.items() if name.endswith(mark)), "")


def decide_family(args: Args, kind: str, key: Key | None) -> None:
    """Set the family, from the key that tells it."""
    draft = args.draft
    if kind in ("sd", "sdxl", "flux", "sd3"):
        if key is None:
            draft.assume("model.kind", kind, "the file does not say it; its script did")
        else:
            draft.take(key, "model.kind", kind)
    elif key is not None:
        unsupported_family(draft, key, kind)


def decide(args: Args) -> None:
    """Tell of all arguments that are weighed together."""
    _base(args)
    _network(args)
    _targets(args)
    decide_rates(args)
    if args.draft.flows:
        decide_flow(args)
    _noise(args)
    _memory(args)
    _resolution(args)
    if args.get("train_data_dir") is not None:
        take_folder(args.draft, args.key("train_data_dir"), args.get("train_data_dir"))
    if args.get("reg_data_dir") is not None:
        take_prior(args.draft, args.key("reg_data_dir"), args.get("reg_data_dir"))
    _samples(args)


def _samples(args: Args) -> None:
    if args.get("sample_prompts") is not None:
        take_prompts(args.draft, args.key("sample_prompts"), args.get("sample_prompts"))
    if not args.number("sample_every_n_epochs") and args.number("sample_every_n_steps"):
        for name in ("sample_every_n_epochs", "sample_every_n_steps"):
            if name in args.at:
                told = "samples are rendered after epochs, not after steps: samples.every"
                args.draft.tell(args.key(name), "explained", told)
    if args.get("output_name") is not None:
        take_name(args.draft, args.key("output_name"), args.get("output_name"))


def _base(args: Args) -> None:
    value = args.get("pretrained_model_name_or_path")
    if value is not None:
        take_base(args.draft, args.key("pretrained_model_name_or_path"), value)
    if args.on("v_parameterization"):
        draft, key = args.draft, args.key("v_parameterization")
        if draft.has("model.noise.prediction"):
            odd = ""
            if draft.chosen.get("model.kind") == "sd" and not args.on("v2") and "v2" in args.at:
                odd = "velocity prediction without v2: Stable Diffusion 1 was not made so"
            draft.take(key, "model.noise.prediction", "v_prediction", odd=odd)
        else:
            draft.tell(key, "suspicious", "velocity prediction means nothing for flow matching")
    elif "v_parameterization" in args.at:
        args.draft.tell(
            args.key("v_parameterization"),
            "explained",
            "model.noise.prediction reads it from the model",
        )


def _network(args: Args) -> None:
    draft = args.draft
    module = args.get("network_module")
    if module is not None:
        algo = str(args.get("network_args.algo") or "locon").strip("\"'").lower()
        word = MODULES.get(str(module), "lora")
        if "lycoris" in str(module):
            word = _ALGOS.get(algo, algo)
        if str(module).rpartition(".")[2] == "lora_fa":
            word = "lora_fa"
        choose_adapter(draft, args.key("network_module"), word)
        if args.get("network_args.algo") is not None:
            draft.tell(args.key("network_args.algo"), "explained", f"the method is {word}")
    take_rank(
        draft,
        args.at.get("network_dim"),
        args.get("network_dim"),
        args.at.get("network_alpha"),
        args.get("network_alpha"),
        missing=1.0,
    )
    if args.number("network_dropout") and draft.has("adapter.dropout"):
        args.take("network_dropout", "adapter.dropout")
    elif "network_dropout" in args.at:
        draft.tell(args.key("network_dropout"), "explained", "it is off, or LoRA's alone")


def _targets(args: Args) -> None:
    """Kohya's LoRA is on every linear layer of the blocks; with `conv_dim`, on convolutions too."""
    draft = args.draft
    for name in ("conv_dim", "network_args.conv_dim"):
        if name in args.at:
            _convolutions(args, name)
    for name in ("conv_alpha", "network_args.conv_alpha"):
        if name in args.at:
            draft.tell(args.key(name), "explained", "adapter.alpha counts for convolutions too")
    draft.assume("adapter.targets", "linear", "kohya's LoRA is on every linear layer of the blocks")
    if draft.has("model.double_blocks"):
        for name in ("train_blocks", "network_args.train_blocks"):
            if name in args.at:
                _blocks(args, name)


def _convolutions(args: Args, name: str) -> None:
    draft, rank = args.draft, args.number(name)
    if not rank or not _has_convolutions(draft, args):
        draft.tell(args.key(name), "explained", "the adapter is on linear layers alone")
        return
    same = rank == draft.chosen.get("adapter.rank")
    odd = "" if same else "one rank for all modules here: convolutions have the same"
    draft.take(args.key(name), "adapter.targets", "linear+conv", odd=odd)


def _blocks(args: Args, name: str) -> None:
    word = str(args.get(name) or "all").lower()
    other = {"single": "double", "double": "single"}.get(word)
    if other is None:
        args.draft.tell(args.key(name), "explained", "all blocks carry the adapter")
    else:
        args.draft.take(args.key(name), f"model.{other}_blocks", "none")


def _has_convolutions(draft: Draft, args: Args) -> bool:
    """In kohya_ss the field holds 1 whatever the method; `Standard` does not look at it."""
    written = args.draft.leaves.get(args.at.get("LoRA_type", ()), "locon")
    return "standard" not in str(written).lower() and not draft.flows


def _noise(args: Args) -> None:
    if not args.number("noise_offset"):
        return
    draft, key = args.draft, args.key("noise_offset")
    kind = str(args.get("noise_offset_type") or "original").lower()
    if kind == "multires":
        draft.tell(key, "explained", "noise_offset_type is Multires, so it does nothing there")
    elif not draft.has("model.noise.offset"):
        draft.tell(key, "suspicious", FLOW_NOISE)
    else:
        take(draft, key, args.get("noise_offset"), Maps("model.noise.offset"))


def _memory(args: Args) -> None:
    draft = args.draft
    for name in ("fp8_base", "fp8_base_unet"):
        if args.on(name):
            draft.take(args.key(name), "memory.base", "fp8")
        elif name in args.at:
            draft.tell(args.key(name), "explained", "it is off")
    swapped = args.number("blocks_to_swap")
    blocks = _BLOCKS.get(draft.chosen.get("model.kind", ""))
    if swapped and blocks:
        share = round(min(1.0, swapped / blocks), 3)
        draft.take(args.key("blocks_to_swap"), "memory.offload", share, f"of {blocks} blocks")
    elif "blocks_to_swap" in args.at:
        draft.tell(args.key("blocks_to_swap"), "explained", "it is off, or the family has none")


def _resolution(args: Args) -> None:
    if args.get("resolution") is None:
        return
    key, value = args.key("resolution"), args.get("resolution")
    try:
        asked = side(value)
    except UnreadableError as error:
        args.draft.tell(key, "suspicious", f"not taken over: {error}")
        return
    odd = ""
    if args.draft.chosen.get("model.kind") in ("sdxl", "flux", "sd3") and asked < 512:
        odd = "the model was made for 1024 px"
    args.draft.take(key, "model.resolution", asked, "the square of the same area", odd)
