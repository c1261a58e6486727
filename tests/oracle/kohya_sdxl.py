"""kohya-ss/sd-scripts as the judge of our SDXL LoRA files, on its own UNet. Holds none of its code.

Set up as tests/oracle/kohya_lora.py says, then

    SD_SCRIPTS_DIR=sd-scripts python -m pytest -s -m download tests/oracle/kohya_sdxl.py

The figures seen are in docs/oracles.md.
"""

import importlib

import pytest
import torch
from diffusers.models.embeddings import get_timestep_embedding

from tests.conftest import (
    tiny_scheduler,
    tiny_sdxl_unet,
    tiny_tokenizer,
    tiny_vae,
    tiny_words,
)
from tests.oracle.kohya_lora import Wrapped, checkout, peer, say
from tests.trainer.weights.tiny_models import about, randomise
from trainer.adapters.lora import LoraConfig
from trainer.core.device import Plan
from trainer.families.sdxl import NAMING, SdxlConfig
from trainer.weights import files
from trainer.weights.attach import attach
from trainer.weights.layouts import Weights

__all__ = ["checkout", "peer"]

pytestmark = [pytest.mark.download, pytest.mark.filterwarnings("ignore")]

POOLED, SIZE = 48, 8
SIZES = torch.tensor([[67.0, 150, 0, 4, 64, 64]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """As deep as SDXL, since sd-scripts' UNet knows no other, and a fifth as wide."""
    from diffusers import StableDiffusionXLPipeline
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    place = tmp_path_factory.mktemp("wide")
    torch.manual_seed(0)
    first, second = tiny_tokenizer(place / "1"), tiny_tokenizer(place / "2", pad_token="!")
    StableDiffusionXLPipeline(
        vae=tiny_vae(),
        text_encoder=CLIPTextModel(tiny_words(first, hidden_size=64, num_hidden_layers=3)),
        text_encoder_2=CLIPTextModelWithProjection(
            tiny_words(second, hidden_size=1984, projection_dim=POOLED)
        ),
        tokenizer=first,
        tokenizer_2=second,
        unet=tiny_sdxl_unet(
            block_out_channels=(64, 128, 256),
            transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(1, 2, 4),
            cross_attention_dim=2048,
            norm_num_groups=32,
        ),
        scheduler=tiny_scheduler(),
        add_watermarker=False,
    ).save_pretrained(place / "model")
    return place / "model"


@pytest.fixture(scope="module")
def their_unet(peer):
    """Makes sd-scripts' UNet with the weights of ours."""
    module = importlib.import_module("library.sdxl_original_unet")
    convert = importlib.import_module("library.sdxl_model_util")
    module.MODEL_CHANNELS, module.TIME_EMBED_DIM = 64, 256
    module.ADM_IN_CHANNELS = POOLED + 6 * SIZE

    def make(ours):
        theirs = module.SdxlUNet2DConditionModel().eval()
        state = convert.convert_diffusers_unet_state_dict_to_sdxl(ours.state_dict())
        theirs.load_state_dict(state)
        return theirs

    return make


def load(folder):
    return SdxlConfig(base=str(folder), resolution=64).load(Plan("cpu", "fp32"))


def ours(model):
    with torch.no_grad():
        words = model.encode_captions(("a photo of sks fox",))
        return model.denoiser(noisy(), torch.tensor([500]), **model._arguments(words, SIZES))[0]


def theirs(model, unet):
    """sd-scripts is given sizes as sinusoids behind the pooled words."""
    with torch.no_grad():
        words = model.encode_captions(("a photo of sks fox",))
        sizes = get_timestep_embedding(
            SIZES.flatten(), SIZE, flip_sin_to_cos=True, downscale_freq_shift=0
        )
        told = torch.cat((words["text_embeds"], sizes.reshape(1, -1)), dim=1)
        return unet(noisy(), torch.tensor([500]), words["encoder_hidden_states"], told)


def noisy():
    return torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("targets", ["attention", "linear", "linear+conv"])
def test_sd_scripts_computes_what_the_trained_model_does(
    peer, their_unet, folder, tmp_path, targets, request
):
    model = load(folder)
    base = ours(model)
    unet = their_unet(model.denoiser)
    apart = (theirs(model, unet) - base).abs().max().item()
    config = LoraConfig(rank=4, alpha=2.0, targets=targets)
    adapter = randomise(attach(model, config, text_encoders=model.text_encoders, seed=5), 0.1)
    trained = ours(model)
    path = tmp_path / "lora.safetensors"
    weights = Weights(adapter.state(), adapter.alphas())
    files.export(path, weights, about(modelspec=model.modelspec), NAMING, precision="fp32")

    fresh = load(folder)
    texts = list(fresh.text_encoders.values())
    texts[0] = Wrapped(texts[0])
    network, loaded = peer.create_network_from_weights(1.0, str(path), None, texts, unet)
    network.apply_to(texts, unet, apply_text_encoder=True, apply_unet=True)
    fit = network.load_state_dict(loaded, strict=False)
    seen = theirs(fresh, unet)

    moved, off = (trained - base).abs().max().item(), (seen - trained).abs().max().item()
    say(request, modules=len(adapter.modules), apart=apart, moved=moved, off=off)
    assert fit.missing_keys == []
    assert fit.unexpected_keys == []
    assert len(network.unet_loras) + len(network.text_encoder_loras) == len(adapter.modules)
    assert apart <= 1e-5
    assert moved > 1e-2
    assert off <= 1e-5 * max(1.0, moved)
