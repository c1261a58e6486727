"""The names of Stable Diffusion 3's LoRA files, with Diffusers' reader of checkpoints as judge."""

from __future__ import annotations

import functools

import pytest
import torch

from tests.trainer.families.conftest import tiny_sd3_transformer
from trainer.core.errors import AdapterError
from trainer.families.flux import NAMING as FLUX
from trainer.families.sd3 import NAMING, Sd3, Sd3Config
from trainer.families.sdxl import NAMING as SDXL
from trainer.weights import files, layouts
from trainer.weights.attach import _matching
from trainer.weights.inspect import inspect
from trainer.weights.layouts import Weights

BLOCK = "denoiser.transformer_blocks.7"
THEIRS = "joint_blocks.7"
QKV = [
    (f"{BLOCK}.attn.to_k", f"{THEIRS}.x_block.attn.qkv"),
    (f"{BLOCK}.attn2.to_v", f"{THEIRS}.x_block.attn2.qkv"),
    (f"{BLOCK}.attn.add_q_proj", f"{THEIRS}.context_block.attn.qkv"),
]
SINGLE = [
    (f"{BLOCK}.attn.to_out.0", f"{THEIRS}.x_block.attn.proj"),
    (f"{BLOCK}.attn2.to_out.0", f"{THEIRS}.x_block.attn2.proj"),
    (f"{BLOCK}.attn.to_add_out", f"{THEIRS}.context_block.attn.proj"),
    (f"{BLOCK}.ff.net.0.proj", f"{THEIRS}.x_block.mlp.fc1"),
    (f"{BLOCK}.ff.net.2", f"{THEIRS}.x_block.mlp.fc2"),
    (f"{BLOCK}.ff_context.net.0.proj", f"{THEIRS}.context_block.mlp.fc1"),
    (f"{BLOCK}.ff_context.net.2", f"{THEIRS}.context_block.mlp.fc2"),
    (f"{BLOCK}.norm1.linear", f"{THEIRS}.x_block.adaLN_modulation.1"),
    (f"{BLOCK}.norm1_context.linear", f"{THEIRS}.context_block.adaLN_modulation.1"),
    ("denoiser.pos_embed.proj", "x_embedder.proj"),
    ("denoiser.context_embedder", "context_embedder"),
    ("denoiser.time_text_embed.timestep_embedder.linear_1", "t_embedder.mlp.0"),
    ("denoiser.time_text_embed.timestep_embedder.linear_2", "t_embedder.mlp.2"),
    ("denoiser.time_text_embed.text_embedder.linear_1", "y_embedder.mlp.0"),
    ("denoiser.time_text_embed.text_embedder.linear_2", "y_embedder.mlp.2"),
    ("denoiser.proj_out", "final_layer.linear"),
    ("denoiser.norm_out.linear", "final_layer.adaLN_modulation.1"),
]
TEXTS = [
    (f"text_encoder{number}.{path}", f"lora_te{prefix}_{path.replace('.', '_')}")
    for number, prefix, path in (
        ("", "1", "text_model.encoder.layers.9.self_attn.q_proj"),
        ("_2", "2", "text_model.encoder.layers.31.self_attn.out_proj"),
        ("_2", "2", "text_projection"),
        ("_3", "3", "encoder.block.3.layer.0.SelfAttention.q"),
    )
]


def one(name, *, rows=4, columns=4, rank=2):
    tensors = {
        f"{name}.lora_A": torch.ones(rank, columns),
        f"{name}.lora_B": torch.ones(rows, rank),
    }
    return Weights(tensors, {name: 1.0})


def pair(key, suffixes=(".lora_down.weight", ".lora_up.weight"), *, width=4, rows=4):
    """A module of a file, without alpha."""
    return {key + suffixes[0]: torch.ones(2, width), key + suffixes[1]: torch.ones(rows, 2)}


@pytest.mark.parametrize(("ours", "theirs"), [*QKV, *SINGLE])
def test_kohya_s_names_are_those_of_stability_s_code(ours, theirs):
    key = "lora_unet_" + theirs.replace(".", "_")
    written = layouts.to_kohya(one(ours), NAMING)
    assert next(iter(written)) == f"{key}.lora_down.weight"
    assert list(layouts.from_kohya(written, NAMING).alphas) == [ours]


