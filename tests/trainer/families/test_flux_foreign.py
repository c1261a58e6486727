"""FLUX.1 LoRA files as other programs write them: all of it is read, or refused by name."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from trainer.core.device import plan
from trainer.core.errors import AdapterError
from trainer.engine.bank import Bank, Row
from trainer.engine.sampling import Recipe, encode, render_arrays, use_lora
from trainer.families.flux import NAMING, FluxConfig
from trainer.weights import files

WIDTH, RANK = 32, 3
STACKED = {
    "double_blocks.0.img_attn.qkv": 3 * WIDTH,
    "double_blocks.0.txt_attn.qkv": 3 * WIDTH,
    "single_blocks.1.linear1": 7 * WIDTH,
}
OURS = [
    *(f"denoiser.transformer_blocks.0.attn.{n}" for n in ("to_q", "to_k", "to_v")),
    *(f"denoiser.transformer_blocks.0.attn.add_{x}_proj" for x in "qkv"),
    *(f"denoiser.single_transformer_blocks.1.attn.to_{x}" for x in "qkv"),
    "denoiser.single_transformer_blocks.1.proj_mlp",
]


def drawn(apart):
    """A and B of three stacked modules: trained as one, or a block for each member."""
    draws = torch.Generator().manual_seed(2)
    for name, rows in STACKED.items():
        count = rows // WIDTH if rows == 3 * WIDTH else 4
        rank = RANK * count if apart else RANK
        a = torch.randn(rank, WIDTH, generator=draws)
        b = torch.randn(rows, rank, generator=draws)
        if apart:
            starts = [WIDTH * i for i in range(count)] + [rows]
            for i in range(count):
                kept = b[starts[i] : starts[i + 1], RANK * i : RANK * (i + 1)].clone()
                b[starts[i] : starts[i + 1]] = 0
                b[starts[i] : starts[i + 1], RANK * i : RANK * (i + 1)] = kept
        yield name, a, b


def kohya(apart, alpha=None):
    tensors = {}
    for number, (name, a, b) in enumerate(drawn(apart)):
        key = f"lora_unet_{name.replace('.', '_')}"
        tensors |= {f"{key}.lora_down.weight": a, f"{key}.lora_up.weight": b}
        if alpha is not None:
            tensors[f"{key}.alpha"] = torch.tensor(alpha + number)
    return tensors


def dotted(apart, alpha=None):
    tensors = {}
    for number, (name, a, b) in enumerate(drawn(apart)):
        key = f"diffusion_model.{name}"
        tensors |= {f"{key}.lora_A.weight": a, f"{key}.lora_B.weight": b}
        if alpha is not None:
            tensors[f"{key}.alpha"] = torch.tensor(alpha + number)
    return tensors


def written(tensors, path):
    save_file(tensors, path)
    return path


def stacked(weights):
    """The updates of all members row upon row, by the first code's module."""
    updates = {name: b @ a * (alpha / a.shape[0]) for name, a, b, alpha in weights}
    found, left = {}, iter(OURS)
    for name, rows in STACKED.items():
        found[name] = torch.cat([updates[next(left)] for _ in range(3 if rows == 96 else 4)])
    return found


@pytest.mark.parametrize("make", [kohya, dotted])
@pytest.mark.parametrize("apart", [False, True], ids=["trained as one", "trained apart"])
@pytest.mark.parametrize("alpha", [None, 1.5], ids=["no alpha", "each its own alpha"])
def test_nothing_of_a_stacked_file_is_lost(tmp_path, make, apart, alpha):
    path = written(make(apart, alpha), tmp_path / "theirs.safetensors")
    weights = files.read(path).weights(NAMING)
    assert sorted(weights.alphas) == sorted(OURS)
    seen = stacked(weights)
    for number, (name, a, b) in enumerate(drawn(apart)):
        scale = 1.0 if alpha is None else (alpha + number) / a.shape[0]
        assert (seen[name] - scale * (b @ a)).abs().max() < 1e-5


@pytest.mark.parametrize("alpha", [None, 6.0])
def test_a_file_with_diffusers_names_and_its_own_alphas_is_read_whole(tmp_path, alpha):
    """As ai-toolkit (no alpha) and others write it."""
    names = [name.replace("denoiser.", "transformer.") for name in OURS]
    tensors = {}
    for name in names:
        rows = 4 * WIDTH if name.endswith("proj_mlp") else WIDTH
        tensors[f"{name}.lora_A.weight"] = torch.ones(RANK, WIDTH)
        tensors[f"{name}.lora_B.weight"] = torch.ones(rows, RANK)
    if alpha is not None:
        tensors[f"{names[0]}.alpha"] = torch.tensor(alpha)
    weights = files.read(written(tensors, tmp_path / "theirs.safetensors")).weights(NAMING)
    assert sorted(weights.alphas) == sorted(OURS)
    assert weights.alphas[OURS[0]] == (RANK if alpha is None else alpha)
    assert {weights.alphas[name] for name in OURS[1:]} == {float(RANK)}


@pytest.mark.parametrize("make", [kohya, dotted])
@pytest.mark.parametrize("apart", [False, True], ids=["trained as one", "trained apart"])
def test_a_stacked_file_gives_one_picture_whichever_way_it_is_loaded(
    tiny_flux, tmp_path, make, apart
):
    path = written(make(apart, 0.5), tmp_path / "theirs.safetensors")
    model = load(tiny_flux)
    base = picture(model)
    with Bank(model, {"one": files.read(path).weights(NAMING)}).rows([Row("one", 1.0)]):
        ours = picture(model)
    use_lora(model, path)
    assert abs(ours - base).max() > 8 / 255
    assert abs(picture(model) - ours).max() < 1e-4


def load(base):
    return FluxConfig(base=str(base), resolution=64, max_tokens=16).load(plan("cpu", "fp32"))


def picture(model):
    return render_arrays(model, encode(model, ["a red fox"], ""), [5], Recipe((64, 64), 2, 3.5))[0]


KEY = "lora_unet_double_blocks_0_img_attn_qkv"


@pytest.mark.parametrize(
    ("keys", "method"),
    [
        ([f"{KEY}.dora_scale"], "DoRA"),
        (["transformer.transformer_blocks.0.attn.to_q.lora_magnitude_vector"], "DoRA"),
        ([f"{KEY}.hada_w1_a", f"{KEY}.hada_w1_b", f"{KEY}.hada_w2_a"], "LoHa"),
        ([f"{KEY}.lokr_w1", f"{KEY}.lokr_w2_a"], "LoKr"),
        (["diffusion_model.double_blocks.0.img_attn.qkv.oft_blocks"], "OFT"),
    ],
)
@pytest.mark.parametrize("mixed", [False, True], ids=["alone", "beside a plain LoRA"])
def test_another_method_is_refused_by_its_name(tmp_path, keys, method, mixed):
    tensors = {key: torch.ones(2, 2) for key in keys}
    path = written(tensors | (kohya(False) if mixed else {}), tmp_path / "theirs.safetensors")
    with pytest.raises(AdapterError, match=rf"{method}.*: .*{keys[0]}") as refused:
        files.read(path).weights(NAMING)
    assert refused.value.where == str(path)
