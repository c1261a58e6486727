"""The names that A1111, Forge and ComfyUI look for, written out for each family."""

from __future__ import annotations

import pytest
import torch

from trainer.families import flux, sd, sdxl
from trainer.weights import layouts
from trainer.weights.layouts import Weights

NAMES = {
    "sd": {
        "denoiser.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k": (
            "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
        ),
        "denoiser.up_blocks.3.attentions.2.proj_in": "lora_unet_up_blocks_3_attentions_2_proj_in",
        "text_encoder.encoder.layers.11.mlp.fc1": "lora_te_text_model_encoder_layers_11_mlp_fc1",
    },
    "sdxl": {
        "denoiser.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0": (
            "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_out_0"
        ),
        "denoiser.mid_block.attentions.0.transformer_blocks.9.ff.net.0.proj": (
            "lora_unet_middle_block_1_transformer_blocks_9_ff_net_0_proj"
        ),
        "denoiser.up_blocks.0.attentions.2.proj_out": "lora_unet_output_blocks_2_1_proj_out",
        "text_encoder.encoder.layers.3.self_attn.q_proj": (
            "lora_te1_text_model_encoder_layers_3_self_attn_q_proj"
        ),
        "text_encoder_2.text_model.encoder.layers.31.self_attn.out_proj": (
            "lora_te2_text_model_encoder_layers_31_self_attn_out_proj"
        ),
    },
    "flux": {
        "denoiser.transformer_blocks.18.attn.to_v": "lora_unet_double_blocks_18_img_attn_qkv",
        "denoiser.transformer_blocks.0.attn.add_q_proj": "lora_unet_double_blocks_0_txt_attn_qkv",
        "denoiser.transformer_blocks.0.norm1_context.linear": (
            "lora_unet_double_blocks_0_txt_mod_lin"
        ),
        "denoiser.single_transformer_blocks.37.attn.to_k": "lora_unet_single_blocks_37_linear1",
        "denoiser.single_transformer_blocks.37.proj_mlp": "lora_unet_single_blocks_37_linear1",
        "denoiser.single_transformer_blocks.37.proj_out": "lora_unet_single_blocks_37_linear2",
        "text_encoder.encoder.layers.3.self_attn.q_proj": (
            "lora_te1_text_model_encoder_layers_3_self_attn_q_proj"
        ),
    },
}
NAMINGS = {"sd": sd.NAMING, "sdxl": sdxl.NAMING, "flux": flux.NAMING}
CASES = [(NAMINGS[f], ours, name) for f, names in NAMES.items() for ours, name in names.items()]


@pytest.mark.parametrize(("naming", "ours", "name"), CASES, ids=[case[2] for case in CASES])
def test_a_module_is_called_as_readers_look_for_it_and_found_again(naming, ours, name):
    rows = {f"{ours}.lora_A": torch.ones(2, 4), f"{ours}.lora_B": torch.ones(4, 2)}
    tensors = layouts.to_kohya(Weights(rows, {ours: 1.0}), naming)
    ends = ("lora_down.weight", "lora_up.weight", "alpha")
    assert set(tensors) == {f"{name}.{end}" for end in ends}
    assert list(layouts.from_kohya(tensors, naming).alphas) == [ours]
