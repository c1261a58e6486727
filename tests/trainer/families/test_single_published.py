"""The settings that ship: those of the published models, and enough to read a file alone."""

import json

import pytest
import torch

from tests.trainer.families import first_code
from trainer.core.device import Plan
from trainer.core.errors import ModelError
from trainer.engine.sampling import Recipe, encode, render
from trainer.families.base import families
from trainer.families.finding import find_model
from trainer.families.reading import built_on_meta
from trainer.families.single.measured import measure
from trainer.families.single.published import clip_tokenizer, published

VARIANTS = ("sd1", "sd2", "sd2-v", "sdxl", "flux-dev", "flux-schnell")
PARAMETERS = {
    ("sd1", "unet"): 859_520_964,
    ("sd1", "vae"): 83_653_863,
    ("sd1", "text_encoder"): 123_060_480,
    ("sd2", "unet"): 865_910_724,
    ("sd2", "text_encoder"): 340_387_840,
    ("sdxl", "unet"): 2_567_463_684,
    ("sdxl", "text_encoder_2"): 694_659_840,
    ("flux-dev", "transformer"): 11_901_408_320,
    ("flux-dev", "text_encoder_2"): 4_762_310_656,
    ("flux-dev", "vae"): 83_819_683,
}
"""Of the published models."""


def kind_of(variant):
    return {"sd1": "sd", "sd2": "sd", "sd2-v": "sd", "sdxl": "sdxl"}.get(variant, "flux")


def classes(variant):
    import importlib

    parts = families[kind_of(variant)].parts
    return {
        name: getattr(importlib.import_module(first.split(".")[0]), first.split(".")[1])
        for name, (first, *_) in parts.items()
        if "tokenizer" not in name
    }


def told_by(network):
    """A network's configuration."""
    config = network.config
    return dict(config) if isinstance(config, dict) else config.to_dict()


NETWORKS = [(variant, name) for variant in VARIANTS for name in classes(variant)]


@pytest.mark.parametrize(("variant", "part"), NETWORKS)
def test_what_shapes_tell_is_what_is_published(variant, part):
    cls, settings = classes(variant)[part], published(variant)[part]
    network = built_on_meta(cls, settings)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = measure(cls.__name__, shapes)
    told = told_by(network)
    plain = json.loads(json.dumps({name: told[name] for name in found}))
    assert {k: v for k, v in found.items() if plain[k] != v} == {}


@pytest.mark.parametrize(("variant", "part"), PARAMETERS)
def test_networks_are_as_large_as_the_published_ones(variant, part):
    network = built_on_meta(classes(variant)[part], published(variant)[part])
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS[variant, part]


def test_the_words_of_clip_have_their_published_numbers():
    tokenizer = clip_tokenizer({"pad_token": "<|endoftext|>"})
    assert len(tokenizer) == 49408
    told = tokenizer("a photo of a cat").input_ids
    assert told == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert tokenizer("").input_ids == [49406, 49407]


def test_what_fills_a_caption_up_is_each_encoders_own():
    for variant, name, number in (("sdxl", "tokenizer", 49407), ("sdxl", "tokenizer_2", 0)):
        tokenizer = clip_tokenizer(published(variant)[name])
        assert tokenizer("a", padding="max_length").input_ids[-1] == number


NARROW = {
    "sd1": {"unet": {"block_out_channels": [32, 64, 64, 64], "cross_attention_dim": 64}},
    "sd2-v": {
        "unet": {
            "block_out_channels": [64, 64, 128, 128],
            "cross_attention_dim": 64,
            "attention_head_dim": [1, 1, 2, 2],
        }
    },
    "sdxl": {
        "unet": {
            "block_out_channels": [64, 64, 128],
            "cross_attention_dim": 192,
            "attention_head_dim": [1, 1, 2],
            "projection_class_embeddings_input_dim": 6 * 256 + 128,
        },
        "text_encoder_2": {
            "hidden_size": 128,
            "num_attention_heads": 2,
            "intermediate_size": 128,
            "projection_dim": 128,
            "num_hidden_layers": 3,
        },
    },
}
VAE = {"block_out_channels": [32, 32, 64, 64]}
WORDS = {"hidden_size": 64, "num_attention_heads": 1, "intermediate_size": 128}


