"""LoRA files: what sd-scripts writes into their headers (`ss_*`), and those who do the same."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from trainer.job.importers.account import Draft
from trainer.job.importers.base import Importer
from trainer.job.importers.judging import unsupported_family
from trainer.job.importers.kohya import decide, family_of_module
from trainer.job.importers.kohya_args import Args
from trainer.job.importers.kohya_keys import TABLE
from trainer.job.importers.pictures import take_words
from trainer.job.importers.reading import Key, Source
from trainer.job.importers.rules import Decides, Rule, Says, apply, each
from trainer.job.importers.values import is_unset, options, packed

_ALIASES = {
    "batch_size_per_device": "train_batch_size",
    "num_epochs": "max_train_epochs",
    "optimizer": "optimizer_type",
    "sd_model_name": "pretrained_model_name_or_path",
    "debiased_estimation": "debiased_estimation_loss",
    "vae_name": "vae",
}
_VERSIONS = {
    "sd_v1": "sd", "sd_v2": "sd", "sd_1.5": "sd", "sd_2.1": "sd", "sdxl": "sdxl",
    "flux": "flux", "sd3": "sd3",
}  # fmt: skip
_PACKED = ("ss_network_args", "ss_bucket_info", "ss_dataset_dirs", "ss_reg_dataset_dirs",
           "ss_tag_frequency", "ss_datasets", "sweetspot.job")  # fmt: skip
_FACTS = Says("what was measured or made, not what was asked")
_ZERO_IS_UNSET = frozenset({"lr_warmup_steps", "max_train_steps", "max_train_epochs"})
_PICTURES = Says("which pictures it learned from; a header does not hold them")

OWN: dict[str, Rule] = {
    "base_model_version": Decides("model.kind"),
    "dataset_dirs": Decides("dataset.repeats, dataset.trigger, dataset.class_word"),
    **each("dataset_dirs.** reg_dataset_dirs reg_dataset_dirs.** tag_frequency.** tag_frequency "
           "datasets datasets.** num_train_images num_reg_images num_validation_images",
           _PICTURES),
    **each("bucket_info bucket_info.** session_id training_started_at training_finished_at epoch "
           "steps num_batches_per_epoch total_batch_size sd_model_hash new_sd_model_hash vae_hash "
           "new_vae_hash sd_scripts_commit_hash network_type", _FACTS),
    "modelspec.**": Says("Stability's description of a file: Sweetspot writes one from the run"),
    "sshs_*": _FACTS,
    "ssmd_*": _FACTS,
    "format": Says("which library wrote the file"),
    "sweetspot.**": Says("Sweetspot's own, which `sweetspot lora inspect` shows"),
    "lora_adapter_metadata": Says("PEFT's settings, which the tensors tell too"),
    **each("name version software software.** training_info training_info.** __metadata__ "
           "creator creator.** sshs_model_hash ot_config ot_branch ot_revision", Says(
               "another program's description of the file")),
}  # fmt: skip


def _recognise(source: Source) -> bool:
    return source.form == "header"


def _opened(source: Source) -> dict[str, Any]:
    tree = dict(source.tree)
    for name in _PACKED:
        if name in tree:
            tree[name] = packed(tree[name])
    value = tree.get("ss_network_args")
    written = tree.get("ss_optimizer")
    call = re.fullmatch(r"([\w.]+)\((.*)\)", written) if isinstance(written, str) else None
    if call is not None:
        tree["ss_optimizer"] = call[1]
        pairs = options(re.split(r",\s*(?=[A-Za-z_]\w*=)", call[2]) if call[2] else [])
        if pairs:
            tree["ss_optimizer_args"] = pairs
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        tree["ss_network_args"] = options(value)
    return tree


def _translate(draft: Draft) -> None:
    at: dict[str, Key] = {}
    for key, value in draft.leaves.items():
        name = ".".join(_words(key))
        if key[0].startswith("ss_") and (name not in at or not is_unset(value)):
            at[name] = key
    if any(key[0] == "sweetspot.job" and len(key) > 1 for key in draft.leaves):
        _own_job(draft)
        apply(draft, TABLE | OWN, _words)
        return
    args = Args(draft, at, _ZERO_IS_UNSET, whole=False)
    _family(args)
    _folders(draft)
    decide(args)
    apply(draft, TABLE | OWN, _words)


def _own_job(draft: Draft) -> None:
    """A file of our own tells its job, but for what is private."""
    keys = [key for key in draft.leaves if key[0] == "sweetspot.job" and len(key) > 1]
    for key in sorted(keys, key=lambda key: key[-1] != "kind"):
        if is_unset(draft.leaves[key]):
            draft.tell(key, "explained", "the default")
        elif draft.has(".".join(key[1:])):
            draft.take(key, ".".join(key[1:]), draft.leaves[key])
    for key in draft.leaves:
        if key[0].startswith("ss_") and key not in draft.lines:
            draft.tell(key, "explained", "sweetspot.job says what was asked")


def _words(key: Key) -> Iterable[str]:
    if key[0].startswith("ss_"):
        name = key[0][3:]
        return (_ALIASES.get(name, name), *key[1:])
    if key[0].startswith(("modelspec.", "sweetspot.")):
        return tuple(key[0].split(".", 1))
    return key


def _family(args: Args) -> None:
    draft = args.draft
    written = str(args.get("base_model_version") or "").lower()
    kind = next((ours for start, ours in _VERSIONS.items() if written.startswith(start)), "")
    module = family_of_module(args.get("network_module"))
    if kind:
        draft.take(args.key("base_model_version"), "model.kind", kind)
    elif written:
        unsupported_family(draft, args.key("base_model_version"), written)
    elif module in ("flux", "sd3"):
        draft.take(args.key("network_module"), "model.kind", module)
    else:
        draft.assume("model.kind", "sd", "the header does not say the model")
    if args.on("v2"):
        draft.tell(args.key("v2"), "explained", "Stable Diffusion 2")
    elif "v2" in args.at:
        draft.tell(args.key("v2"), "explained", "not Stable Diffusion 2")


def _folders(draft: Draft) -> None:
    """`10_sks dog` tells the words; the folder itself is somewhere else."""
    names = sorted({key[1] for key in draft.leaves if key[0] == "ss_dataset_dirs" and len(key) > 2})
    if len(names) != 1:
        return
    key = ("ss_dataset_dirs", names[0], "n_repeats")
    match = re.fullmatch(r"\d{1,4}_(.+)", names[0])
    if key in draft.leaves and match:
        take_words(draft, key, match[1])


IMPORTER = Importer(
    name="a LoRA file's header",
    reads="safetensors with `ss_*` entries",
    recognise=_recognise,
    opened=_opened,
    translate=_translate,
    table=TABLE | OWN,
    own=OWN,
    place=0,
)
