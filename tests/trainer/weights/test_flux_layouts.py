"""FLUX.1's LoRA files: fused for kohya and ComfyUI, plain for Diffusers, and read back."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from trainer.core.errors import AdapterError
from trainer.families.flux import NAMING as FLUX
from trainer.families.flux import Flux
from trainer.families.sd import NAMING as SD
from trainer.weights import layouts
from trainer.weights.attach import _matching
from trainer.weights.layouts import Weights

WIDTH = 3072
DOUBLE = "denoiser.transformer_blocks.0."
SINGLE = "denoiser.single_transformer_blocks.0."
ROWS = {"linear": 2, "ff.net.0.proj": 4, "ff_context.net.0.proj": 4, "proj_mlp": 4}
COLUMNS = {"ff.net.2": 4, "ff_context.net.2": 4, "proj_out": 5}
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj")


@pytest.fixture(scope="module")
def network():
    """The transformer of FLUX.1 dev, without its weights."""
    from diffusers import FluxTransformer2DModel

    with torch.device("meta"):
        return FluxTransformer2DModel(guidance_embeds=True)


def drawn(*names, width=WIDTH, rank=2, alpha=1.0):
    """Weights of these modules, every number drawn."""
    draws = torch.Generator().manual_seed(1)
    weights = Weights({}, {})
    for name in names:
        kind = name.split(".", 3)[-1].removeprefix("attn.")
        shape = width * COLUMNS.get(kind, 1), width * ROWS.get(kind, 1)
        weights.tensors[f"{name}.lora_A"] = torch.randn(rank, shape[0], generator=draws)
        weights.tensors[f"{name}.lora_B"] = torch.randn(shape[1], rank, generator=draws)
        weights.alphas[name] = alpha
    return weights


def paths(network, targets):
    return [f"denoiser.{path}" for path in _matching(network, Flux.targets[targets])]


@pytest.mark.parametrize(
    ("targets", "modules", "kohya"),
    [("attention", 266, 114), ("attention+ff", 418, 228), ("linear", 494, 304)],
)
def test_the_real_model_has_so_many_modules_that_all_come_back(network, targets, modules, kohya):
    names = paths(network, targets)
    assert len(names) == modules
    weights = drawn(*names, width=1, rank=1)
    tensors = layouts.to_kohya(weights, FLUX)
    assert len(tensors) == 3 * kohya
    back = layouts.from_kohya(tensors, FLUX)
    assert sorted(back.alphas) == sorted(names)
    for name, value in weights.tensors.items():
        assert torch.equal(back.tensors[name], value)


def test_every_linear_layer_of_the_model_has_a_name_in_both_layouts(network):
    for path in _matching(network, ".*"):
        name = f"denoiser.{path}"
        weights = drawn(name, width=2, rank=1)
        assert list(layouts.from_kohya(layouts.to_kohya(weights, FLUX), FLUX).alphas) == [name]
        assert list(layouts.from_diffusers(layouts.to_diffusers(weights, FLUX), FLUX).alphas) == [
            name
        ]


def test_every_linear_layer_of_t5_has_a_name_in_both_layouts():
    from transformers import T5Config, T5EncoderModel

    with torch.device("meta"):
        t5 = T5EncoderModel(T5Config(num_layers=2, d_model=8, feed_forward_proj="gated-gelu"))
    names = [f"text_encoder_2.{path}" for path in _matching(t5, ".*")]
    assert {name.rpartition(".")[2] for name in names} == {*"qkvo", "wi_0", "wi_1", "wo"}
    weights = drawn(*names, width=2, rank=1)
    assert list(layouts.from_kohya(layouts.to_kohya(weights, FLUX), FLUX).alphas) == names
    assert list(layouts.from_diffusers(layouts.to_diffusers(weights, FLUX), FLUX).alphas) == names


@pytest.mark.parametrize(
    ("ours", "kohya", "diffusers"),
    [
        (
            f"{DOUBLE}attn.to_k",
            "lora_unet_double_blocks_0_img_attn_qkv",
            "transformer.transformer_blocks.0.attn.to_k",
        ),
        (
            f"{DOUBLE}attn.add_v_proj",
            "lora_unet_double_blocks_0_txt_attn_qkv",
            "transformer.transformer_blocks.0.attn.add_v_proj",
        ),
        (
            f"{DOUBLE}ff_context.net.2",
            "lora_unet_double_blocks_0_txt_mlp_2",
            "transformer.transformer_blocks.0.ff_context.net.2",
        ),
        (
            f"{SINGLE}proj_mlp",
            "lora_unet_single_blocks_0_linear1",
            "transformer.single_transformer_blocks.0.proj_mlp",
        ),
        (
            f"{SINGLE}norm.linear",
            "lora_unet_single_blocks_0_modulation_lin",
            "transformer.single_transformer_blocks.0.norm.linear",
        ),
        (
            "text_encoder.encoder.layers.0.self_attn.q_proj",
            "lora_te1_text_model_encoder_layers_0_self_attn_q_proj",
            "text_encoder.text_model.encoder.layers.0.self_attn.q_proj",
        ),
        (
            "text_encoder_2.encoder.block.3.layer.0.SelfAttention.q",
            "lora_te3_encoder_block_3_layer_0_SelfAttention_q",
            "text_encoder_2.encoder.block.3.layer.0.SelfAttention.q",
        ),
    ],
)
def test_names_are_those_that_readers_know(ours, kohya, diffusers):
    weights = drawn(ours, width=2)
    assert next(iter(layouts.to_kohya(weights, FLUX))) == f"{kohya}.lora_down.weight"
    assert next(iter(layouts.to_diffusers(weights, FLUX))) == f"{diffusers}.lora_A.weight"
    assert list(layouts.from_kohya(layouts.to_kohya(weights, FLUX), FLUX).alphas) == [ours]


@pytest.mark.parametrize("missing", [(), ("to_k",)], ids=["whole", "without keys"])
def test_diffusers_own_reader_takes_the_fused_file_apart_to_the_same_updates(tmp_path, missing):
    from diffusers import FluxPipeline

    names = [f"{DOUBLE}attn.{kind}" for kind in ATTENTION if kind not in missing]
    names += [f"{SINGLE}attn.{kind}" for kind in ("to_q", "to_k", "to_v") if kind not in missing]
    names += [f"{DOUBLE}ff.net.0.proj", f"{SINGLE}proj_out", f"{DOUBLE}norm1.linear"]
    weights = drawn(*names)
    path = tmp_path / "lora.safetensors"
    save_file(layouts.to_kohya(weights, FLUX), path)
    theirs = FluxPipeline.lora_state_dict(tmp_path, weight_name=path.name)
    for name, a, b, alpha in weights:
        key = name.replace("denoiser.", "transformer.")
        x = torch.randn(a.shape[1], generator=torch.Generator().manual_seed(2))
        wanted = b @ (a @ x) * (alpha / a.shape[0])
        seen = theirs[f"{key}.lora_B.weight"] @ (theirs[f"{key}.lora_A.weight"] @ x)
        assert wanted.abs().max() > 1
        assert torch.allclose(seen, wanted, rtol=1e-4, atol=1e-3)


def test_diffusers_own_reader_has_a_place_for_every_key_of_the_published_model(network, tmp_path):
    from diffusers import FluxPipeline

    names = paths(network, "linear")
    words = [
        f"text_encoder.encoder.layers.{layer}.self_attn.{kind}_proj"
        for layer in range(12)
        for kind in ("q", "k", "v", "out")
    ]
    weights = Weights({}, {})
    draws = torch.Generator().manual_seed(3)
    for name in [*names, *words]:
        module = network.get_submodule(name.removeprefix("denoiser.")) if name in names else None
        rows, columns = module.weight.shape if module else (768, 768)
        weights.tensors[f"{name}.lora_A"] = torch.randn(1, columns, generator=draws)
        weights.tensors[f"{name}.lora_B"] = torch.randn(rows, 1, generator=draws)
        weights.alphas[name] = 1.0
    path = tmp_path / "lora.safetensors"
    save_file(layouts.to_kohya(weights, FLUX), path)
    theirs, alphas = FluxPipeline.lora_state_dict(
        tmp_path, weight_name=path.name, return_alphas=True
    )
    ours = layouts.to_diffusers(weights, FLUX)
    of_words = [key for key in theirs if key.startswith("text_encoder.")]
    assert len(of_words) == 2 * len(words)
    assert {*theirs} - {*of_words} == {key for key in ours if key.startswith("transformer.")}
    for key in ours:
        if key.endswith(".lora_A.weight") and key.startswith("transformer."):
            other = key.replace("lora_A", "lora_B")
            x = ours[key][0] / ours[key].norm() ** 2
            wanted, seen = ours[other][:, 0], theirs[other] @ (theirs[key] @ x)
            assert torch.allclose(seen, wanted, rtol=1e-4, atol=1e-4), key
    assert all(float(alpha) == 1.0 for alpha in (alphas or {}).values())


def test_scale_and_shift_of_the_last_layer_change_places():
    name = "denoiser.norm_out.linear"
    weights = drawn(name, width=4)
    up = layouts.to_kohya(weights, FLUX)["lora_unet_final_layer_adaLN_modulation_1.lora_up.weight"]
    assert torch.equal(up, weights.tensors[f"{name}.lora_B"].roll(4, dims=0))


@pytest.mark.parametrize(
    ("key", "suffixes"),
    [
        ("diffusion_model.double_blocks.0.img_attn.qkv", (".lora_A.weight", ".lora_B.weight")),
        ("lora_unet_double_blocks_0_img_attn_qkv", (".lora_down.weight", ".lora_up.weight")),
    ],
)
def test_a_file_that_was_trained_as_one_is_read_to_the_same_update(key, suffixes):
    draws = torch.Generator().manual_seed(4)
    a, b = torch.randn(2, 8, generator=draws), torch.randn(24, 2, generator=draws)
    tensors = {
        key + suffixes[0]: a,
        key + suffixes[1]: b,
        f"{key}.alpha": torch.tensor(1.0),
    }
    read = layouts.from_kohya if "lora_down" in suffixes[0] else layouts.from_diffusers
    back = read(tensors, FLUX)
    updates = [b @ a * alpha / a.shape[0] for _, a, b, alpha in back]
    assert len({tensor.data_ptr() for tensor in back.tensors.values()}) == 6
    assert list(back.alphas) == [f"{DOUBLE}attn.to_{letter}" for letter in "qkv"]
    assert torch.allclose(torch.cat(updates), b @ a / 2, atol=1e-6)


@pytest.mark.parametrize(
    "key",
    [
        "lora_transformer_transformer_blocks_0_attn_to_q",
        "lora_unet_transformer_blocks_0_attn_to_q",
    ],
)
def test_split_names_of_other_trainers_are_read(key):
    tensors = {
        f"{key}.lora_down.weight": torch.ones(2, 4),
        f"{key}.lora_up.weight": torch.ones(4, 2),
    }
    assert layouts.from_kohya(tensors, FLUX).alphas == {f"{DOUBLE}attn.to_q": 2.0}


def test_a_module_that_stands_there_twice_is_refused():
    fused = layouts.to_kohya(drawn(f"{DOUBLE}attn.to_q", width=4), FLUX)
    key = "lora_transformer_transformer_blocks_0_attn_to_q"
    twice = {
        f"{key}.lora_down.weight": torch.ones(2, 4),
        f"{key}.lora_up.weight": torch.ones(4, 2),
    }
    with pytest.raises(AdapterError, match=r"two modules of the file change .*to_q"):
        layouts.from_kohya(fused | twice, FLUX)


def test_rows_that_cannot_be_query_key_and_value_are_refused():
    key = "lora_unet_double_blocks_0_img_attn_qkv"
    tensors = {
        f"{key}.lora_down.weight": torch.ones(2, 4),
        f"{key}.lora_up.weight": torch.ones(10, 2),
    }
    with pytest.raises(AdapterError, match=r"10 rows of .*qkv.* do not divide among 3"):
        layouts.from_kohya(tensors, FLUX)


def test_neither_family_reads_the_other_s_files():
    flux = layouts.to_kohya(drawn(f"{DOUBLE}attn.to_q", width=4), FLUX)
    with pytest.raises(AdapterError, match=r"1 keys .*double_blocks_0_img_attn_qkv"):
        layouts.from_kohya(flux, SD)
    name = "denoiser.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    weights = Weights(
        {f"{name}.lora_A": torch.ones(2, 4), f"{name}.lora_B": torch.ones(4, 2)}, {name: 2.0}
    )
    with pytest.raises(AdapterError, match=r"1 keys .*down_blocks_0"):
        layouts.from_kohya(layouts.to_kohya(weights, SD), FLUX)
