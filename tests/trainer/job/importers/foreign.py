"""Settings as other trainers' users would write them; all written for these tests."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

KOHYA_GUI: dict[str, Any] = {
    "LoRA_type": "Standard",
    "pretrained_model_name_or_path": "models/my-sd15",
    "v2": False,
    "sdxl": False,
    "train_data_dir": "img",
    "max_resolution": "512,512",
    "network_dim": "16",
    "network_alpha": 8,
    "conv_dim": 1,
    "learning_rate": 1e-4,
    "unet_lr": "0.0002",
    "text_encoder_lr": 5e-5,
    "optimizer": "AdamW8bit",
    "optimizer_args": 'weight_decay=0.1 betas=0.9,0.99 "eps=1e-8"',
    "lr_scheduler": "cosine",
    "lr_warmup": 10,
    "max_train_steps": 200,
    "max_train_epochs": "",
    "train_batch_size": "2",
    "mixed_precision": "bf16",
    "save_precision": "fp16",
    "min_snr_gamma": 5,
    "noise_offset_type": "Original",
    "noise_offset": 0.05,
    "xformers": "sdpa",
    "seed": 0,
    "bucket_no_upscale": True,
    "caption_extension": ".txt",
    "wandb_api_key": "do-not-show-me",
    "additional_parameters": "--min_snr_gamma 7 --max_grad_norm=0.5 --frobnicate 3",
    "sample_prompts": "a sks dog --n blurry --s 20 --l 6.5 --d 7",
    "output_name": "my dog!",
    "logging_dir": "",
}
SD_SCRIPTS = """
pretrained_model_name_or_path = "models/sdxl"
output_name = "fox"

[network]
network_module = "networks.lora"
network_dim = 32
network_alpha = 16
network_train_unet_only = true

[optimizer]
optimizer_type = "AdamW"
learning_rate = 1e-4
optimizer_args = ["weight_decay=0.05", "betas=(0.9, 0.98)"]
lr_scheduler = "constant_with_warmup"
lr_warmup_steps = 50

[training]
max_train_steps = 500
train_batch_size = 2
resolution = "1024,1024"
mixed_precision = "bf16"
no_half_vae = true
cache_text_encoder_outputs = true
dataset_config = "sets.toml"
"""
SD_SCRIPTS_SETS = """
[general]
shuffle_caption = true
keep_tokens = 2

[[datasets]]
resolution = [832, 1216]
batch_size = 2
enable_bucket = true

  [[datasets.subsets]]
  image_dir = "img/10_sks fox"
  num_repeats = 4
  class_tokens = "sks fox"

  [[datasets.subsets]]
  image_dir = "reg"
  is_reg = true
  class_tokens = "fox"
"""
AI_TOOLKIT = """
job: extension
config:
  name: my_flux
  process:
    - type: sd_trainer
      trigger_word: p3rs0n
      network: {type: lora, linear: 16, linear_alpha: 4}
      save: {dtype: float16, save_every: 250}
      datasets:
        - folder_path: img
          caption_ext: txt
          resolution: [512, 768]
          caption_dropout_rate: 0.05
      train:
        batch_size: 1
        steps: 1000
        lr: 1e-4
        optimizer: adamw8bit
        dtype: bf16
        timestep_type: sigmoid
        noise_offset: 0.1
        ema_config: {use_ema: true, ema_decay: 0.99}
      model:
        name_or_path: black-forest-labs/FLUX.1-dev
        is_flux: true
        quantize: true
      sample:
        prompts: ["[trigger] at the beach", "a dog"]
        neg: "blurry"
        guidance_scale: 4
