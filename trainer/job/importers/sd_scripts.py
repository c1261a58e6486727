"""sd-scripts: arguments in TOML, in sections or not, and the TOML of its datasets."""

from __future__ import annotations

from typing import Any

from trainer.job.importers.account import Draft
from trainer.job.importers.base import Importer
from trainer.job.importers.beside import read_beside
from trainer.job.importers.kohya import decide, decide_family, family_of_module
from trainer.job.importers.kohya_args import Args
from trainer.job.importers.kohya_keys import TABLE
from trainer.job.importers.kohya_sets import SETS, is_sets, take_sets
from trainer.job.importers.reading import Key, Source
from trainer.job.importers.rules import Rule, Says, apply
from trainer.job.importers.values import is_unset, options

_MARKS = frozenset(
    [
        "pretrained_model_name_or_path",
        "network_module",
        "network_dim",
        "train_data_dir",
        "optimizer_type",
        "train_batch_size",
        "max_train_epochs",
        "max_train_steps",
        "unet_lr",
        "lr_scheduler",
        "lr_warmup_steps",
        "optimizer_args",
        "resolution",
        "mixed_precision",
        "output_name",
        "dataset_config",
    ]
)
_SECOND = "dataset_config"
_LINES = ("optimizer_args", "network_args", "lr_scheduler_args")
_FLUX_MARKS = ("ae", "guidance_scale", "model_prediction_type")

OWN: dict[str, Rule] = {"metadata.**": Says("the description of a preset")}


def _recognise(source: Source) -> bool:
    tree = source.tree
    if source.form == "header" or not isinstance(tree, dict):
        return False
    if is_sets(tree):
        return True
    return len(_MARKS & {key[-1] for key, _ in _flat(tree)}) >= 2


def _flat(tree: dict[str, Any]) -> list[tuple[Key, Any]]:
    """Arguments, out of their sections."""
    flat: list[tuple[Key, Any]] = []
    for name, value in tree.items():
        if isinstance(value, dict):
            flat += [((name, inner), told) for inner, told in value.items()]
        else:
            flat.append(((name,), value))
    return flat


def _opened(source: Source) -> dict[str, Any]:
    def opened(name: str, value: Any) -> Any:
        if name in _LINES and isinstance(value, str | list) and value:
            if isinstance(value, list) and not all(isinstance(word, str) for word in value):
                return value
            return options(value) or value
        if isinstance(value, dict):
            return {inner: opened(inner, told) for inner, told in value.items()}
        return value

    return {name: opened(name, value) for name, value in source.tree.items()}


def _translate(draft: Draft) -> None:
    at: dict[str, Key] = {}
    sets = [key for key in draft.leaves if key[0] in ("datasets", "general")]
    for key, value in draft.leaves.items():
        name = _name_of(key)
        if name and (name not in at or not is_unset(value)):
            at[name] = key
    args = Args(draft, at, frozenset({"lr_warmup_steps"}))
    _family(args)
    if sets:
        take_sets(draft, ())
    if len(sets) < len(draft.leaves):
        decide(args)
    elif not draft.problems:
        draft.assume("model.kind", "sd", "a file of datasets does not say the model")
    if "dataset_config" in args.at and read_beside(
        draft, args.key("dataset_config"), is_sets, label=_SECOND
    ):
        take_sets(draft, (_SECOND,))
    apply(draft, TABLE | OWN | SETS, _words)


def _name_of(key: Key) -> str:
    """The argument's name: sections are passed over, arguments of arguments are not."""
    if key[0] in ("datasets", "general", "metadata"):
        return ""
    for place, name in enumerate(key):
        if name in _LINES:
            return ".".join(key[place : place + 2])
    return key[-1] if len(key) <= 2 else ""


def _words(key: Key) -> tuple[str, ...]:
    if "datasets" in key[:2] or "general" in key[:2]:
        start = next(i for i, name in enumerate(key) if name in ("datasets", "general"))
        return key[start:]
    if key[0] == "metadata":
        return key
    name = _name_of(key)
    return tuple(name.split(".", 1)) if name else ()


def _family(args: Args) -> None:
    module = args.get("network_module")
    front = str(args.get("model_train_type") or "").lower()
    words = str(args.get("pretrained_model_name_or_path") or "").lower()
    if kind := family_of_module(module):
        decide_family(args, kind, args.key("network_module"))
    elif front and (kind := front.partition("-")[0]) in ("sd", "sdxl", "flux", "sd3"):
        decide_family(args, kind, args.key("model_train_type"))
    elif str(args.get("model_type") or "").lower() == "chroma":
        decide_family(args, "Chroma", args.key("model_type"))
    elif any(args.get(name) is not None for name in _FLUX_MARKS):
        decide_family(args, "flux", None)
    elif args.get("clip_g") is not None:
        decide_family(args, "sd3", None)
    elif "v2" in args.at and args.on("v2"):
        decide_family(args, "sd", args.key("v2"))
    elif args.get("no_half_vae") or "xl" in words or args.on("cache_text_encoder_outputs"):
        decide_family(args, "sdxl", None)
    else:
        decide_family(args, "sd", None)


IMPORTER = Importer(
    name="sd-scripts",
    reads="TOML of its arguments, or of its datasets",
    recognise=_recognise,
    opened=_opened,
    translate=_translate,
    table=TABLE | OWN | SETS,
    place=20,
)