@pytest.mark.parametrize(("ours", "theirs"), [*QKV, *SINGLE])
def test_comfyui_s_spelling_is_read(ours, theirs):
    suffixes = (".lora_A.weight", ".lora_B.weight")
    tensors = pair(f"diffusion_model.{theirs}", suffixes, rows=12)
    members = list(layouts.from_diffusers(tensors, NAMING).alphas)
    assert ours in members
    assert len(members) == (3 if theirs.endswith("qkv") else 1)


@pytest.mark.parametrize(("ours", "_"), [*QKV, *SINGLE])
def test_diffusers_names_are_kept_and_read_with_other_trainers_prefix(ours, _):
    (name, _) = layouts.to_diffusers(one(ours), NAMING)
    assert name == ours.replace("denoiser", "transformer", 1) + ".lora_A.weight"
    key = ours.replace("denoiser.", "lora_transformer_", 1).replace(".", "_")
    assert list(layouts.from_kohya(pair(key), NAMING).alphas) == [ours]


@pytest.mark.parametrize(("ours", "kohya"), TEXTS)
def test_names_of_the_three_text_encoders_are_those_that_readers_know(ours, kohya):
    assert next(iter(layouts.to_kohya(one(ours), NAMING))) == f"{kohya}.lora_down.weight"
    assert next(iter(layouts.to_diffusers(one(ours), NAMING))) == f"{ours}.lora_A.weight"
    for way in ("kohya", "diffusers"):
        written = getattr(layouts, f"to_{way}")(one(ours), NAMING)
        assert list(getattr(layouts, f"from_{way}")(written, NAMING).alphas) == [ours]


# The judge


def drawn_on(network):
    """A LoRA on every layer of a transformer, every number drawn."""
    draws = torch.Generator().manual_seed(1)
    weights = Weights({}, {})
    for path in _matching(network, ".*"):
        out, *inside = network.get_submodule(path).weight.shape
        name, ones = f"denoiser.{path}", (1,) * (len(inside) - 1)
        weights.tensors[f"{name}.lora_A"] = torch.randn(2, *inside, generator=draws)
        weights.tensors[f"{name}.lora_B"] = torch.randn(out, 2, *ones, generator=draws)
        weights.alphas[name] = 1.0
    return weights


def update(down, up, alpha):
    return (up.flatten(1) @ down.flatten(1) * (alpha / down.shape[0])).reshape(
        up.shape[0], *down.shape[1:]
    )


def first_names(depth, dual):
    """Every layer of Stability's model, written out."""
    for block in range(depth):
        last = block == depth - 1
        own = ["context_block.attn.qkv", "context_block.adaLN_modulation.1", "x_block.attn.qkv"]
        own += ["x_block.attn.proj", "x_block.mlp.fc1", "x_block.mlp.fc2"]
        own += ["x_block.adaLN_modulation.1"]
        own += [] if last else [f"context_block.{k}" for k in ("attn.proj", "mlp.fc1", "mlp.fc2")]
        own += ["x_block.attn2.qkv", "x_block.attn2.proj"] if block in dual else []
        yield from (f"joint_blocks.{block}.{name}" for name in own)
    yield from ("x_embedder.proj", "context_embedder", "t_embedder.mlp.0", "t_embedder.mlp.2")
    yield from ("y_embedder.mlp.0", "y_embedder.mlp.2")
    yield from ("final_layer.linear", "final_layer.adaLN_modulation.1")


