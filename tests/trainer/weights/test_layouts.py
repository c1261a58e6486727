"""The names that other programs read, and Diffusers as their judge."""

import json

import pytest
import torch
from diffusers import StableDiffusionPipeline

from tests.trainer.weights.tiny_models import about, adapted, answer, load
from trainer.core.errors import AdapterError
from trainer.families.sd import NAMING as SD
from trainer.weights import entry, files, layouts
from trainer.weights.layouts import Weights

Q = "denoiser.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"


def weights_of(adapter):
    return Weights(adapter.state(), adapter.alphas())


def one(name=Q, *, rank=4, alpha=2.0):
    """A LoRA of a single module."""
    tensors = {f"{name}.lora_A": torch.randn(rank, 8), f"{name}.lora_B": torch.randn(6, rank)}
    return Weights(tensors, {name: alpha})


@pytest.mark.parametrize("layout", ["kohya", "diffusers"])
def test_diffusers_renders_what_the_trained_model_does(folder, tmp_path, layout):
    model = load(folder)
    base = answer(model.denoiser, model.text_encoders["text_encoder"])
    adapter = adapted(model)
    trained = answer(model.denoiser, model.text_encoders["text_encoder"])
    path = tmp_path / "lora.safetensors"
    files.export(path, weights_of(adapter), about(), SD, layout=layout, precision="fp32")

    pipeline = load(folder).pipeline()
    assert isinstance(pipeline, StableDiffusionPipeline)
    pipeline.load_lora_weights(tmp_path, weight_name=path.name)
    seen = answer(pipeline.unet, pipeline.text_encoder)

    assert (trained - base).abs().max() > 1e-2
    assert (seen - trained).abs().max() <= 1e-5
    loaded = [m for n in (pipeline.unet, pipeline.text_encoder) for m in n.modules()]
    assert sum(hasattr(m, "lora_A") for m in loaded) == len(adapter.modules)


@pytest.mark.parametrize("layout", ["kohya", "diffusers"])
def test_modules_of_other_ranks_and_alphas_weigh_the_same_in_diffusers(
    sd1_folder, tmp_path, layout
):
    model = load(sd1_folder)
    weights = weights_of(adapted(model, targets="attention+ff"))
    mixed = Weights(dict(weights.tensors), dict(weights.alphas))
    changed = [Q, "text_encoder.encoder.layers.0.self_attn.q_proj"]
    for name in changed:
        mixed.tensors[f"{name}.lora_A"] = torch.randn(2, mixed.tensors[f"{name}.lora_A"].shape[1])
        mixed.tensors[f"{name}.lora_B"] = torch.randn(mixed.tensors[f"{name}.lora_B"].shape[0], 2)
        mixed.alphas[name] = 3.0
    path = tmp_path / "lora.safetensors"
    files.export(path, mixed, about(), SD, layout=layout, precision="fp32")
    pipeline = load(sd1_folder).pipeline()
    pipeline.load_lora_weights(tmp_path, weight_name=path.name)
    for name in changed:
        part, _, module = name.partition(".")
        network = pipeline.unet if part == "denoiser" else pipeline.text_encoder
        layer = network.get_submodule(module)
        (adapter,) = layer.lora_A
        seen = layer.get_delta_weight(adapter)
        wanted = mixed.tensors[f"{name}.lora_B"] @ mixed.tensors[f"{name}.lora_A"] * (3.0 / 2)
        assert wanted.abs().max() > 1e-2
        assert torch.allclose(seen, wanted, atol=1e-5)


@pytest.mark.parametrize("layout", ["kohya", "diffusers"])
def test_what_is_written_is_read_back_bit_for_bit(model, tmp_path, layout):
    weights = weights_of(adapted(model))
    path = tmp_path / "lora.safetensors"
    files.export(path, weights, about(), SD, layout=layout, precision="fp32")
    back = files.read(path).weights(SD)
    assert back.tensors.keys() == weights.tensors.keys()
    for name, a, b, alpha in weights:
        scale, seen = alpha / a.shape[0], back.alphas[name] / a.shape[0]
        assert torch.equal(back.tensors[f"{name}.lora_A"], a)
        assert torch.equal(back.tensors[f"{name}.lora_B"] * seen, b * scale)


