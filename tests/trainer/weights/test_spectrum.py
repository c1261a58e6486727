"""The spectrum of a LoRA: exact against the update formed, and said in plain words."""

import json

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.trainer.weights.tiny_models import about, adapted
from trainer.core.device import Plan
from trainer.core.errors import AdapterError
from trainer.families.sd import NAMING, SdConfig
from trainer.weights import files
from trainer.weights.intruders import Base, Basis, look
from trainer.weights.layouts import Place, Weights
from trainer.weights.spectrum import effective_rank, spectrum
from trainer.weights.spectrum_words import place

DOWN = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
UP = "lora_unet_up_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
WORDS = "lora_te_text_model_encoder_layers_0_self_attn_q_proj"


def pair(name, a, b, alpha=None):
    """One module in kohya's layout."""
    tensors = {
        f"{name}.lora_down.weight": torch.as_tensor(a, dtype=torch.float32),
        f"{name}.lora_up.weight": torch.as_tensor(b, dtype=torch.float32),
    }
    if alpha is not None:
        tensors[f"{name}.alpha"] = torch.tensor(float(alpha))
    return tensors


@pytest.fixture
def written(tmp_path):
    """`written(pair(...), ...)`: a file of these modules."""

    def write(*pairs):
        path = tmp_path / "found.safetensors"
        safetensors.torch.save_file({k: v for one in pairs for k, v in one.items()}, path)
        return path

    return write


@pytest.fixture(scope="module")
def demo():
    return Base(SdConfig(base="demo"))


@pytest.fixture(scope="module")
def own_lora(tiny_sd, tmp_path_factory):
    """A LoRA on every kind of layer of the tiny model, and its norms."""
    adapter = adapted(SdConfig(base=str(tiny_sd)).load(Plan("cpu", "fp32")))
    path = tmp_path_factory.mktemp("spectrum") / "own.safetensors"
    weights = Weights(adapter.state(), adapter.alphas())
    files.export(path, weights, about(), NAMING, precision="fp32")
    return path, adapter.norms()


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def decaying(rows, columns, seed=0):
    """A layer whose singular values fall off as a trained one's do."""
    u, _, vt = np.linalg.svd(draw(rows, columns, seed=seed).astype(float), full_matrices=False)
    return (u * 3 * np.arange(1, len(vt) + 1) ** -0.5) @ vt


# Exact numbers


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (draw(4, 24), draw(12, 4, seed=1)),
        (draw(4, 6, 3, 3), draw(12, 4, 1, 1, seed=1)),
        (draw(8, 24), draw(5, 8, seed=1)),
    ],
    ids=["linear", "convolution", "more ranks than outputs"],
)
def test_singular_values_are_those_of_the_update_formed(written, a, b):
    (module,) = spectrum(written(pair(DOWN, a, b, alpha=2))).modules
    update = b.reshape(len(b), -1).astype(float) @ a.reshape(len(a), -1) * 2 / len(a)
    wanted = np.linalg.svd(update, compute_uv=False)[: len(module.values)]
    assert module.values == pytest.approx(wanted, rel=1e-12)
    assert module.shape == update.shape
    assert module.norm == pytest.approx(np.linalg.norm(update), rel=1e-12)
    assert module.largest == pytest.approx(np.linalg.norm(update, 2), rel=1e-12)
    assert module.stable_rank == pytest.approx((module.norm / module.largest) ** 2)


def test_norms_are_those_of_the_adapter(own_lora):
    path, norms = own_lora
    told = spectrum(path)
    assert sorted(m.norm for m in told.modules) == pytest.approx(sorted(norms.values()), rel=1e-5)
    assert told.whole.norm == pytest.approx(np.linalg.norm(list(norms.values())), rel=1e-5)


def test_equal_singular_values_use_every_rank_and_unequal_ones_less():
    assert effective_rank(np.array([2.0, 2.0, 2.0, 0.0])) == pytest.approx(3)
    assert effective_rank(np.array([0.75, 0.25])) == pytest.approx(0.75**-0.75 * 0.25**-0.25)
    assert effective_rank(np.zeros(3)) == 0


def test_the_rank_that_holds_99_percent_is_the_smallest_that_does(written):
    singular = np.diag([10.0, 3.0, 1.05, 0.2])
    (module,) = spectrum(written(pair(DOWN, np.eye(4, 9), singular))).modules
    assert (100 + 9) / (109 + 1.1025 + 0.04) < 0.99 < (109 + 1.1025) / (109 + 1.1025 + 0.04)
    assert module.rank_99 == 3


def test_shares_are_of_the_squared_norm(written):
    told = spectrum(written(pair(DOWN, [[3.0]], [[1.0]]), pair(WORDS, [[2.0]], [[1.0]])))
    assert {g.name: g.share for g in told.blocks} == {
        "down block 0": pytest.approx(9 / 13),
        "text encoder": pytest.approx(4 / 13),
    }
    assert "the text encoder carries 31% of the change" in told.sentences