@pytest.mark.parametrize("dual", [(0, 1), ()], ids=["3.5 medium", "3.5 large"])
def test_diffusers_reader_of_first_checkpoints_makes_of_kohya_s_file_the_same_updates(dual):
    from diffusers.loaders.single_file_utils import convert_sd3_transformer_checkpoint_to_diffusers

    network = tiny_sd3_transformer(dual_attention_layers=dual)
    weights = drawn_on(network)
    kohya = layouts.to_kohya(weights, NAMING)
    checkpoint = {"pos_embed": torch.zeros(1)}
    for name in first_names(3, dual):
        key = "lora_unet_" + name.replace(".", "_")
        down, up, alpha = (
            kohya.pop(f"{key}.{what}") for what in ("lora_down.weight", "lora_up.weight", "alpha")
        )
        checkpoint[f"{name}.weight"] = update(down, up, float(alpha))
        checkpoint[f"{name}.bias"] = torch.zeros(len(up))
    assert kohya == {}
    for block in range(3):
        for side in ("x_block.attn", "context_block.attn", "x_block.attn2"):
            if side != "x_block.attn2" or block in dual:
                for norm in ("ln_q", "ln_k"):
                    checkpoint[f"joint_blocks.{block}.{side}.{norm}.weight"] = torch.zeros(1)
    theirs = convert_sd3_transformer_checkpoint_to_diffusers(checkpoint)
    for name, a, b, alpha in weights:
        wanted = update(a, b, alpha)
        seen = theirs[name.removeprefix("denoiser.") + ".weight"]
        assert wanted.abs().max() > 1
        assert torch.allclose(seen, wanted, atol=1e-5), name


def test_what_was_written_is_read_back_to_the_number():
    weights = drawn_on(tiny_sd3_transformer())
    back = layouts.from_kohya(layouts.to_kohya(weights, NAMING), NAMING)
    assert set(back.alphas) == set(weights.alphas)
    for name, a, b, alpha in weights:
        other = back.tensors[f"{name}.lora_A"], back.tensors[f"{name}.lora_B"]
        assert torch.allclose(update(*other, back.alphas[name]), update(a, b, alpha), atol=1e-6)


@pytest.mark.parametrize("context", [False, True])
def test_a_file_that_was_trained_as_one_is_read_to_the_same_update(context):
    side = "context" if context else "x"
    key, letters = f"lora_unet_joint_blocks_7_{side}_block_attn_qkv", "qkv"
    draws = torch.Generator().manual_seed(4)
    a, b = torch.randn(2, 8, generator=draws), torch.randn(24, 2, generator=draws)
    tensors = {f"{key}.lora_down.weight": a, f"{key}.lora_up.weight": b}
    back = layouts.from_kohya(tensors | {f"{key}.alpha": torch.tensor(1.0)}, NAMING)
    names = [f"{BLOCK}.attn.{'add_{}_proj' if context else 'to_{}'}".format(n) for n in letters]
    assert list(back.alphas) == names
    stacked = torch.cat([update(a, b, alpha) for _, a, b, alpha in back])
    assert torch.allclose(stacked, b @ a / 2, atol=1e-6)


# The published sizes


@functools.cache
def published(kind):
    """The transformer of 3.5 medium or large, or 3 medium, without its weights."""
    from diffusers import SD3Transformer2DModel

    depth = {"3 medium": 24, "3.5 medium": 24, "3.5 large": 38}[kind]
    with torch.device("meta"):
        return SD3Transformer2DModel(
            num_layers=depth,
            num_attention_heads=depth,
            caption_projection_dim=64 * depth,
            pos_embed_max_size=8,
            dual_attention_layers=tuple(range(13)) if kind == "3.5 medium" else (),
            qk_norm=None if kind == "3 medium" else "rms_norm",
        )


def named(kind, targets):
    """Our names of what a published model can adapt, and the widths of their inputs."""
    network = published(kind)
    pattern = Sd3Config().pattern(network.config, targets)
    return {
        f"denoiser.{path}": network.get_submodule(path).weight.shape[1]
        for path in _matching(network, pattern)
    }


@pytest.mark.parametrize(
    ("kind", "targets", "modules", "kohya"),
    [
        ("3.5 medium", "attention", 24 * 8 - 2 + 13 * 4, 24 * 4 - 1 + 13 * 2),
        ("3.5 medium", "attention+ff", 242 + 24 * 4 - 2, 121 + 24 * 4 - 2),
        ("3.5 large", "attention", 38 * 8 - 2, 38 * 4 - 1),
        ("3.5 large", "linear", 302 + 38 * 6 - 2, 151 + 38 * 6 - 2),
    ],
)
def test_the_real_models_have_so_many_modules_that_all_come_back(kind, targets, modules, kohya):
    """All but what the last block asks the words: its answer is not heard."""
    names = named(kind, targets)
    assert len(names) == modules
    weights = Weights({}, dict.fromkeys(names, 1.0))
    for name in names:
        weights.tensors.update(one(name, rows=1, columns=1, rank=1).tensors)
    written = layouts.to_kohya(weights, NAMING)
    assert len(written) == 3 * kohya
    assert set(layouts.from_kohya(written, NAMING).alphas) == set(names)


