"""What an adapter adds to a model, and what it leaves alone."""

import re

import pytest
import torch
from torch import nn

from tests.trainer.weights.tiny_models import adapted, answer, load, randomise
from trainer.adapters.lora import LoraConfig
from trainer.core.errors import AdapterError, ConfigError, DivergedError
from trainer.weights.attach import attach, resolve


def outputs(model):
    return answer(model.denoiser, model.text_encoders["text_encoder"])


def small(model, targets="attention", *, text_encoder=False, seed=1):
    return attach(
        model,
        LoraConfig(rank=4, alpha=2, targets=targets),
        text_encoders=model.text_encoders if text_encoder else (),
        seed=seed,
    )


@pytest.mark.parametrize("choice", ["attention", "attention+ff", "linear", "linear+conv"])
def test_a_named_choice_adapts_exactly_the_modules_that_its_expression_matches(model, choice):
    pattern = model.targets[choice]
    wanted = [
        path
        for path, module in model.denoiser.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and re.fullmatch(pattern, path)
    ]
    assert [module.path for module in small(model, choice).modules] == wanted


def test_linear_and_conv_reaches_every_layer_of_the_blocks(model):
    left = {
        path
        for path, module in model.denoiser.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    } - set(resolve(model, "linear+conv"))
    assert left == {"conv_in", "conv_out", "time_embedding.linear_1", "time_embedding.linear_2"}


def test_an_expression_must_match_whole_paths(model):
    adapter = small(model, r".*\.attn2\.to_k")
    assert {module.path.rsplit(".", 2)[1] for module in adapter.modules} == {"attn2"}


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ("atention", "'attention'"),
        ("attn2.to_k", r".*\\.(attn2.to_k)"),
        ("nothing like it", "'linear+conv', or an expression"),
        ("(", "unterminated"),
        ("mid_block", "matches no linear"),
    ],
)
def test_targets_that_mean_nothing_are_named_with_a_cure(sd1, targets, said):
    with pytest.raises(ConfigError) as caught:
        small(sd1, targets)
    assert caught.value.where == "adapter.targets"
    assert repr(targets) in caught.value.problem
    assert said in str(caught.value)


def test_a_fresh_adapter_changes_nothing(model):
    before = outputs(model)
    small(model, "linear+conv", text_encoder=True)
    assert torch.equal(outputs(model), before)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_only_the_adapter_trains_and_in_fp32(sd1_folder, precision):
    model = load(sd1_folder, precision)
    adapter = small(model, "linear+conv", text_encoder=True)
    networks = (model.denoiser, *model.text_encoders.values())
    training = {id(p) for n in networks for p in n.parameters() if p.requires_grad}
    assert training == {id(p) for p in adapter.parameters()}
    assert {p.dtype for p in adapter.parameters()} == {torch.float32}


def test_the_text_encoder_is_left_alone_unless_asked(model):
    assert small(model).parts == ["denoiser"]
    assert small(load_again(model), text_encoder=True).parts == ["denoiser", "text_encoder"]


def test_every_parameter_gets_a_gradient(sd1):
    adapter = adapted(sd1)
    words = sd1.encode_captions(("a dog",))["encoder_hidden_states"]
    sd1.denoiser(torch.ones(1, 4, 8, 8), torch.tensor(10), words)[0].square().mean().backward()
    assert [n for n, p in adapter.named() if p.grad is None or not p.grad.any()] == []


def test_first_values_depend_on_seed_and_path_alone(sd1_folder):
    torch.manual_seed(0)
    alone = small(load(sd1_folder), r".*\.attn1\.to_q", seed=3).state()
    torch.manual_seed(1)
    among = small(load(sd1_folder), "linear+conv", text_encoder=True, seed=3).state()
    other = small(load(sd1_folder), r".*\.attn1\.to_q", seed=4).state()
    downs = [name for name in alone if name.endswith("lora_A")]
    assert all(torch.equal(alone[name], among[name]) for name in downs)
    assert not any(torch.equal(alone[name], other[name]) for name in downs)


def test_attaching_leaves_the_global_generator_where_it_would_be_anyway(sd1_folder):
    states = []
    for seed in (3, 4):
        torch.manual_seed(9)
        small(load(sd1_folder), seed=seed)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_first_values_are_uniform_within_one_over_root_fan_in(sd1):
    for module in small(sd1, "linear+conv").modules:
        bound = module.a[0].numel() ** -0.5
        assert module.a.abs().max() <= bound
        assert module.a.abs().mean().item() == pytest.approx(bound / 2, rel=0.3)
        assert not module.b.any()


