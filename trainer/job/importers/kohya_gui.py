"""kohya_ss: one flat table in JSON, as its web form saves it."""

from __future__ import annotations

from typing import Any

from trainer.job.importers.account import Draft
from trainer.job.importers.base import Importer
from trainer.job.importers.judging import unsupported_family, whole_model
from trainer.job.importers.kohya import decide
from trainer.job.importers.kohya_args import Args
from trainer.job.importers.kohya_keys import TABLE
from trainer.job.importers.methods import choose_adapter, take_warmup
from trainer.job.importers.reading import Key, Source
from trainer.job.importers.rules import Decides, Maps, Rule, Says, apply, each, number_or_none
from trainer.job.importers.values import is_unset, options, switches

_MARKS = {"LoRA_type", "train_data_dir", "max_resolution", "lr_warmup", "cache_latents",
          "additional_parameters", "bucket_no_upscale", "sdxl"}  # fmt: skip
_ALIASES = {
    "optimizer": "optimizer_type",
    "max_resolution": "resolution",
    "flux1_clip_l": "clip_l",
    "sd3_clip_l": "clip_l",
    "flux1_t5xxl": "t5xxl",
    "sd3_t5xxl": "t5xxl",
    "sdxl_no_half_vae": "no_half_vae",
    "sdxl_cache_text_encoder_outputs": "cache_text_encoder_outputs",
    "flux1_cache_text_encoder_outputs": "cache_text_encoder_outputs",
    "sd3_cache_text_encoder_outputs": "cache_text_encoder_outputs",
    "flux1_cache_text_encoder_outputs_to_disk": "cache_text_encoder_outputs_to_disk",
    "sd3_cache_text_encoder_outputs_to_disk": "cache_text_encoder_outputs_to_disk",
    "sd3_text_encoder_batch_size": "text_encoder_batch_size",
    "sd3_disable_mmap_load_safetensors": "disable_mmap_load_safetensors",
    "sd3_enable_scaled_pos_embed": "enable_scaled_pos_embed",
    "sd3_clip_l_dropout_rate": "clip_l_dropout_rate",
    "sd3_t5_dropout_rate": "t5_dropout_rate",
    "stop_text_encoder_training_pct": "stop_text_encoder_training",
    "lora_network_weights": "network_weights",
    "batch_size": "train_batch_size",
    "image_folder": "train_data_dir",
    "learning_rate_te": "text_encoder_lr",
    "learning_rate_te1": "text_encoder_lr",
}
_ZERO_IS_UNSET = frozenset(
    [
        "seed",
        "max_train_steps",
        "max_train_epochs",
        "unet_lr",
        "text_encoder_lr",
        "t5xxl_lr",
        "lr_warmup",
        "lr_warmup_steps",
        "resolution",
        "sample_every_n_epochs",
    ]
)
_TYPES = {
    "standard": "lora",
    "kohya locon": "lora",
    "locon": "lora",
    "lycoris/locon": "lora",
    "flux1": "lora",
    "sd3": "lora",
    "lora-fa": "lora_fa",
    "kohya dylora": "dylora",
    "lycoris/dylora": "dylora",
    "kohya loha": "loha",
    "lycoris/loha": "loha",
    "kohya lokr": "lokr",
    "lycoris/lokr": "lokr",
    "lycoris/glora": "glora",
    "lycoris/ia3": "ia3",
    "lycoris/diag-oft": "oft",
    "lycoris/boft": "boft",
    "flux1 oft": "oft",
    "lycoris/native fine-tuning": "full",
}
_BOXES = {
    "flux1_checkbox": "flux",
    "sd3_checkbox": "sd3",
    "hunyuan_image_checkbox": "HunyuanImage 2.1",
    "anima_checkbox": "Anima",
    "lumina_checkbox": "Lumina",
    "sdxl": "sdxl",
    "sdxl_checkbox": "sdxl",
}
_OTHER_MODELS = ("anima_", "hunyuan_", "lumina_")
_OTHER_MODEL = Says("of a model that Sweetspot does not train")
_TUNES = Says("of kohya_ss' other trainings, of whole models and of words")

OWN: dict[str, Rule] = {
    "LoRA_type": Decides("adapter.kind", "LyCORIS' kinds and others"),
    "epoch": Decides("schedule.epochs", "where neither epochs nor steps are set",
                     idle="max_train_epochs or max_train_steps decides"),
    "lr_warmup": Decides("schedule.warmup", "percent of the run", idle="lr_warmup_steps decides"),
    **each("model_list save_as_bool file_path", Says("what the form shows, not what is trained")),
    "seed": Maps("schedule.seed", zero="0 is a seed drawn at random"),
    "LyCORIS_preset": Says("of LyCORIS' other methods"),
    **each("conv_dims conv_alphas", Says("unsupported: a rank for each size of convolution")),
    "use_wandb": Says("logging: a run tells everything in events.jsonl in its folder"),
    **each("learning_rate_te2 train_text_encoder full_path create_buckets create_caption "
           "caption_metadata_filename latent_metadata_filename train_dir "
           "use_latent_files generate_caption_database generate_image_buckets", _TUNES),
    "additional_parameters": Says("no further arguments"),
}  # fmt: skip