meta: {name: "[name]", version: "1.0"}
"""
ONETRAINER: dict[str, Any] = {
    "__version": 11,
    "training_method": "LORA",
    "model_type": "STABLE_DIFFUSION_15",
    "base_model_name": "models/my-sd15",
    "learning_rate": 3e-4,
    "batch_size": 4,
    "epochs": 20,
    "resolution": "512",
    "layer_filter_preset": "attn-mlp",
    "unet": {"train": True, "weight_dtype": "FLOAT_8"},
    "text_encoder": {"train": False},
    "optimizer": {"optimizer": "ADAMW", "weight_decay": 0.02, "eps": 1e-8},
    "train_dtype": "BFLOAT_16",
    "loss_weight_fn": "MIN_SNR_GAMMA",
    "loss_weight_strength": 4.0,
    "concepts": [
        {"path": "img/5_sks cat", "balancing": 3.0, "text": {"enable_tag_shuffling": True}},
        {"path": "other"},
    ],
    "secrets": {"huggingface_token": "do-not-show-me"},
}
SIMPLETUNER: dict[str, Any] = {
    "model_family": "sd3",
    "model_type": "lora",
    "pretrained_model_name_or_path": "models/my-sd3",
    "data_backend_config": "config/multidatabackend.json",
    "lora_rank": 16,
    "learning_rate": 1e-4,
    "optimizer": "adamw_bf16",
    "lr_scheduler": "constant_with_warmup",
    "lr_warmup_steps": 100,
    "max_train_steps": 1000,
    "num_train_epochs": 0,
    "train_batch_size": 1,
    "mixed_precision": "bf16",
    "flow_schedule_shift": 3,
    "snr_gamma": 5,
    "base_model_precision": "int8-quanto",
    "validation_prompt": "a dog",
    "report_to": "none",
}
BACKENDS: list[dict[str, Any]] = [
    {
        "id": "mine",
        "type": "local",
        "instance_data_dir": "img",
        "repeats": 4,
        "resolution": 1024,
        "resolution_type": "pixel_area",
        "caption_strategy": "textfile",
    },
    {"id": "text", "type": "local", "dataset_type": "text_embeds", "default": True},
]
HEADER: dict[str, str] = {
    "ss_base_model_version": "sdxl_base_v1-0",
    "ss_network_module": "networks.lora",
    "ss_network_dim": "32",
    "ss_network_alpha": "16.0",
    "ss_network_args": '{"conv_dim": "32", "conv_alpha": "16"}',
    "ss_learning_rate": "0.0001",
    "ss_unet_lr": "0.0001",
    "ss_text_encoder_lr": "None",
    "ss_optimizer": "bitsandbytes.optim.adamw.AdamW8bit(weight_decay=0.1,betas=(0.9, 0.99))",
    "ss_lr_scheduler": "cosine",
    "ss_num_epochs": "10",
    "ss_batch_size_per_device": "2",
    "ss_resolution": "(1024, 1024)",
    "ss_seed": "42",
    "ss_min_snr_gamma": "5.0",
    "ss_dataset_dirs": '{"10_sks dog": {"n_repeats": 10, "img_count": 12}}',
    "ss_tag_frequency": '{"10_sks dog": {"sks dog": 12, "grass": 3}}',
    "modelspec.title": "dog",
    "sshs_model_hash": "0123",
    "ss_new_thing": "7",
}


def header_file(path: Path, header: dict[str, str]) -> Path:
    """A safetensors file that holds a header and nothing else."""
    content = json.dumps({"__metadata__": header}).encode()
    path.write_bytes(struct.pack("<Q", len(content)) + content)
    return path


def write_all(folder: Path) -> dict[str, Path]:
    """Every sort of file, with those that they name beside them."""
    (folder / "kohya.json").write_text(json.dumps(KOHYA_GUI))
    (folder / "train.toml").write_text(SD_SCRIPTS)
    (folder / "sets.toml").write_text(SD_SCRIPTS_SETS)
    (folder / "job.yaml").write_text(AI_TOOLKIT)
    (folder / "onetrainer.json").write_text(json.dumps(ONETRAINER))
    (folder / "config").mkdir(exist_ok=True)
    (folder / "config" / "config.json").write_text(json.dumps(SIMPLETUNER))
    (folder / "config" / "multidatabackend.json").write_text(json.dumps(BACKENDS))
    header_file(folder / "dog.safetensors", HEADER)
    return {
        "kohya_ss": folder / "kohya.json",
        "sd-scripts": folder / "train.toml",
        "datasets": folder / "sets.toml",
        "ai-toolkit": folder / "job.yaml",
        "OneTrainer": folder / "onetrainer.json",
        "SimpleTuner": folder / "config" / "config.json",
        "LoRA": folder / "dog.safetensors",
    }