def test_dropout_acts_only_while_the_network_trains(sd1):
    config = LoraConfig(rank=4, alpha=2, targets="attention", dropout=0.5)
    randomise(attach(sd1, config, text_encoders=(), seed=1))
    assert torch.equal(outputs(sd1), outputs(sd1))
    sd1.denoiser.train()
    assert not torch.equal(outputs(sd1), outputs(sd1))


def test_another_base_layer_below_the_adapter_makes_no_difference_to_its_state(sd1):
    adapter = adapted(sd1)
    before = adapter.state()
    for module in adapter.modules:
        module.layer.base_layer = nn.Identity()
    assert all(torch.equal(value, before[name]) for name, value in adapter.state().items())
    adapter.set_strength(0.5)
    assert {m.layer.scaling["default"] for m in adapter.modules} == {0.25}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_strength_zero_is_the_base_model_exactly(sd1_folder, precision):
    model = load(sd1_folder, precision)
    before = outputs(model)
    adapter = adapted(model)
    trained = outputs(model)
    assert (trained - before).abs().max() > 1e-2
    with adapter.strength(0):
        assert torch.equal(outputs(model), before)
    assert torch.equal(outputs(model), trained)


def test_half_strength_is_half_the_update(sd1):
    adapter = adapted(sd1, targets=r"down_blocks\.0\.attentions\.0\.proj_in")
    module = adapter.modules[0]
    with torch.no_grad():
        pictures = torch.randn(1, module.a.shape[1], 4, 4)
        base = module.layer.base_layer(pictures)
        full = module.layer(pictures) - base
        adapter.set_strength(0.5)
        half = module.layer(pictures) - base
    assert torch.allclose(half, full / 2, atol=1e-6)


def test_state_comes_back_through_load_state(sd1_folder):
    first, second = load(sd1_folder), load(sd1_folder)
    state = adapted(first).state()
    adapter = small(second, "linear+conv", text_encoder=True)
    adapter.load_state(state)
    assert all(torch.equal(value, state[name]) for name, value in adapter.state().items())
    assert torch.equal(outputs(first), outputs(second))


def test_state_is_a_copy(sd1):
    adapter = small(sd1)
    state = adapter.state()
    randomise(adapter)
    assert not any(value.any() for name, value in state.items() if name.endswith("lora_B"))


@pytest.mark.parametrize("change", ["missing", "unknown", "shape"])
def test_a_state_that_does_not_fit_is_refused_whole(sd1, change):
    adapter = small(sd1)
    before = adapter.state()
    state = {name: value + 1 for name, value in before.items()}
    name = list(state)[-1]
    if change == "missing":
        del state[name]
    elif change == "unknown":
        state["denoiser.elsewhere.lora_A"] = torch.zeros(4, 4)
        name = "denoiser.elsewhere.lora_A"
    else:
        state[name] = torch.zeros(3, 3)
    with pytest.raises(AdapterError, match=re.escape(name)):
        adapter.load_state(state)
    assert all(torch.equal(value, before[key]) for key, value in adapter.state().items())


def test_norms_are_those_of_the_whole_update(model):
    adapter = adapted(model)
    norms = adapter.norms()
    for module in adapter.modules:
        a, b = (p.detach().double().flatten(1) for p in (module.a, module.b))
        wanted = (b @ a).norm().item() * module.scaling
        assert norms[module.name] == pytest.approx(wanted, rel=1e-9)


def test_the_census_counts_what_trains(sd1):
    adapter = small(sd1, "linear+conv", text_encoder=True)
    convs = sum(module.a.ndim == 4 for module in adapter.modules)
    linears = sum(module.a.ndim == 2 and module.part == "denoiser" for module in adapter.modules)
    said = adapter.census()
    assert said.startswith(f"{len(adapter.modules)} modules, ")
    assert f"{sum(p.numel() for p in adapter.parameters()):,} parameters" in said
    assert f"{convs} conv" in said
    assert f"{linears} linear" in said
    assert "text_encoder: 8 linear" in said


def test_a_value_that_is_no_number_is_named(sd1):
    adapter = adapted(sd1)
    adapter.check_finite()
    with torch.no_grad():
        adapter.modules[2].b[0, 0] = torch.nan
    with pytest.raises(DivergedError, match=re.escape(f"{adapter.modules[2].name}.lora_B")):
        adapter.check_finite()


def load_again(model):
    return load(model._folder.path)
