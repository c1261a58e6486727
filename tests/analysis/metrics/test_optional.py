"""Metrics of networks that a person may have: CLIP, DINOv2, LPIPS, pyiqa."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from analysis.metrics import hub, networks
from analysis.metrics.base import Company, Unscored, metrics
from trainer.core.errors import ConfigError, ModelError


def picture(seed=0, size=(64, 64)):
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))


def made(kind, /, **fields):
    return metrics[kind].model_validate(fields)


@pytest.fixture
def likeness(request, clip_folder, dino_folder):
    name = request.param
    return made(name, weights=str(clip_folder if name == "clip_i" else dino_folder))


# Likeness to the references


both = pytest.mark.parametrize("likeness", ["clip_i", "dinov2"], indirect=True)


@both
def test_a_picture_is_one_with_itself_and_less_with_another(likeness):
    own, other = likeness.score([picture(0), picture(1)], Company(training=[picture(0)]))
    assert own == pytest.approx(1, abs=1e-5)
    assert -1 <= other < 0.9999


@both
def test_likeness_is_the_mean_over_the_references_held_out_ones_first(likeness):
    shown, references = [picture(9)], [picture(seed) for seed in range(3)]
    each = [likeness.score(shown, Company(held_out=[one]))[0] for one in references]
    training = [picture(20)]
    found = likeness.score(shown, Company(training=training, held_out=references))
    assert found == [pytest.approx(np.mean(each), abs=1e-6)]


@both
def test_the_order_is_kept_and_sizes_may_differ(likeness):
    shown = [picture(seed, (64 + 8 * seed, 80)) for seed in range(20)]
    company = Company(training=[picture(50)])
    together = likeness.score(shown, company)
    apart = [likeness.score([one], company)[0] for one in reversed(shown)]
    assert together == pytest.approx(apart[::-1], abs=1e-5)
    assert likeness.score([], company) == []


def test_what_a_network_sees_has_length_one_and_is_looked_up_the_second_time(dino_folder):
    eye = networks.dino(str(dino_folder))
    shown = [picture(seed) for seed in (70, 71, 70)]
    seen = eye(shown)
    assert np.linalg.norm(seen, axis=1) == pytest.approx(np.ones(3))
    assert (seen[0] == seen[2]).all()
    blind = networks.Onlooker(None, eye.framing, eye.device, eye._known)
    assert (blind([one.copy() for one in shown]) == seen).all()
    assert networks.dino(str(dino_folder)) is eye


def test_it_sees_what_transformers_own_preparation_shows(clip_folder):
    from transformers import CLIPImageProcessor, CLIPModel

    shown = [picture(3, (48, 64)), picture(4, (200, 100))]
    prepare = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    model = CLIPModel.from_pretrained(clip_folder).eval()
    with torch.no_grad():
        rows = [
            model.get_image_features(
                **prepare(images=one.copy(), return_tensors="pt")
            ).pooler_output
            for one in shown
        ]
    expected = torch.nn.functional.normalize(torch.cat(rows)).numpy()
    seen = networks.clip(str(clip_folder)).pictures(shown)
    assert (seen * expected).sum(axis=1) == pytest.approx([1, 1], abs=1e-3)


# Fit to the prompt


def test_fit_to_the_prompt_is_the_cosine_of_picture_and_text(clip_folder):
    from transformers import CLIPModel, CLIPTokenizer

    prompts = ["a photo of a fox", "red dog, ü", "a photo of a fox"]
    shown = [picture(seed) for seed in range(3)]
    found = made("clip_t", weights=str(clip_folder)).score(shown, Company(prompts=prompts))
    model = CLIPModel.from_pretrained(clip_folder).eval()
    tokenizer = CLIPTokenizer.from_pretrained(clip_folder)
    tokens = tokenizer(prompts, padding="max_length", max_length=16, return_tensors="pt")
    with torch.no_grad():
        texts = model.get_text_features(**tokens).pooler_output
    texts = torch.nn.functional.normalize(texts).numpy()
    seen = networks.clip(str(clip_folder)).pictures(shown)
    assert found == pytest.approx(list((seen * texts).sum(axis=1)), abs=1e-5)


def test_a_long_prompt_is_cut_and_an_empty_one_has_no_number(clip_folder):
    metric = made("clip_t", weights=str(clip_folder))
    long, empty = metric.score([picture()] * 2, Company(prompts=["fox, " * 200, " \n"]))
    assert -1 <= long <= 1
    assert empty == Unscored("missing", "its prompt is empty")
    assert metric.score([], Company()) == []


# LPIPS


@pytest.fixture(scope="module")
def vgg_folders(tmp_path_factory):
    """VGG16's convolutions and LPIPS' linear layers, random: the same shapes, other numbers."""
    from safetensors.torch import save_file
    from torchvision.models import vgg

    weights, heads = tmp_path_factory.mktemp("vgg"), tmp_path_factory.mktemp("heads")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = vgg.make_layers(vgg.cfgs["D"], batch_norm=False)
        for layer in layers:
            if isinstance(layer, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(layer.weight)
        lines = {
            f"lin{i}.model.1.weight": torch.rand(1, channels, 1, 1)
            for i, channels in enumerate((64, 128, 256, 512, 512))
        }
    state = {f"features.{name}": tensor for name, tensor in layers.state_dict().items()}
    save_file(state | {"head.fc.weight": torch.zeros(2)}, weights / "model.safetensors")
    save_file(lines, heads / "model.safetensors")
    return layers.eval(), lines, {"weights": str(weights), "heads": str(heads)}


def by_the_paper(layers, lines, one, other):
    """Eq. 1 of arXiv:1801.03924: weighted squared distances of unit features, averaged."""
    pair = torch.from_numpy(np.stack([one, other])).permute(0, 3, 1, 2).float() / 255
    mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) for v in networks.IMAGENET)
    features, total = (pair - mean) / deviation, 0.0
    with torch.no_grad():
        for index, layer in enumerate(layers):
            features = torch.relu(features) if "ReLU" in str(layer) else layer(features)
            if index in (3, 8, 15, 22, 29):
                unit = features / features.norm(dim=1, keepdim=True)
                weight = lines[f"lin{(3, 8, 15, 22, 29).index(index)}.model.1.weight"][0]
                total += float((weight * (unit[0] - unit[1]) ** 2).sum(dim=0).mean())
    return total


def test_lpips_is_that_of_the_paper(vgg_folders):
    layers, lines, fields = vgg_folders
    metric = made("lpips", **fields)
    assert metric.absent() == ""
    shown, before = [picture(0), picture(1)], [picture(2), picture(1)]
    apart, same = metric.score(shown, Company(controls=before))
    assert apart == pytest.approx(by_the_paper(layers, lines, shown[0], before[0]), rel=1e-4)
    assert same == 0


def test_lpips_says_why_a_picture_has_no_number(vgg_folders):
    shown = [picture(0), picture(0, (8, 64)), picture(0, (48, 48))]
    controls = [None, picture(1), picture(1)]
    missing, small, resized = made("lpips", **vgg_folders[2]).score(
        shown, Company(controls=controls)
    )
    assert (missing.status, small.status) == ("missing", "too_small")
    assert resized > 0


def test_linear_layers_of_another_network_are_refused(vgg_folders, tmp_path):
    from safetensors.torch import save_file

    lines = dict(vgg_folders[1])
    lines["lin3.model.1.weight"] = torch.rand(1, 256, 1, 1)
    save_file(lines, tmp_path / "model.safetensors")
    metric = made("lpips", weights=vgg_folders[2]["weights"], heads=str(tmp_path))
    with pytest.raises(ModelError, match="lin3"):
        metric.score([picture()], Company(controls=[picture(1)]))


# Absent


@pytest.mark.parametrize("name", ["clip_i", "clip_t", "dinov2"])
def test_weights_that_are_not_here_are_named_in_one_sentence(name):
    why = made(name, weights="nobody/has-this").absent()
    assert why == (
        "nobody/has-this is not on this machine, and the hub is not asked (HF_HUB_OFFLINE)"
    )
    assert made(name, weights="no/such/folder").absent() == "there is no folder no/such/folder"


def test_what_is_there_is_not_absent(clip_folder, dino_folder):
    for name, folder in (("clip_i", clip_folder), ("clip_t", clip_folder), ("dinov2", dino_folder)):
        assert made(name, weights=str(folder)).absent() == ""


def test_another_network_a_pickle_and_a_half_folder_are_told_apart(
    clip_folder, dino_folder, tmp_path
):
    assert "holds 'clip'" in made("dinov2", weights=str(clip_folder)).absent()
    assert (
        "holds 'dinov2'"
        in made("clip_t", weights=str(dino_folder)).absent()
        + made("clip_i", weights=str(dino_folder)).absent()
    )
    copy = tmp_path / "copy"
    shutil.copytree(clip_folder, copy)
    for name in ("vocab.json", "merges.txt", "tokenizer.json"):
        (copy / name).unlink(missing_ok=True)
    assert made("clip_t", weights=str(copy)).absent().endswith("it has no tokenizer")
    assert made("clip_i", weights=str(copy)).absent() == ""
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    assert "a pickle" in made("clip_i", weights=str(copy)).absent()
    (copy / "config.json").unlink()
    assert "no config.json" in made("clip_i", weights=str(copy)).absent()


def test_a_damaged_file_is_told_in_plain_words(dino_folder, tmp_path):
    copy = tmp_path / "cut"
    shutil.copytree(dino_folder, copy)
    file = copy / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelError, match="cannot be read"):
        made("dinov2", weights=str(copy)).score([picture()], Company(training=[picture()]))


def test_a_network_without_all_its_tensors_is_refused(dino_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    copy = tmp_path / "partly"
    shutil.copytree(dino_folder, copy)
    state = load_file(copy / "model.safetensors")
    state.pop("layernorm.weight")
    save_file(state, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"layernorm\.weight"):
        networks.dino(str(copy))


def test_code_beside_a_model_is_not_run(dino_folder, tmp_path):
    copy, trace = tmp_path / "scripted", tmp_path / "ran"
    shutil.copytree(dino_folder, copy)
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    config["auto_map"] = {"AutoModel": "evil.Evil", "AutoConfig": "evil.Config"}
    (copy / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (copy / "evil.py").write_text(f"open({str(trace)!r}, 'w')\n", encoding="utf-8")
    networks.dino(str(copy))([picture()])
    assert not trace.exists()


def test_a_copy_that_the_hub_keeps_here_is_found_without_asking(dino_folder, tmp_path, monkeypatch):
    import huggingface_hub.constants

    kept = tmp_path / "models--some--dino"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("a" * 40, encoding="utf-8")
    shutil.copytree(dino_folder, kept / "snapshots" / ("a" * 40))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    assert hub.why_not("some/dino", networks.DINO_TYPES) == ""
    assert hub.located("some/dino").parent.name == "snapshots"
    with pytest.raises(ModelError, match="some/other"):
        hub.located("some/other")


def test_a_hub_that_does_not_answer_is_a_sentence_and_no_crash():
    line = "from analysis.metrics.hub import why_not; print(why_not('some/model', ()))"
    nobody = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}
    around = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    done = subprocess.run(
        [sys.executable, "-c", line],
        cwd=Path(__file__).parents[3],
        env=around | nobody,
        capture_output=True,
        text=True,
    )
    assert "cannot be reached" in done.stdout, done.stderr


# pyiqa


STAND_IN = '''
"""The face of pyiqa that is used, with metrics that can be reckoned by hand."""
import os
import torch

def list_models():
    return ["mean", "dark", "difference", "fid", "heavy", "hollow"]

class Metric:
    def __init__(self, name):
        self.name = name
        self.lower_better = name in ("dark", "difference")
        self.metric_mode = "FR" if name == "difference" else "NR"

    def __call__(self, shown, beside=None):
        assert shown.shape[-1] > 8, "too small for this"
        assert 0 <= shown.min() and shown.max() <= 1
        if self.name == "hollow":
            return torch.tensor(float("nan"))
        return ((shown - beside).abs() if beside is not None else shown).mean()

def create_metric(name, device):
    print("Loading pretrained model")
    if name == "heavy":
        raise OSError("its weights cannot be fetched")
    assert os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] == "1"
    return Metric(name)
'''


@pytest.fixture
def pyiqa(tmp_path, monkeypatch):
    """Stands in for the package, which may not be shipped and brings gigabytes."""
    (tmp_path / "pyiqa").mkdir()
    (tmp_path / "pyiqa" / "__init__.py").write_text(STAND_IN, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("analysis.metrics.pyiqa")._loaded.cache_clear()
    yield
    sys.modules.pop("pyiqa", None)
    importlib.import_module("analysis.metrics.pyiqa")._loaded.cache_clear()


LIGHT, DARK = np.full((16, 16, 3), 204, np.uint8), np.full((16, 16, 3), 51, np.uint8)


def test_a_pyiqa_metric_is_turned_so_that_higher_is_better(pyiqa, capsys):
    shown = Company(controls=[None, DARK])
    assert made("pyiqa", name="mean").score([LIGHT, DARK], shown) == pytest.approx([0.8, 0.2])
    assert made("pyiqa", name="dark").score([LIGHT, DARK], shown) == pytest.approx([-0.8, -0.2])
    asked = made("pyiqa", name="mean", lower_is_better=True)
    assert asked.score([LIGHT], Company()) == pytest.approx([-0.8])
    assert capsys.readouterr().out == ""


def test_a_pyiqa_metric_that_compares_is_given_the_control(pyiqa):
    larger = np.full((32, 32, 3), 51, np.uint8)
    far, lone = made("pyiqa", name="difference").score(
        [LIGHT, LIGHT], Company(controls=[larger, None])
    )
    assert far == pytest.approx(-0.6)
    assert lone.status == "missing"


def test_what_pyiqa_cannot_score_has_a_reason(pyiqa):
    (small,) = made("pyiqa", name="mean").score([LIGHT[:, :8]], Company())
    assert small == Unscored("refused", "pyiqa cannot score it: too small for this")
    (hollow,) = made("pyiqa", name="hollow").score([LIGHT], Company())
    assert hollow.status == "undefined"


@pytest.mark.parametrize(
    ("name", "words"), [("maen", "no metric 'maen'"), ("fid", "single"), ("heavy", "fetched")]
)
def test_a_pyiqa_metric_that_cannot_be_had_is_refused(pyiqa, name, words):
    with pytest.raises(ConfigError, match=words):
        made("pyiqa", name=name).score([LIGHT], Company())


@pytest.mark.skipif(importlib.util.find_spec("pyiqa") is not None, reason="pyiqa is installed")
def test_without_pyiqa_a_sentence_says_so():
    assert made("pyiqa").absent() == "the package pyiqa is not installed"