def test_kohya_s_layout_keeps_tensors_and_alpha_apart(model):
    weights = weights_of(adapted(model))
    back = layouts.from_kohya(layouts.to_kohya(weights, SD), SD)
    assert back.alphas == weights.alphas
    assert all(torch.equal(back.tensors[name], value) for name, value in weights.tensors.items())


def test_a_file_goes_back_onto_a_model(sd1_folder, tmp_path):
    model = load(sd1_folder)
    adapter = adapted(model)
    path = tmp_path / "lora.safetensors"
    files.export(path, weights_of(adapter), about(), SD, precision="fp32")
    other = adapted(load(sd1_folder), alpha=2.0)
    other.load_state({name: value * 0 for name, value in other.state().items()})
    other.load_state(files.read(path).weights(SD).tensors)
    assert all(torch.equal(value, other.state()[name]) for name, value in adapter.state().items())


@pytest.mark.parametrize(
    ("ours", "kohya", "diffusers"),
    [
        (
            "denoiser.up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_out.0",
            "lora_unet_up_blocks_1_attentions_0_transformer_blocks_0_attn2_to_out_0",
            "unet.up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_out.0",
        ),
        (
            "denoiser.mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj",
            "lora_unet_mid_block_attentions_0_transformer_blocks_0_ff_net_0_proj",
            "unet.mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj",
        ),
        (
            "denoiser.down_blocks.0.resnets.1.time_emb_proj",
            "lora_unet_down_blocks_0_resnets_1_time_emb_proj",
            "unet.down_blocks.0.resnets.1.time_emb_proj",
        ),
        (
            "denoiser.down_blocks.0.downsamplers.0.conv",
            "lora_unet_down_blocks_0_downsamplers_0_conv",
            "unet.down_blocks.0.downsamplers.0.conv",
        ),
        (
            "text_encoder.encoder.layers.11.self_attn.q_proj",
            "lora_te_text_model_encoder_layers_11_self_attn_q_proj",
            "text_encoder.text_model.encoder.layers.11.self_attn.q_proj",
        ),
        (
            "text_encoder.encoder.layers.0.mlp.fc1",
            "lora_te_text_model_encoder_layers_0_mlp_fc1",
            "text_encoder.text_model.encoder.layers.0.mlp.fc1",
        ),
    ],
)
def test_names_are_those_that_readers_know(ours, kohya, diffusers):
    assert list(layouts.to_kohya(one(ours), SD)) == [
        f"{kohya}.lora_down.weight",
        f"{kohya}.lora_up.weight",
        f"{kohya}.alpha",
    ]
    assert list(layouts.to_diffusers(one(ours), SD)) == [
        f"{diffusers}.lora_A.weight",
        f"{diffusers}.lora_B.weight",
    ]


def test_the_real_sd_1_5_has_192_unet_and_72_text_encoder_names_that_all_come_back():
    names = [f"denoiser.{path}" for path in real_unet_modules()]
    names += [
        f"text_encoder.encoder.layers.{layer}.{module}"
        for layer in range(12)
        for module in (
            *(f"self_attn.{p}_proj" for p in ("q", "k", "v", "out")),
            "mlp.fc1",
            "mlp.fc2",
        )
    ]
    assert len(names) == 192 + 72
    for name in names:
        weights = one(name, rank=1)
        assert list(layouts.from_kohya(layouts.to_kohya(weights, SD), SD).alphas) == [name]


