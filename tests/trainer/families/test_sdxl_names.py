"""The names of SDXL LoRA files, with Diffusers' own conversion as judge."""

import functools
import re

import pytest
import torch
from diffusers import StableDiffusionXLPipeline

from trainer.core.errors import AdapterError
from trainer.families.sdxl import NAMING, SdxlConfig
from trainer.families.unet import Unet
from trainer.weights import layouts
from trainer.weights.layouts import Weights

DOWN, MID, UP = "denoiser.down_blocks", "denoiser.mid_block", "denoiser.up_blocks"
BLOCK = "transformer_blocks.0"
KNOWN = [
    (f"{DOWN}.1.attentions.0.{BLOCK}.attn1.to_q", f"input_blocks_4_1_{BLOCK}_attn1_to_q"),
    (f"{DOWN}.2.attentions.1.{BLOCK}.attn2.to_out.0", f"input_blocks_8_1_{BLOCK}_attn2_to_out_0"),
    (f"{DOWN}.0.resnets.0.conv1", "input_blocks_1_0_in_layers_2"),
    (f"{DOWN}.0.resnets.1.time_emb_proj", "input_blocks_2_0_emb_layers_1"),
    (f"{DOWN}.1.resnets.0.conv_shortcut", "input_blocks_4_0_skip_connection"),
    (f"{DOWN}.0.downsamplers.0.conv", "input_blocks_3_0_op"),
    (f"{MID}.attentions.0.{BLOCK}.ff.net.0.proj", f"middle_block_1_{BLOCK}_ff_net_0_proj"),
    (f"{MID}.resnets.1.conv2", "middle_block_2_out_layers_3"),
    (f"{UP}.0.attentions.0.{BLOCK}.attn1.to_v", f"output_blocks_0_1_{BLOCK}_attn1_to_v"),
    (f"{UP}.1.attentions.2.proj_in", "output_blocks_5_1_proj_in"),
    (f"{UP}.0.upsamplers.0.conv", "output_blocks_2_2_conv"),
    (f"{UP}.2.resnets.2.conv1", "output_blocks_8_0_in_layers_2"),
    ("denoiser.conv_in", "input_blocks_0_0"),
    ("denoiser.conv_out", "out_2"),
    ("denoiser.time_embedding.linear_1", "time_embed_0"),
    ("denoiser.add_embedding.linear_2", "label_emb_0_2"),
]
TEXTS = [
    (
        "text_encoder.encoder.layers.9.self_attn.q_proj",
        "lora_te1_text_model_encoder_layers_9_self_attn_q_proj",
        "text_encoder.text_model.encoder.layers.9.self_attn.q_proj",
    ),
    (
        "text_encoder_2.text_model.encoder.layers.31.mlp.fc1",
        "lora_te2_text_model_encoder_layers_31_mlp_fc1",
        "text_encoder_2.text_model.encoder.layers.31.mlp.fc1",
    ),
    (
        "text_encoder_2.text_projection",
        "lora_te2_text_projection",
        "text_encoder_2.text_projection",
    ),
]


def one(name, *, rank=2, alpha=1.0):
    tensors = {f"{name}.lora_A": torch.ones(rank, 3), f"{name}.lora_B": torch.ones(5, rank)}
    return Weights(tensors, {name: alpha})


def pair(key):
    """A module of kohya's layout, without alpha."""
    return {f"{key}.lora_down.weight": torch.ones(2, 3), f"{key}.lora_up.weight": torch.ones(5, 2)}


@pytest.mark.parametrize(("ours", "theirs"), KNOWN)
def test_kohya_s_names_of_the_unet_are_those_of_stability_s_code(ours, theirs):
    key = "lora_unet_" + theirs.replace(".", "_")
    assert next(iter(layouts.to_kohya(one(ours), NAMING))) == f"{key}.lora_down.weight"
    assert list(layouts.from_kohya(layouts.to_kohya(one(ours), NAMING), NAMING).alphas) == [ours]


@pytest.mark.parametrize(("ours", "kohya", "diffusers"), TEXTS)
def test_names_of_text_encoders_are_those_that_readers_know(ours, kohya, diffusers):
    assert next(iter(layouts.to_kohya(one(ours), NAMING))) == f"{kohya}.lora_down.weight"
    assert next(iter(layouts.to_diffusers(one(ours), NAMING))) == f"{diffusers}.lora_A.weight"
    for way in ("kohya", "diffusers"):
        written = getattr(layouts, f"to_{way}")(one(ours), NAMING)
        assert list(getattr(layouts, f"from_{way}")(written, NAMING).alphas) == [ours]


def test_the_unet_keeps_its_own_names_in_the_diffusers_layout():
    for ours, _ in KNOWN:
        (name, _) = layouts.to_diffusers(one(ours), NAMING)
        assert name == ours.replace("denoiser", "unet", 1) + ".lora_A.weight"