def test_a_named_choice_leaves_out_what_learns_nothing_and_an_expression_does_not():
    network = tiny_sd3_transformer()
    told = network.config
    mute = "transformer_blocks.2.attn.add_q_proj"
    for choice in Sd3.targets:
        paths = _matching(network, Sd3Config().pattern(told, choice))
        assert mute not in paths
        assert "transformer_blocks.1.attn.add_q_proj" in paths
    assert _matching(network, Sd3Config().pattern(told, r".*\.2\.attn\.add_q_proj")) == [mute]


# Which family a file is for


@pytest.mark.parametrize("kind", ["3 medium", "3.5 medium", "3.5 large"])
@pytest.mark.parametrize("layout", ["kohya", "diffusers", "other trainers'"])
def test_a_file_without_a_header_is_known_by_its_names(tmp_path, kind, layout):
    weights = Weights({}, {})
    for name, width in named(kind, "attention").items():
        made = one(name, rows=width, columns=width, rank=1)
        weights.tensors.update(made.tensors)
        weights.alphas.update(made.alphas)
    made = one("text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj", columns=1280)
    weights = Weights(weights.tensors | made.tensors, weights.alphas | made.alphas)
    if layout == "kohya":
        tensors = layouts.to_kohya(weights, NAMING)
    else:
        tensors = layouts.to_diffusers(weights, NAMING)
    if layout == "other trainers'":
        tensors = {as_others_spell(key): value for key, value in tensors.items()}
    path = tmp_path / "found.safetensors"
    files.save(path, tensors, {}, "fp16")
    assert inspect(path).family == "Stable Diffusion 3/3.5"
    for naming in (SDXL, FLUX):
        with pytest.raises(AdapterError, match=r"made for Stable Diffusion 3/3\.5, and the base"):
            files.read(path).weights(naming)
    assert set(files.read(path).weights(NAMING).alphas) == set(weights.alphas)


def as_others_spell(key):
    """`transformer.a.b.lora_A.weight` -> `lora_transformer_a_b.lora_down.weight`."""
    name, _, end = key.rpartition(".lora_")
    name = name.replace("text_encoder_2", "lora_te2").replace(
        "transformer.", "lora_transformer.", 1
    )
    side = {"A.weight": "down.weight", "B.weight": "up.weight"}[end]
    return f"{name.replace('.', '_')}.lora_{side}"


@pytest.mark.parametrize(
    "told",
    [
        "stable-diffusion-3-5-large/lora",
        "stable-diffusion-3-5-medium/lora",
        "stable-diffusion-3-medium",
    ],
)
def test_a_header_tells_what_names_do_not(tmp_path, told):
    path = tmp_path / "found.safetensors"
    tensors = pair("lora_te1_text_model_encoder_layers_0_self_attn_q_proj", width=768, rows=768)
    files.save(path, tensors, {"modelspec.architecture": told}, "fp32")
    assert inspect(path).family == "Stable Diffusion 3/3.5"
    files.save(path, tensors, {}, "fp32")
    assert inspect(path).family == "unknown"


@pytest.mark.parametrize(
    "key",
    [
        "lora_unet_double_blocks_0_img_attn_qkv",
        "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q",
        "lora_unet_joint_blocks_0_x_block_attn3_qkv",
        "lora_unet_joint_blocks_0_attn_qkv",
        "lora_te4_encoder_block_0_layer_0_SelfAttention_q",
    ],
)
def test_keys_that_it_has_not_are_refused_and_listed(key):
    with pytest.raises(AdapterError, match=f"1 keys .*{key}"):
        layouts.from_kohya(layouts.to_kohya(one(QKV[0][0]), NAMING) | pair(key), NAMING)