def real_unet_modules():
    """The attention and feed-forward modules of Stable Diffusion 1.5, without its weights."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768)
    kinds = ("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "net.0.proj", "net.2")
    return [path for path, _ in unet.named_modules() if path.endswith(kinds)]


def test_alpha_is_the_same_number_in_every_module_and_fp32():
    weights = one()
    other = one(Q.replace("to_q", "to_k"), rank=2, alpha=5.0)
    third = one(Q.replace("to_q", "to_v"))
    mixed = Weights(
        weights.tensors | other.tensors | third.tensors,
        weights.alphas | other.alphas | third.alphas,
    )
    alphas = [t for name, t in layouts.to_kohya(mixed, SD).items() if name.endswith(".alpha")]
    assert [(t.item(), t.dtype, t.ndim) for t in alphas] == [(2.0, torch.float32, 0)] * 3


@pytest.mark.parametrize("prefix", ["lora_te_text_model_", "lora_te1_text_model_", "lora_te_"])
def test_text_encoders_of_other_trainers_are_read(prefix):
    key = f"{prefix}encoder_layers_0_mlp_fc1"
    tensors = {
        f"{key}.lora_down.weight": torch.ones(2, 3),
        f"{key}.lora_up.weight": torch.ones(3, 2),
    }
    assert layouts.from_kohya(tensors, SD).alphas == {"text_encoder.encoder.layers.0.mlp.fc1": 2.0}


@pytest.mark.parametrize("spelling", ["text_model.encoder", "encoder"])
def test_text_encoders_of_transformers_4_and_5_are_read(spelling):
    key = f"text_encoder.{spelling}.layers.0.mlp.fc1"
    tensors = {f"{key}.lora_A.weight": torch.ones(2, 3), f"{key}.lora_B.weight": torch.ones(3, 2)}
    told = json.dumps({"text_encoder.lora_alpha": 1, "text_encoder.r": 2})
    back = layouts.from_diffusers(tensors, SD, told)
    assert back.alphas == {"text_encoder.encoder.layers.0.mlp.fc1": 1.0}


@pytest.mark.parametrize(
    ("told", "alpha"),
    [
        ({}, 4.0),
        ({"unet.lora_alpha": 8}, 8.0),
        ({"unet.lora_alpha": 8, "unet.use_rslora": True}, 16.0),
        ({"unet.lora_alpha": 8, "unet.alpha_pattern": {"attn1.to_q": 3}}, 3.0),
        ({"unet.lora_alpha": 8, "unet.alpha_pattern": {"attn1.to_k": 3}}, 8.0),
        ({"text_encoder.lora_alpha": 8}, 4.0),
    ],
)
def test_alpha_of_a_diffusers_file_is_what_its_header_tells(told, alpha):
    tensors = layouts.to_diffusers(one(alpha=4.0), SD)
    assert layouts.from_diffusers(tensors, SD, json.dumps(told)).alphas == {Q: alpha}


@pytest.mark.parametrize(
    "told",
    [
        "{",
        "[]",
        '{"unet.lora_alpha": "8"}',
        '{"unet.alpha_pattern": {"(a+)+": 1}}',
        '{"unet.alpha_pattern": [1]}',
    ],
)
def test_a_header_that_cannot_be_trusted_is_refused(told):
    with pytest.raises(AdapterError, match=entry.KEY):
        layouts.from_diffusers(layouts.to_diffusers(one(), SD), SD, told)


@pytest.mark.parametrize(
    "key",
    [
        "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q",
        "lora_unet_double_blocks_0_img_attn_qkv",
        "lora_te2_text_model_encoder_layers_0_mlp_fc1",
        "lora_unet_down_blocks_0__attn1_to_q",
        "lora_unetdown_blocks_0",
        "diffusion_model.double_blocks.0.img_attn.qkv",
    ],
)
def test_keys_of_other_families_are_refused_and_listed(key):
    foreign = {
        f"{key}.lora_down.weight": torch.ones(2, 3),
        f"{key}.lora_up.weight": torch.ones(3, 2),
    }
    with pytest.raises(AdapterError, match=f"1 keys .*{key}"):
        layouts.from_kohya(layouts.to_kohya(one(), SD) | foreign, SD)


@pytest.mark.parametrize("key", ["transformer.blocks.0.to_q", "unet.blocks.0.to_q", "to_q"])
def test_foreign_diffusers_keys_are_refused_and_listed(key):
    foreign = {f"{key}.lora_A.weight": torch.ones(2, 3), f"{key}.lora_B.weight": torch.ones(3, 2)}
    with pytest.raises(AdapterError, match=f"1 keys .*{key}"):
        layouts.from_diffusers(layouts.to_diffusers(one(), SD) | foreign, SD)


@pytest.mark.parametrize("suffix", [".dora_scale", ".lora_mid.weight", ".diff", ".hada_w1_a"])
def test_what_is_more_than_lora_is_refused_and_listed(suffix):
    tensors = layouts.to_kohya(one(), SD)
    key = next(iter(tensors)).removesuffix(".lora_down.weight") + suffix
    with pytest.raises(AdapterError, match=key):
        layouts.from_kohya({**tensors, key: torch.ones(2)}, SD)


def test_half_a_pair_is_refused():
    tensors = layouts.to_kohya(one(), SD)
    del tensors[next(name for name in tensors if name.endswith("lora_up.weight"))]
    with pytest.raises(AdapterError, match="lora_down"):
        layouts.from_kohya(tensors, SD)