@pytest.mark.parametrize(("ours", "_"), KNOWN)
def test_kohya_like_files_with_diffusers_names_are_read_too(ours, _):
    key = ours.replace("denoiser.", "lora_unet_", 1).replace(".", "_")
    tensors = {
        f"{key}.lora_down.weight": torch.ones(2, 3),
        f"{key}.lora_up.weight": torch.ones(5, 2),
    }
    assert list(layouts.from_kohya(tensors, NAMING).alphas) == [ours]


@functools.cache
def real_names(targets="linear+conv"):
    """Our names of what SDXL's real UNet and text encoders can adapt; no weights are made."""
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    with torch.device("meta"):
        unet = UNet2DConditionModel(
            sample_size=128,
            block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(5, 10, 20),
            cross_attention_dim=2048,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        )
        texts = {
            "text_encoder": CLIPTextModel(CLIPTextConfig(num_hidden_layers=12)),
            "text_encoder_2": CLIPTextModelWithProjection(CLIPTextConfig(num_hidden_layers=32)),
        }
    names = [f"denoiser.{p}" for p in matching(unet, Unet.targets[targets])]
    patterns = SdxlConfig.text_targets(texts)
    for part, network in texts.items():
        names += [f"{part}.{path}" for path in matching(network, patterns[part])]
    return unet.config, tuple(names)


def matching(network, pattern):
    from torch import nn

    return [
        path
        for path, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and re.fullmatch(pattern, path)
    ]


def whole(names):
    tensors = {}
    for name in names:
        tensors |= one(name).tensors
    return Weights(tensors, dict.fromkeys(names, 1.0))


RESNETS = 17 * 3 + 11 + 4
"""Two convolutions and a linear layer in each, shortcuts, down- and upsamplers."""


@pytest.mark.parametrize(
    ("targets", "unet"), [("attention", 560), ("linear", 722), ("linear+conv", 722 + RESNETS)]
)
def test_the_real_sdxl_has_so_many_names_that_all_come_back(targets, unet):
    _, names = real_names(targets)
    assert sum(name.startswith("denoiser.") for name in names) == unet
    assert sum(name.startswith("text_encoder.") for name in names) == 11 * 4
    assert sum(name.startswith("text_encoder_2.") for name in names) == 32 * 4
    for way in ("kohya", "diffusers"):
        written = getattr(layouts, f"to_{way}")(whole(names), NAMING)
        back = getattr(layouts, f"from_{way}")(written, NAMING)
        assert set(back.alphas) == set(names)


def test_every_key_of_the_real_sdxl_is_placed_by_diffusers_conversion():
    """What Diffusers makes of kohya's names is what it makes of its own."""
    config, names = real_names()
    kohya = layouts.to_kohya(whole(names), NAMING)
    told, alphas = StableDiffusionXLPipeline.lora_state_dict(kohya, unet_config=config)
    assert len(told) == 2 * len(names)
    assert len(alphas) == len(names)
    assert {place(key) for key in told} == {
        place(key) for key in layouts.to_diffusers(whole(names), NAMING)
    }


def place(key):
    """A converted key's module: `...attn1.processor.to_q_lora.down.weight` -> `...attn1.to_q`."""
    key = re.sub(r"\.processor\.(to_\w+)_lora\.(down|up)\.weight$", r".\1", key)
    key = re.sub(r"\.(to_[qkv]|to_out)_lora\.(down|up)\.weight$", r".\1", key)
    key = re.sub(r"\.(lora_linear_layer|lora)\.(down|up)\.weight$", "", key)
    key = re.sub(r"\.lora_[AB]\.weight$", "", key)
    key = re.sub(r"\.(q|k|v|out)_proj$", r".to_\1", key)
    return re.sub(r"\.to_out\.0$", ".to_out", key)


def test_the_second_text_encoder_has_all_four_projections_of_each_layer():
    """A1111 patches a layer of OpenCLIP only where q, k, v and out are all there."""
    _, names = real_names()
    layers = {}
    for name in names:
        if name.startswith("text_encoder_2."):
            layer, _, kind = name.rpartition(".")
            layers.setdefault(layer, set()).add(kind)
    assert len(layers) == 32
    assert all(kinds == {"q_proj", "k_proj", "v_proj", "out_proj"} for kinds in layers.values())


@pytest.mark.parametrize(
    "key",
    [
        "lora_te_text_model_encoder_layers_0_mlp_fc1",
        "lora_te3_encoder_block_0_layer_0_SelfAttention_q",
        "lora_unet_double_blocks_0_img_attn_qkv",
        "lora_unet_input_blocks_9_1_proj_in",
        "lora_unet_output_blocks_12_1_proj_in",
        "lora_unet_middle_block_3_out_layers_3",
        "lora_unet_in_layers_2",
    ],
)
def test_keys_that_sdxl_has_not_are_refused_and_listed(key):
    foreign = {
        f"{key}.lora_down.weight": torch.ones(2, 3),
        f"{key}.lora_up.weight": torch.ones(3, 2),
    }
    with pytest.raises(AdapterError, match=f"1 keys .*{key}"):
        layouts.from_kohya(layouts.to_kohya(one(KNOWN[0][0]), NAMING) | foreign, NAMING)
