"""What is in a LoRA file's header, and what is not taken for a LoRA file."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch

from tests.trainer.weights.tiny_models import about, adapted, load
from trainer.core.errors import AdapterError
from trainer.families.sd import NAMING as SD
from trainer.job.config import JobConfig
from trainer.weights import files
from trainer.weights.layouts import Weights
from trainer.weights.metadata import count_tags, public_values, versions

Q = "denoiser.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"


@pytest.fixture
def weights():
    """Two modules, one of them a 3x3 convolution; over 1 MiB in fp32."""
    draws = torch.Generator().manual_seed(2)
    conv = "denoiser.down_blocks.0.resnets.0.conv1"
    tensors = {
        f"{Q}.lora_A": torch.randn(32, 8000, generator=draws),
        f"{Q}.lora_B": torch.randn(320, 32, generator=draws),
        f"{conv}.lora_A": torch.randn(32, 320, 3, 3, generator=draws),
        f"{conv}.lora_B": torch.randn(320, 32, 1, 1, generator=draws),
    }
    return Weights(tensors, {Q: 16.0, conv: 16.0})


@pytest.fixture
def lora(weights, tmp_path):
    path = tmp_path / "lora.safetensors"
    files.export(path, weights, about(), SD, precision="fp32")
    return path


def header(path):
    with safetensors.safe_open(path, "pt") as file:
        return file.metadata()


def data(path):
    content = path.read_bytes()
    return content[8 + int.from_bytes(content[:8], "little") :]


def test_the_header_holds_what_readers_look_for(lora):
    seen = header(lora)
    wanted = {
        "ss_base_model_version": "sd_v1",
        "ss_v2": "False",
        "ss_network_module": "networks.lora",
        "ss_network_dim": "32",
        "ss_network_alpha": "16.0",
        "ss_output_name": "shiro",
        "ss_num_train_images": "10",
        "ss_num_epochs": "10",
        "ss_epoch": "3",
        "ss_steps": "30",
        "ss_learning_rate": "0.0001",
        "ss_resolution": "(512, 512)",
        "ss_seed": "11",
        "ss_training_started_at": "1760000000.5",
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "stable-diffusion-v1/lora",
        "modelspec.implementation": "diffusers",
        "modelspec.title": "shiro",
        "modelspec.resolution": "512x512",
        "modelspec.date": "2025-10-09T09:08:20+00:00",
        "modelspec.trigger_phrase": "sks",
        "modelspec.prediction_type": "epsilon",
        "sweetspot.trigger": "sks",
        "sweetspot.base_hash": "ab" * 32,
        "sweetspot.images": "5",
        "sweetspot.captions": "4",
    }
    assert {key: seen.get(key) for key in wanted} == wanted
    assert {f"sweetspot.version.{name}" for name in versions()} <= seen.keys()


def test_what_a1111_reads_as_tables_are_tables(lora):
    seen = header(lora)
    tables = {
        key: json.loads(seen[key])
        for key in ("ss_tag_frequency", "ss_dataset_dirs", "ss_bucket_info", "ss_network_args")
    }
    assert tables == {
        "ss_tag_frequency": {"shiro": {"a dog": 4, "wiese, grün": 1}},
        "ss_dataset_dirs": {"shiro": {"n_repeats": 2, "img_count": 5}},
        "ss_bucket_info": {
            "buckets": {
                "0": {"resolution": [512, 512], "count": 3},
                "1": {"resolution": [448, 576], "count": 2},
            }
        },
        "ss_network_args": {"conv_dim": "32", "conv_alpha": "16.0"},
    }


def test_hashes_are_those_of_the_tensors(lora):
    seen = header(lora)
    digest = hashlib.sha256(data(lora)).hexdigest()
    assert seen["sshs_model_hash"] == digest
    assert seen["modelspec.hash_sha256"] == f"0x{digest}"


def test_the_legacy_hash_is_of_a_file_with_training_entries_only(lora):
    seen = header(lora)
    known = {key: value for key, value in seen.items() if key.startswith("ss_")}
    bare = safetensors.torch.save(safetensors.torch.load_file(lora), known)
    assert len(bare) > 0x110000
    assert seen["sshs_legacy_hash"] == hashlib.sha256(bare[0x100000:0x110000]).hexdigest()[:8]


def test_a_small_file_has_the_legacy_hash_of_nothing(tmp_path):
    path = tmp_path / "small.safetensors"
    files.save(path, {"x.lora_down.weight": torch.ones(2, 2)}, {}, "fp32")
    assert header(path)["sshs_legacy_hash"] == "e3b0c442"


def test_equal_weights_make_equal_files(lora, weights, tmp_path):
    again = tmp_path / "again.safetensors"
    files.export(again, weights, about(), SD, precision="fp32")
    assert again.read_bytes() == lora.read_bytes()


def test_kohya_s_layout_has_no_diffusers_entry_and_diffusers_has(lora, weights, tmp_path):
    other = tmp_path / "other.safetensors"
    files.export(other, weights, about(), SD, layout="diffusers")
    assert "lora_adapter_metadata" not in header(lora)
    told = json.loads(header(other)["lora_adapter_metadata"])
    assert (told["unet.r"], told["unet.lora_alpha"]) == (32, 32)


@pytest.mark.parametrize(
    ("precision", "name"), [("fp16", "F16"), ("bf16", "BF16"), ("fp32", "F32")]
)
def test_weights_take_the_precision_and_alpha_stays_fp32(weights, tmp_path, precision, name):
    path = tmp_path / "lora.safetensors"
    files.export(path, weights, about(), SD, precision=precision)
    formats = files.read(path).formats
    assert {f for key, f in formats.items() if not key.endswith(".alpha")} == {name}
    assert {f for key, f in formats.items() if key.endswith(".alpha")} == {"F32"}


def test_fp16_is_refused_for_values_that_it_cannot_hold(weights, tmp_path):
    weights.tensors[f"{Q}.lora_B"][0, 0] = 70000.0
    path = tmp_path / "lora.safetensors"
    with pytest.raises(AdapterError, match=r"attn1_to_q.lora_up.weight.*7e\+04.*fp16"):
        files.export(path, weights, about(), SD, precision="fp16")
    assert list(tmp_path.iterdir()) == []
    files.export(path, weights, about(), SD, precision="bf16")


def test_nan_is_never_written(weights, tmp_path):
    weights.tensors[f"{Q}.lora_B"][0, 0] = torch.nan
    with pytest.raises(AdapterError, match="NaN"):
        files.export(tmp_path / "lora.safetensors", weights, about(), SD)


def test_reading_the_header_leaves_tensors_on_disk(lora):
    seen = files.read(lora)
    assert seen.layout == "kohya"
    assert set(seen.ranks.values()) == {32}
    assert seen.unread == []
    assert seen.metadata["ss_output_name"] == "shiro"
    assert seen.weights(SD).alphas == {Q: 16.0, "denoiser.down_blocks.0.resnets.0.conv1": 16.0}


def test_private_settings_and_paths_never_reach_the_header(weights, tmp_path):
    home, here = Path.home(), Path.cwd()
    secret = "my-secret-folder"
    job = JobConfig.model_validate(
        {
            "model": {"base": str(home / secret)},
            "dataset": {"folder": home / secret, "trigger": "sks"},
            "prior": {"folder": here / secret},
            "validation": {"folder": here / secret},
            "runs": home / secret / "runs",
            "cache": here / secret,
            "samples": {"prompts": [secret], "negative": secret},
        }
    )
    path = tmp_path / "lora.safetensors"
    files.export(path, weights, about(job=public_values(job)), SD)
    text = " ".join(f"{key}={value}" for key, value in header(path).items())
    names = [secret, os.environ.get("USER"), os.environ.get("LOGNAME"), home.name, here.parent.name]
    private = [str(home), str(here), home.as_posix(), str(tmp_path), secret]
    private += [name for name in names if name and len(name) > 4]
    assert [word for word in private if len(word) > 1 and word in text] == []


def test_the_public_job_keeps_the_rest():
    seen = public_values(JobConfig.model_validate({"dataset": {"folder": "x", "trigger": "sks"}}))
    assert seen["dataset"]["trigger"] == "sks"
    assert seen["adapter"] == {
        "kind": "lora",
        "rank": 16,
        "alpha": 16.0,
        "targets": "attention",
        "dropout": 0.0,
    }
    assert seen["model"]["resolution"] == 512
    assert "folder" not in seen["dataset"]
    assert "base" not in seen["model"]
    json.dumps(seen)


def test_tags_are_counted_as_sd_scripts_does():
    assert count_tags(["A dog, grass", "a dog,, sky", ""]) == {"a dog": 2, "grass": 1, "sky": 1}


def test_reading_a_header_needs_no_torch(lora):
    code = (
        "import sys; from pathlib import Path; from trainer.weights import files, inspect\n"
        f"files.read(Path({str(lora)!r})); print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_the_family_s_own_entries_are_written(folder, tmp_path):
    model = load(folder)
    adapter = adapted(model, targets="attention")
    path = tmp_path / "lora.safetensors"
    weights = Weights(adapter.state(), adapter.alphas())
    files.export(path, weights, about(modelspec=model.modelspec), SD)
    seen = header(path)
    assert {key: seen[key] for key in model.modelspec} == model.modelspec
