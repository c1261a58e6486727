"""What the header of a LoRA file says: how it was made, in the words each reader knows.

`ss_*` are sd-scripts' entries, by which A1111 and Forge file a LoRA; `modelspec.*` is
Stability's standard; `sweetspot.*` is ours. Every value is text. No path, user name or
private setting is ever written.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata as packages
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.core.schema import Config, Knob

if TYPE_CHECKING:
    from trainer.weights.layouts import Weights

_TOLD_VERSIONS = ("torch", "diffusers", "peft", "transformers")


@dataclass(frozen=True, slots=True)
class About:
    """Where a LoRA comes from.

    Attributes:
        name: Output name, shown by readers as the LoRA's own.
        epoch: Epochs done, of `epochs`.
        step: Optimizer steps done, of `steps`.
        started: When the run started, Unix time.
        saved: When this file is made, Unix time.
        modelspec: `LoadedModel.modelspec`.
        base_hash: Hash of the base model's denoiser.
        resolution: Side of the square of the training size, px.
        trigger: Trigger word, or empty.
        images: Pictures in the dataset.
        shown: Pictures shown in an epoch, repeats counted.
        captions: Pictures that have a caption of their own.
        tags: How many captions hold each tag; see `count_tags`.
        buckets: How many pictures train at each `(width, height)`, px.
        learning_rate: Peak rate of the denoiser's adapter.
        text_learning_rate: The same of the text encoder's; None when it does not train.
        job: `public_values` of the job.
    """

    name: str
    epoch: int
    epochs: int
    step: int
    steps: int
    seed: int
    started: float
    saved: float
    modelspec: Mapping[str, str]
    base_hash: str
    resolution: int
    trigger: str
    images: int
    shown: int
    captions: int
    tags: Mapping[str, int]
    buckets: Mapping[tuple[int, int], int]
    learning_rate: float
    text_learning_rate: float | None
    job: Mapping[str, Any]


def describe(about: About, weights: Weights) -> dict[str, str]:
    """All header entries, but for hashes, which `files.save` adds."""
    entries = {
        **_network(weights),
        **_training(about),
        **_dataset(about),
        **_modelspec(about),
        **_own(about),
        **about.modelspec,
    }
    return {key: str(value) for key, value in entries.items()}


def public_values(config: Config) -> dict[str, Any]:
    """The settings as plain values, without those that are private or paths."""
    values: dict[str, Any] = {}
    for name, info in type(config).model_fields.items():
        value = getattr(config, name)
        private = any(isinstance(mark, Knob) and mark.private for mark in info.metadata)
        if private or isinstance(value, Path):
            continue
        values[name] = public_values(value) if isinstance(value, Config) else value
    return values


def count_tags(captions: Iterable[str]) -> dict[str, int]:
    """How many captions hold each comma-separated tag, as sd-scripts counts them."""
    tags = (tag.strip().lower() for caption in captions for tag in caption.split(","))
    return dict(Counter(tag for tag in tags if tag).most_common())


def versions() -> dict[str, str]:
    """Versions of Sweetspot and of the libraries that decide what a file holds."""
    return {name: _version(name) for name in ("sweetspot", *_TOLD_VERSIONS)}


def _version(name: str) -> str:
    try:
        return packages.version(name)
    except packages.PackageNotFoundError:
        return "source"


def _network(weights: Weights) -> dict[str, Any]:
    entries: dict[str, Any] = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": weights.rank,
        "ss_network_alpha": weights.alpha,
    }
    if any(a.ndim == 4 and a.shape[2:] != (1, 1) for _, a, _, _ in weights):
        convs = {"conv_dim": str(weights.rank), "conv_alpha": str(weights.alpha)}
        entries["ss_network_args"] = json.dumps(convs)
    return entries


def _training(about: About) -> dict[str, Any]:
    return {
        "ss_output_name": about.name,
        "ss_training_started_at": about.started,
        "ss_training_finished_at": about.saved,
        "ss_epoch": about.epoch,
        "ss_num_epochs": about.epochs,
        "ss_steps": about.step,
        "ss_max_train_steps": about.steps,
        "ss_learning_rate": about.learning_rate,
        "ss_unet_lr": about.learning_rate,
        "ss_text_encoder_lr": about.text_learning_rate,
        "ss_seed": about.seed,
    }


def _dataset(about: About) -> dict[str, Any]:
    """The dataset goes by the LoRA's name: its folder's own could tell a user's name."""
    repeats = max(1, round(about.shown / about.images)) if about.images else 1
    buckets = {
        str(index): {"resolution": list(size), "count": count}
        for index, (size, count) in enumerate(about.buckets.items())
    }
    folders = {about.name: {"n_repeats": repeats, "img_count": about.images}}
    return {
        "ss_num_train_images": about.shown,
        "ss_num_reg_images": 0,
        "ss_resolution": (about.resolution, about.resolution),
        "ss_enable_bucket": bool(about.buckets),
        "ss_bucket_info": json.dumps({"buckets": buckets}),
        "ss_dataset_dirs": json.dumps(folders),
        "ss_tag_frequency": json.dumps({about.name: dict(about.tags)}, ensure_ascii=False),
    }


def _modelspec(about: About) -> dict[str, Any]:
    entries = {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.title": about.name,
        "modelspec.resolution": f"{about.resolution}x{about.resolution}",
        "modelspec.date": datetime.fromtimestamp(int(about.saved), UTC).isoformat(),
        "modelspec.implementation_version": f"sweetspot/{_version('sweetspot')}",
    }
    if about.trigger:
        entries["modelspec.trigger_phrase"] = about.trigger
    return entries


def _own(about: About) -> dict[str, Any]:
    return {
        **{f"sweetspot.version.{name}": version for name, version in versions().items()},
        "sweetspot.job": json.dumps(about.job, sort_keys=True, ensure_ascii=False),
        "sweetspot.trigger": about.trigger,
        "sweetspot.base_hash": about.base_hash,
        "sweetspot.images": about.images,
        "sweetspot.captions": about.captions,
        "sweetspot.epoch": about.epoch,
        "sweetspot.step": about.step,
    }