# In words


def test_a_rank_1_update_of_a_rank_16_lora_says_so(written):
    a, b = draw(16, 32), draw(24, 1, seed=1) @ draw(1, 16, seed=2)
    told = spectrum(written(pair(DOWN, a, b)))
    assert told.modules[0].effective_rank == pytest.approx(1, abs=1e-4)
    assert "uses 1 of its 16 ranks: rank 1 would hold 99% of it" in told.sentences


def test_an_update_that_uses_all_it_has_says_so(written):
    told = spectrum(written(pair(DOWN, np.eye(4, 9), np.eye(9, 4))))
    assert any(s.startswith("uses 4 of its 4 ranks: a smaller rank") for s in told.sentences)


def test_a_lora_that_is_half_zero_says_so_and_counts_the_other_half(written):
    told = spectrum(
        written(pair(DOWN, draw(4, 9), np.zeros((9, 4))), pair(UP, np.eye(4, 9), np.eye(9, 4)))
    )
    assert told.zeros == [DOWN]
    assert told.sentences[0].startswith("1 of 2 modules is zero: nothing was learned there")
    assert told.whole.effective_rank == pytest.approx(4)
    assert {g.name: (g.zeros, g.share) for g in told.blocks} == {
        "down block 0": (1, 0.0),
        "up block 1": (0, 1.0),
    }


def test_a_lora_of_zeros_changes_nothing(written):
    told = spectrum(written(pair(DOWN, draw(4, 9), np.zeros((9, 4)))))
    assert told.sentences == ["every module is zero: the LoRA changes nothing"]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_named_and_not_measured(written, bad):
    told = spectrum(written(pair(DOWN, np.full((1, 3), bad), [[1.0]]), pair(UP, [[1.0]], [[1.0]])))
    assert told.broken == [DOWN]
    assert DOWN in told.sentences[0]
    assert [module.name for module in told.modules] == [UP]
    json.dumps(told.as_dict(), allow_nan=False)


def test_what_is_more_than_a_plain_lora_is_left_out(written):
    odd = {**pair(DOWN, [[1.0]], [[1.0]]), f"{DOWN}.dora_scale": torch.ones(1)}
    kernel = pair(f"{UP}2", draw(2, 3, 1, 1), draw(4, 2, 3, 3))
    told = spectrum(written(odd, kernel, pair(UP, [[1.0]], [[1.0]])))
    assert told.left_out == [DOWN, f"{UP}2"]
    assert "more than a plain LoRA" in told.sentences[0]


def test_a_file_of_halves_has_nothing_to_measure(tmp_path):
    path = tmp_path / "halves.safetensors"
    safetensors.torch.save_file({f"{DOWN}.lora_down.weight": torch.ones(2, 3)}, path)
    told = spectrum(path)
    assert (told.whole.modules, told.whole.norm, told.whole.rank_99) == (0, 0.0, 0)
    assert told.sentences == ["none of its modules could be measured"]


@pytest.mark.parametrize(
    ("name", "block", "kind"),
    [
        (DOWN, "down block 0", "self-attention"),
        (UP, "up block 1", "cross-attention"),
        (WORDS, "text encoder", "self-attention"),
        ("lora_te2_text_model_encoder_layers_9_mlp_fc1", "text encoder 2", "feed-forward"),
        ("text_encoder.text_model.encoder.layers.0.mlp.fc2", "text encoder", "feed-forward"),
        ("unet.mid_block.resnets.0.time_emb_proj", "middle block", "time and norm"),
        ("unet.up_blocks.2.resnets.0.conv_shortcut", "up block 2", "convolution"),
        ("lora_unet_down_blocks_0_downsamplers_0_conv", "down block 0", "convolution"),
        ("lora_unet_input_blocks_4_1_proj_in", "down block 1", "projection"),
        (
            "lora_unet_output_blocks_5_1_transformer_blocks_0_ff_net_2",
            "up block 1",
            "feed-forward",
        ),
        ("lora_unet_double_blocks_7_img_attn_qkv", "double blocks", "attention"),
        ("lora_unet_single_blocks_7_modulation_lin", "single blocks", "time and norm"),
        ("transformer.transformer_blocks.0.attn.to_q", "double blocks", "attention"),
        ("transformer.single_transformer_blocks.0.proj_mlp", "single blocks", "feed-forward"),
        ("lora_unet_something_else", "other", "other"),
    ],
)
def test_a_module_has_a_place_by_its_name_in_any_layout(name, block, kind):
    assert place(name) == (block, kind)


