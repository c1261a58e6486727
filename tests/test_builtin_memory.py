"""The memory that a preset's card has is enough for the published model, by the memory model."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace

import pytest

from app import library
from trainer.core.device import Plan
from trainer.engine.memory import GIB, fitted, phases
from trainer.families.base import families
from trainer.families.single.published import clip_tokenizer, published
from trainer.job.layers import Layer, preset_layer, settle

PUBLISHED = {"sd": "sd1", "sdxl": "sdxl", "flux": "flux-dev"}
PRESETS = [
    entry.preset
    for entry in library.entries([])
    if entry.shelf == library.SHIPPED
    and entry.preset.family in PUBLISHED
    and not entry.preset.name.endswith("-demo")
]


@pytest.fixture(scope="module")
def settings_alone(tmp_path_factory):
    """Folders of the published models without weights: what a plan is made of."""
    root = tmp_path_factory.mktemp("published")
    return {kind: write(root / kind, kind) for kind in PUBLISHED}


def write(folder, kind):
    family, told = families[kind], published(PUBLISHED[kind])
    index = {"_class_name": family.pipeline}
    for name, (first, *_) in family.parts.items():
        library_name, _, cls = first.partition(".")
        index[name] = [library_name, cls]
        place = folder / name
        place.mkdir(parents=True)
        if name.startswith("tokenizer"):
            made = t5_tokenizer() if "T5" in cls else clip_tokenizer(told[name])
            made.save_pretrained(place)
        else:
            (place / "config.json").write_text(json.dumps(dict(told[name])), encoding="utf-8")
    scheduler = dict(told["scheduler"])
    index["scheduler"] = ["diffusers", scheduler["_class_name"]]
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(
        json.dumps(scheduler), encoding="utf-8"
    )
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def t5_tokenizer():
    """As many tokens as T5 has."""
    tokenizers = importlib.import_module("transformers")
    words = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    words += [(f"word{number}", -9.0) for number in range(32128 - len(words))]
    return tokenizers.T5TokenizerFast(vocab=words, extra_ids=0)


_OUTLINES = {}


def outline_of(job):
    """Measured once for jobs of the same model and layers."""
    model = job.model
    key = (model.kind, model.resolution, getattr(model, "max_tokens", 0), job.adapter.targets)
    if key not in _OUTLINES:
        _OUTLINES[key] = job.model.outline(job.adapter.targets)
    return _OUTLINES[key]


@pytest.mark.parametrize("preset", PRESETS, ids=lambda p: p.name)
def test_the_published_model_fits_the_card(preset, settings_alone):
    own = {
        "model": {"base": str(settings_alone[preset.family])},
        "dataset": {"folder": ".", "class_word": "fox"},
    }
    job = settle([preset_layer(preset), Layer("test", own)]).job
    target = job.memory.target_gib * GIB
    outline = outline_of(job)
    plan = fitted(job, replace(Plan("cuda", "bf16"), thrift=job.memory.thrift), outline, target)
    peak = phases(job, plan, outline).peak
    card = int(preset.name.rsplit("-", maxsplit=1)[1].removesuffix("gb"))
    assert peak <= target < card * GIB
