"""What is not taken for a LoRA file, and what is said of it."""

import json
import pickle
import random

import pytest
import safetensors.torch
import torch

from tests.trainer.weights.tiny_models import about
from trainer.core.errors import AdapterError
from trainer.families.sd import NAMING as SD
from trainer.weights import files, layouts
from trainer.weights.layouts import Weights

Q = "denoiser.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"


@pytest.fixture
def lora(tmp_path):
    path = tmp_path / "lora.safetensors"
    tensors = {f"{Q}.lora_A": torch.ones(4, 64), f"{Q}.lora_B": torch.ones(64, 4)}
    files.export(path, Weights(tensors, {Q: 2.0}), about(), SD)
    return path


def broken(kind, good):
    """Files that are no LoRA, by what is wrong with them."""
    content = good.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    junk = json.dumps({"a": {"dtype": "F32", "shape": ["x"], "data_offsets": [0, 4]}}).encode()
    return {
        "pickle": pickle.dumps({"a": 1}),
        "zipped pickle": b"PK\x03\x04" + b"\x00" * 60,
        "empty": b"",
        "text": b"<html>Not found</html>",
        "cut in header": content[: start // 2],
        "cut in tensors": content[:-100],
        "too long": content + b"\x00" * 8,
        "strange header": len(junk).to_bytes(8, "little") + junk + b"\x00" * 4,
        "broken header": (20).to_bytes(8, "little") + b"{" + b"x" * 19,
        "no lora": safetensors.torch.save({"model.weight": torch.ones(2)}),
        "loha": safetensors.torch.save({"lora_unet_conv_in.hada_w1_a": torch.ones(2, 2)}),
        "mismatched": safetensors.torch.save(
            {"x.lora_down.weight": torch.ones(2, 3), "x.lora_up.weight": torch.ones(3, 4)}
        ),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("pickle", "pickle"),
        ("zipped pickle", "pickle"),
        ("empty", "no safetensors"),
        ("text", "no safetensors"),
        ("cut in header", "inside its header"),
        ("cut in tensors", "should hold"),
        ("too long", "should hold"),
        ("strange header", "not what safetensors writes"),
        ("broken header", "not what safetensors writes"),
        ("no lora", "model.weight"),
        ("loha", "hada_w1_a"),
        ("mismatched", "do not fit together"),
    ],
)
def test_what_is_no_lora_is_told_in_words(lora, tmp_path, kind, said):
    path = tmp_path / "other.safetensors"
    path.write_bytes(broken(kind, lora))
    with pytest.raises(AdapterError, match=said) as caught:
        files.read(path)
    assert caught.value.where == str(path)
    assert caught.value.hint


def test_a_missing_file_is_told_in_words(tmp_path):
    with pytest.raises(AdapterError, match="no such file"):
        files.read(tmp_path / "none.safetensors")


def test_random_damage_never_escapes_as_another_error(tmp_path):
    tensors = layouts.to_kohya(
        Weights({f"{Q}.lora_A": torch.ones(2, 3), f"{Q}.lora_B": torch.ones(3, 2)}, {Q: 1.0}), SD
    )
    good = tmp_path / "good.safetensors"
    files.save(good, tensors, {"ss_v2": "False"}, "fp32")
    content = good.read_bytes()
    draws = random.Random(4)
    for _ in range(600):
        damaged = bytearray(content)
        for _ in range(draws.randint(1, 4)):
            damaged[draws.randrange(len(damaged))] = draws.randrange(256)
        path = tmp_path / "damaged.safetensors"
        path.write_bytes(bytes(damaged))
        try:
            files.read(path).weights(SD)
        except AdapterError:
            continue


def test_an_error_of_weights_names_the_file(tmp_path):
    key = "lora_unet_double_blocks_0_img_attn_qkv"
    tensors = {
        f"{key}.lora_down.weight": torch.ones(2, 3),
        f"{key}.lora_up.weight": torch.ones(3, 2),
    }
    path = tmp_path / "flux.safetensors"
    files.save(path, tensors, {}, "fp32")
    with pytest.raises(AdapterError, match=r"made for FLUX\.1") as caught:
        files.read(path).weights(SD)
    assert caught.value.where == str(path)