def _recognise(source: Source) -> bool:
    tree = source.tree
    return isinstance(tree, dict) and ("LoRA_type" in tree or len(_MARKS & tree.keys()) >= 3)


def _opened(source: Source) -> dict[str, Any]:
    tree = dict(source.tree)
    for name, opens in (("additional_parameters", switches), ("optimizer_args", options)):
        value = tree.get(name)
        if isinstance(value, str) and value.strip():
            tree[name] = opens(value) or value
    return tree


def _translate(draft: Draft) -> None:
    at: dict[str, Key] = {}
    for key, value in draft.leaves.items():
        name = _name_of(key)
        if name and (name not in at or not is_unset(value)):
            at[name] = key
    args = Args(draft, at, _ZERO_IS_UNSET)
    _more_arguments(draft, at)
    _family(args)
    _type(args)
    decide(args)
    _warmup(args)
    apply(draft, TABLE | OWN, _words)


def _words(key: Key) -> tuple[str, ...]:
    name = _name_of(key)
    return (name.split(".", 1)[0], *name.split(".", 1)[1:]) if name else ()


def _name_of(key: Key) -> str:
    """sd-scripts' name of a key."""
    if key[0] == "additional_parameters" and len(key) > 1:
        return _ALIASES.get(key[1], key[1]) if len(key) == 2 else ""
    if len(key) == 2 and key[0] in ("optimizer_args", "network_args"):
        return ".".join(key)
    if len(key) > 1:
        return ""
    if key[0].startswith(_OTHER_MODELS) and key[0] not in _BOXES:
        return "byt5"
    return _ALIASES.get(key[0], key[0])


def _more_arguments(draft: Draft, at: dict[str, Key]) -> None:
    """What stands in additional_parameters has the last word, as on sd-scripts' command line."""
    for key in draft.leaves:
        if key[0] != "additional_parameters" or len(key) != 2:
            continue
        name = _name_of(key)
        for other in draft.leaves:
            if other[0] != "additional_parameters" and _name_of(other) == name:
                draft.tell(other, "explained", "additional_parameters has the last word")
        at[name] = key


def _family(args: Args) -> None:
    draft, found = args.draft, ""
    for box, kind in _BOXES.items():
        key = (box,)
        if key not in draft.leaves:
            continue
        if args.on(box) and not found:
            found = kind
            if kind in ("sdxl", "flux", "sd3"):
                draft.take(key, "model.kind", kind)
            else:
                unsupported_family(draft, key, kind)
        else:
            draft.tell(key, "explained", "it is off" if not args.on(box) else f"{found} is on")
    if not found:
        key = ("v2",)
        if key in draft.leaves:
            draft.take(key, "model.kind", "sd", f"Stable Diffusion {2 if args.on('v2') else 1}")
        else:
            draft.assume("model.kind", "sd", "no other model is ticked")
    elif ("v2",) in draft.leaves:
        draft.tell(("v2",), "explained", f"the model is {found}")


def _type(args: Args) -> None:
    draft, key = args.draft, ("LoRA_type",)
    if key not in draft.leaves:
        what = "words" if ("token_string",) in draft.leaves else "the whole model"
        marks = ("token_string", "learning_rate_te", "train_text_encoder", "learning_rate")
        mark = next(((name,) for name in marks if (name,) in draft.leaves), None)
        if mark is not None:
            whole_model(draft, mark, what)
        return
    written = str(draft.leaves[key]).lower()
    word = _TYPES.get(written)
    if word is None:
        draft.tell(key, "explained", f"unsupported: {written!r}; a plain LoRA is trained instead")
    else:
        choose_adapter(draft, key, word)
    if word in ("loha", "lokr") and (number_or_none(draft.leaves.get(("network_dim",))) or 0) > 32:
        draft.tell(
            ("network_dim",),
            "suspicious",
            f"a {written.rpartition('/')[2]} of this rank holds its square as a LoRA's rank",
        )


def _warmup(args: Args) -> None:
    """The form's warm-up is in percent; one in steps goes before it."""
    draft = args.draft
    percent = args.number("lr_warmup")
    if percent is None or args.get("lr_warmup_steps") is not None:
        return
    word = str(args.get("lr_scheduler") or "constant").lower()
    draft.drop("schedule.warmup")
    take_warmup(draft, args.key("lr_warmup"), min(percent / 100, 0.99), schedule=word)


IMPORTER = Importer(
    name="kohya_ss",
    reads="JSON that its web form saves",
    recognise=_recognise,
    opened=_opened,
    translate=_translate,
    table=TABLE | OWN,
    own=OWN,
)