# Intruders


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize(
    "shape",
    [(96, 96), (96, 150), (150, 96), (98, 96), (96, 98), (20, 30), (30, 20), (3, 8)],
    ids=str,
)
def test_intruders_are_those_of_the_full_decomposition(shape, strength):
    weight = decaying(*shape)
    a = draw(6, shape[1], seed=1).astype(float) / np.sqrt(shape[1])
    b = strength * draw(shape[0], 6, seed=2) / np.sqrt(shape[0]) * np.linspace(4, 0.1, 6)
    seen = look(Basis.of(weight), a, b)
    u, s, _ = np.linalg.svd(weight + b @ a, full_matrices=False)
    base = np.linalg.svd(weight, full_matrices=False)[0]
    likeness = np.abs(u[:, :10].T @ base).max(axis=1)
    assert seen.values == pytest.approx(s[:10], rel=1e-8)
    assert seen.likeness == pytest.approx(likeness, abs=1e-6)
    assert seen.intruders == (likeness < 0.5).sum()
    assert strength < 3 or min(shape) < 96 or seen.intruders > 0


def planted(base, *, intrudes):
    """An update of rank 1, as strong as the layer: along its own strongest direction, or not."""
    name = Place(("denoiser.up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k",))
    basis = base.basis(name)
    spread = np.full(len(basis.s), len(basis.s) ** -0.5)
    b = basis.u @ spread if intrudes else basis.u[:, 0]
    a = spread @ basis.vt if intrudes else basis.vt[0]
    return pair(UP, a[None] * basis.s[0] * 1.5, b[:, None])


def test_a_planted_intruder_is_found(demo, written):
    told = spectrum(written(planted(demo, intrudes=True)), demo)
    assert told.modules[0].intruders == 1
    assert told.modules[0].least_like < 0.3
    assert told.modules[0].relative_largest == pytest.approx(1.5, rel=1e-5)
    assert any("1 of 1 module has intruder" in s for s in told.sentences), told.sentences
    assert "the most in up block 1" in told.sentences[-1]


def test_an_update_along_the_base_s_own_directions_does_not_intrude(demo, written):
    told = spectrum(written(planted(demo, intrudes=False)), demo)
    assert told.modules[0].intruders == 0
    assert told.sentences[-1] == "none of 1 module has intruder dimensions"


def test_a_layer_is_decomposed_once_for_several_files(demo, written):
    spectrum(written(planted(demo, intrudes=True)), demo)
    name = Place(("denoiser.up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k",))
    assert demo.basis(name) is demo.basis(name)


# Against a base


def test_updates_are_compared_with_the_base_s_layers(tiny_sd, own_lora):
    told = spectrum(own_lora[0], SdConfig(base=str(tiny_sd)), looked=5)
    model = SdConfig(base=str(tiny_sd)).load(Plan("cpu", "fp32"))
    conv = next(m for m in told.modules if m.name == "lora_unet_mid_block_resnets_0_conv1")
    wanted = model.denoiser.mid_block.resnets[0].conv1.weight.norm().item()
    assert conv.base_norm == pytest.approx(wanted, rel=1e-5)
    assert conv.relative == pytest.approx(conv.norm / wanted, rel=1e-5)
    words = next(m for m in told.modules if m.block == "text encoder")
    assert words.base_norm > 0


def test_only_the_modules_that_change_most_are_looked_into_unless_all_are_asked_for(
    tiny_sd, own_lora
):
    steps = []
    base = Base(SdConfig(base=str(tiny_sd)))
    told = spectrum(own_lora[0], base, looked=5, progress=lambda *step: steps.append(step))
    looked = [module.relative for module in told.modules if module.intruders is not None]
    assert sorted(looked) == sorted(module.relative for module in told.modules)[-5:]
    assert steps == [(done, 5) for done in range(1, 6)]
    assert f"the 5 modules that were looked into ({len(told.modules)} in all)" in told.sentences[-1]
    assert spectrum(own_lora[0], base, looked=None).whole.looked == len(told.modules)


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        (UP, (5, 7), "layer of 5 x 7"),
        (UP.replace("up_blocks_1", "up_blocks_8"), (5, 7), "has no layer"),
        ("lora_unet_double_blocks_0_img_attn_qkv", (5, 7), "was made for FLUX.1"),
    ],
)
def test_a_lora_for_another_model_is_refused(demo, written, name, shape, said):
    path = written(pair(name, draw(2, shape[1]), draw(shape[0], 2)))
    with pytest.raises(AdapterError, match=said):
        spectrum(path, demo)


def test_it_goes_into_json_with_and_without_a_base(tiny_sd, own_lora):
    for base in (None, SdConfig(base=str(tiny_sd))):
        told = json.loads(
            json.dumps(spectrum(own_lora[0], base, looked=1).as_dict(), allow_nan=False)
        )
        assert told["family"] == "Stable Diffusion 1.x"
        assert (told["whole"]["relative"] is None) == (base is None)