@pytest.fixture(scope="module", params=NARROW)
def narrow(request, tmp_path_factory):
    """A model of published settings but for widths; what it is made of, and its file."""
    variant = request.param
    place = tmp_path_factory.mktemp(variant)
    networks, asked = {}, NARROW[variant]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for name, cls in ((n, c) for n, c in classes(variant).items() if n != "scheduler"):
            usual = WORDS if name.startswith("text") else VAE if name == "vae" else {}
            settings = {**published(variant)[name], **usual, **asked.get(name, {})}
            plain = built_on_meta(cls, settings).to_empty(device="cpu")
            network = (
                type(plain).from_config(plain.config)
                if name in ("unet", "vae")
                else cls(cls.config_class.from_dict(settings))
            )
            network.save_pretrained(place / name)
            networks[name] = network.eval()
    state = (first_code.sdxl_state if variant == "sdxl" else first_code.sd_state)(
        place, **({"second": True} if variant.startswith("sd2") else {})
    )
    return variant, networks, first_code.write(state, place / "model.safetensors")


def asked_of(variant, file):
    noise = {"noise": {"prediction": "v_prediction"}} if variant == "sd2-v" else {}
    return families[kind_of(variant)].model_validate({"base": str(file), **noise})


def test_a_file_is_read_alone(narrow):
    variant, networks, file = narrow
    model = asked_of(variant, file).load(Plan("cpu", "fp32"))
    found = {"unet": model.denoiser, "vae": model.vae, **model.text_encoders}
    for name, network in networks.items():
        wanted, ours = network.state_dict(), found[name].state_dict()
        assert wanted.keys() == ours.keys()
        assert all(torch.equal(wanted[key], ours[key]) for key in wanted), name
        told = ("attention_head_dim", "num_attention_heads", "hidden_act", "scaling_factor")
        for setting in (s for s in told if s in told_by(network)):
            assert told_by(network)[setting] == told_by(found[name])[setting]
    assert model.prediction == ("v_prediction" if variant == "sd2-v" else "epsilon")
    words = encode(model, ["a fox"], "")
    (picture,) = render(model, words, [0], Recipe((64, 64), 2, 3.0, ""))
    assert picture.size == (64, 64)


@pytest.mark.parametrize("narrow", ["sd2-v"], indirect=True)
def test_a_second_generations_file_must_be_said_to_answer_noise_or_velocity(narrow):
    _, _, file = narrow
    with pytest.raises(ModelError, match="the noise or the velocity") as told:
        find_model(families["sd"].model_validate({"base": str(file)}))
    assert "model.noise.prediction = 'v_prediction'" in told.value.hint
    plain = {"base": str(file), "noise": {"prediction": "epsilon"}}
    model = find_model(families["sd"].model_validate(plain))
    assert model.scheduler().config.prediction_type == "epsilon"
    assert model.settings("unet").sample_size == 64


@pytest.mark.parametrize("narrow", ["sdxl"], indirect=True)
@pytest.mark.parametrize("told", ["marks", "header"])
def test_a_file_may_say_itself_that_it_answers_the_velocity(narrow, told, tmp_path):
    variant, _, file = narrow
    from safetensors.torch import load_file

    state, header = load_file(file), None
    if told == "marks":
        state |= {"v_pred": torch.zeros(1), "ztsnr": torch.zeros(1)}
    else:
        header = {"modelspec.prediction_type": "v"}
    marked = first_code.write(state, tmp_path / "v.safetensors", header)
    plain = find_model(asked_of(variant, file)).scheduler().config
    config = find_model(asked_of(variant, marked)).scheduler().config
    assert (plain.prediction_type, config.prediction_type) == ("epsilon", "v_prediction")
    assert config.rescale_betas_zero_snr == (told == "marks")
