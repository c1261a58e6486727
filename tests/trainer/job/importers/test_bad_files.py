"""Files that are damaged, huge, or made to do harm end in one clear sentence."""

import json
import struct
import time

import pytest

from tests.trainer.job.importers import foreign
from trainer.core.errors import ConfigError
from trainer.job.importers.base import import_config

BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi")  # noqa: B905
)


def refused(path):
    with pytest.raises(ConfigError) as caught:
        import_config(path)
    assert str(path) in str(caught.value)
    assert "Traceback" not in str(caught.value)
    return caught.value.problem


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("cut.json", json.dumps(foreign.KOHYA_GUI)[:200], "not JSON"),
        ("cut.toml", foreign.SD_SCRIPTS[:150] + "=", "not TOML"),
        ("cut.yaml", foreign.AI_TOOLKIT + "\n  - x: [", "not YAML"),
        ("empty.json", "  \n", "empty"),
        ("list.json", "[1, 2, 3]", "none of the trainers"),
        ("number.json", "3", "no settings"),
        ("text.yaml", "just some words", "no settings"),
        ("deep.json", "[" * 100_000, "nested"),
        ("deep.yaml", "[" * 5000, ""),
        ("deep.toml", "x = " + "[" * 5000, ""),
        ("bomb.yaml", BOMB, "refers back"),
        ("self.yaml", "a: &a [*a]\nconfig: {process: [{type: sd_trainer, x: *a}]}", "deep"),
        ("tag.yaml", "a: !!python/object/apply:os.system ['true']", "not YAML"),
        ("key.yaml", "[1, 2]: 3", ""),
        ("date.yaml", "a: 2024-99-99", "not YAML"),
        ("digits.json", '{"a": ' + "9" * 10_000 + "}", "not JSON"),
        ("other.json", '{"a": 1}', "none of the trainers"),
        ("other", "hello: world", "none of the trainers"),
    ],
)
def test_it_is_refused_in_words(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_text(content)
    assert words in refused(path)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.write(b'{"a": "')
        file.truncate(100_000_000)
    began = time.monotonic()
    assert "5 MB" in refused(path)
    assert time.monotonic() - began < 2


def test_too_many_keys_are_refused(tmp_path):
    path = tmp_path / "many.json"
    path.write_text(json.dumps({**foreign.KOHYA_GUI, **{f"k{i}": i for i in range(30_000)}}))
    assert "20,000" in refused(path)


@pytest.mark.parametrize(
    "content", [b"\x89PNG\r\n\x1a\n" + bytes(300), b"PK\x03\x04" + b"\xff" * 99]
)
def test_binary_is_refused(tmp_path, content):
    path = tmp_path / "picture.json"
    path.write_bytes(content)
    assert "not" in refused(path)


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 10**12) + b"{}",
        struct.pack("<Q", 50) + b'{"__metadata__": {',
        struct.pack("<Q", 18) + b'{"__metadata__": 3',
        struct.pack("<Q", 2) + b"{}",
    ],
)
def test_a_damaged_or_silent_header_is_refused(tmp_path, content):
    path = tmp_path / "lora.safetensors"
    path.write_bytes(content)
    refused(path)


def test_a_folder_and_a_missing_file_are_refused(tmp_path):
    refused(tmp_path / "nowhere.json")
    refused(tmp_path)


def test_a_job_that_trains_nothing_is_refused_with_its_kind(tmp_path):
    path = tmp_path / "extract.yaml"
    path.write_text("job: extract\nconfig: {process: [{type: lora, linear: 4}]}")
    assert "trains no LoRA" in refused(path)
