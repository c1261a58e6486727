"""Checks and captionings as processes: found again, stopped, and told of when they cannot go on."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from app.dataset import captioners
from app.dataset.captioning import parse
from app.dataset.work import CaptionWork, CheckWork
from tests.app.dataset.tiny_blip import write_tiny_blip
from trainer.core.errors import ConfigError, RunError


def run(work):
    return subprocess.run(
        [sys.executable, "-m", work.worker, str(work.path)], check=False, capture_output=True
    ).returncode


def test_a_check_finds_damage_and_duplicates(pictures, lens):
    folder = pictures(count=3)
    one, other, third = sorted(folder.glob("*.png"))
    other.write_bytes(one.read_bytes())
    third.write_bytes(third.read_bytes()[:-3000])
    work = CheckWork.of(lens(folder).dataset)
    assert run(work) == 0
    found = list(work.found())
    assert {"group": "same", "names": [one.name, other.name]} in found
    assert [each["damaged"] for each in found if "damaged" in each] == [third.name]
    assert CheckWork.of(lens(folder).dataset).status() == "completed"


def test_another_state_of_the_pictures_is_another_check_and_captions_do_not_count(pictures, lens):
    folder = pictures(count=2)
    config = lens(folder).dataset
    before = CheckWork.of(config)
    next(folder.glob("*.txt")).write_text("other words")
    assert CheckWork.of(config) == before
    next(folder.glob("*.png")).unlink()
    assert CheckWork.of(config) != before


@pytest.mark.slow
def test_blip_describes_pictures_as_a_process_and_damaged_ones_are_told(pictures, tmp_path):
    folder = pictures(count=2, captions=False)
    (folder / "broken.png").write_bytes(b"no picture")
    weights = write_tiny_blip(tmp_path / "blip")
    config = parse({"weights": str(weights), "prefix": "sks, ", "most_tokens": 8})
    names = sorted(path.name for path in folder.glob("*.png"))
    settings = {"captioning": config.model_dump(mode="json"), "device": "cpu"}
    work = CaptionWork.create(folder, names, settings)
    assert run(work) == 0, (work.path / "events.jsonl").read_text()
    results = {each["name"]: each for each in work.found()}
    assert sorted(results) == names
    assert "not a picture" in results["broken.png"]["problem"]
    assert all(r["caption"].startswith("sks") for n, r in results.items() if n != "broken.png")
    assert not list(folder.glob("*.txt"))
    assert CaptionWork.of(folder) == work
    work.take()
    assert CaptionWork.of(folder) is None


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "no model in this folder"),
        ({"config.json": {"model_type": "llava"}}, "'llava'"),
        ({"config.json": {"model_type": "blip"}, "pytorch_model.bin": 0}, "not .safetensors"),
        ({"config.json": {"model_type": "blip"}, "model.safetensors": 0}, "are damaged"),
        ({"model.onnx": 0, "selected_tags.csv": 0}, "onnxruntime"),
    ],
    ids=["empty", "another model", "pickles", "damaged", "a tagger without its package"],
)
def test_weights_that_cannot_be_used_are_told_of_in_one_sentence(tmp_path, files, said):
    if "model.onnx" in files and captioners.importlib.util.find_spec("onnxruntime"):
        pytest.skip("onnxruntime is installed")
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=said) as told:
        parse({"weights": str(tmp_path)})
    assert told.value.where == "weights"


@pytest.mark.parametrize("name", ["..", "../checks/x", "", "nothing"])
def test_only_captionings_are_opened_by_name(name):
    with pytest.raises(RunError):
        CaptionWork.open(name)


def test_tags_are_those_that_the_tagger_is_sure_of():
    tags = [("general", "9"), ("long_hair", "0"), ("^_^", "0"), ("miku", "4"), ("dog", "0")]
    sure = [0.99, 0.5, 0.9, 0.8, 0.2]
    assert captioners.tags_of(sure, tags, 0.35) == "^_^, long hair"
    assert captioners.tags_of([0.9] * 5, tags, 0.35) == "long hair, ^_^, miku, dog"
