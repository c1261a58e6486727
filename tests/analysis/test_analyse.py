"""A whole sweep on a tiny model: rendered, scored, ranked, reported; resumed; refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from analysis.analyse import analyse
from analysis.crew import StoppedError
from analysis.keep import keep
from analysis.sweep import Sweep, sweep_of_run
from app.sweeps import Named, find_sweep, quoted, sweep_of
from tests.conftest import write_pictures
from tests.trainer.training import tiny_job, train_here
from trainer.core.errors import AdapterError, ConfigError, RunError
from trainer.core.events import Decided, Rendered, Warned

ASKED = (
    "analysis.strengths=[0.5, 1.0]",
    "analysis.seeds=2",
    "analysis.steps=2",
    'analysis.prompts=["a photo of sks fox", "a red sks dog"]',
    'analysis.plain_prompts=["a cat"]',
    "analysis.fine=false",
)


@pytest.fixture(scope="module")
def trained(tiny_sd, tmp_path_factory):
    """A run of three epochs with four pictures, one of them held out."""
    place = tmp_path_factory.mktemp("analysed")
    write_pictures(place / "pictures", 4, (64, 64))
    job = tiny_job(
        tiny_sd,
        place / "pictures",
        place / "runs",
        validation={"share": 0.25},
        schedule={"epochs": 3, "batch_size": 2, "accumulate": 1, "seed": 3},
        optimizer={"learning_rate": 5e-2},
        adapter={"rank": 4, "alpha": 4.0, "dropout": 0.0},
    )
    run, _ = train_here(job)
    return run


def done(sweep):
    told = []
    code = analyse(sweep, told.append, lambda: False)
    return code, told, json.loads((sweep.path / "report.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def analysed(trained):
    sweep = sweep_of_run(trained, ASKED)
    return sweep, *done(sweep)


def test_every_cell_is_rendered_and_the_report_is_there(analysed):
    sweep, code, told, report = analysed
    assert len(report["cells"]) == 3 * 2 * 3 * 2
    assert all(cell["status"] == "ok" for cell in report["cells"])
    assert sum(isinstance(event, Rendered) for event in told) == 36 + 6
    assert code in (0, 10)
    for name in ("report.html", "scores.csv", "contact-sheet.png"):
        assert (sweep.path / name).stat().st_size > 1000
    assert any(isinstance(event, Decided) for event in told)


def test_the_models_own_judgement_is_asked_on_held_out_and_class_pictures(analysed):
    *_, report = analysed
    assert set(report["judged"][0]["metrics"]) == {"fit", "drift"}
    assert len(report["references"]["held_out"]) == 1
    assert len(report["references"]["training"]) == 3


def test_metrics_count_on_their_own_prompts(analysed):
    *_, report = analysed
    plain = {i for i, p in enumerate(report["prompts"]) if p["kind"] == "plain"}
    for cell in report["cells"]:
        assert (cell["scores"]["leak"] is not None) == (cell["prompt"] in plain)
        assert (cell["scores"]["fidelity"] is not None) == (cell["prompt"] not in plain)


def test_pictures_carry_the_recipe_that_names_them(analysed):
    sweep, *_ = analysed
    path = next(sweep.cells.glob("*.png"))
    with Image.open(path) as picture:
        facts = json.loads(picture.text["sweetspot"])
    assert {"prompt", "seed", "strength", "steps", "versions", "lora"} <= set(facts)


def test_done_again_it_renders_nothing_and_says_the_same(analysed):
    sweep, code, _, report = analysed
    again, told, second = done(sweep)
    assert not any(isinstance(event, Rendered) for event in told)
    assert again == code
    assert {**second, "made": ""} == {**report, "made": ""}


def test_a_damaged_picture_is_rendered_again(analysed):
    sweep, _, _, report = analysed
    path = sweep.path / report["cells"][3]["picture"]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    _, told, _ = done(sweep)
    assert [event.path for event in told if isinstance(event, Rendered)] == [
        report["cells"][3]["picture"]
    ]
    with Image.open(path) as picture:
        assert picture.size == (64, 64)


def test_stopped_half_way_it_goes_on_with_the_same_passes(trained, analysed, tmp_path):
    _, _, _, report = analysed
    sweep = sweep_of_run(trained, [*ASKED, "analysis.together=5"])
    whole = sweep_of_run(trained, [*ASKED, "analysis.together=5"])
    told = []
    with pytest.raises(StoppedError):
        analyse(sweep, told.append, lambda: sum(isinstance(e, Rendered) for e in told) >= 20)
    _, more, resumed = done(sweep)
    rendered = [e for e in (*told, *more) if isinstance(e, Rendered)]
    assert len(rendered) == len({e.path for e in rendered}) == 42
    *_, unbroken = done(whole)
    assert {**resumed, "made": ""} == {**unbroken, "made": ""}
    assert len(report["cells"]) == len(resumed["cells"])


def test_a_pass_that_a_kill_left_is_taken_in(trained, analysed, tmp_path):
    sweep, _, _, report = analysed
    copy = Sweep(tmp_path / "copy")
    shutil.copytree(sweep.path, copy.path)
    left = copy.cells / "pass-abc"
    left.mkdir()
    moved = [copy.path / cell["picture"] for cell in report["cells"][:3]]
    for path in moved:
        path.rename(left / path.name)
    _, told, _ = done(copy)
    assert not any(isinstance(event, Rendered) for event in told)
    assert all(path.is_file() for path in moved)


def test_a_cell_that_fails_is_told_and_the_rest_goes_on(trained, monkeypatch):
    from analysis import renders

    true_render = renders.render

    def render(model, words, seeds, recipe):
        if "a cat" in words.prompts and 1001 in seeds:
            raise RuntimeError("NaN in the picture")
        return true_render(model, words, seeds, recipe)

    monkeypatch.setattr(renders, "render", render)
    sweep = sweep_of_run(trained, ASKED)
    _, told, report = done(sweep)
    failed = [cell for cell in report["cells"] if cell["status"] == "failed"]
    assert len(failed) == 6
    assert all(cell["reason"] == "NaN in the picture" for cell in failed)
    assert any("could not be rendered" in e.message for e in told if isinstance(e, Warned))
    assert report["verdict"]["state"] != "nothing scored"


def test_a_race_spends_what_it_may(trained):
    sweep = sweep_of_run(trained, [*ASKED, "analysis.renders=22"])
    _, told, report = done(sweep)
    assert sum(isinstance(e, Rendered) and e.epoch > 0 for e in told) <= 22
    assert {cell["status"] for cell in report["cells"]} == {"ok", "not rendered"}


def test_a_race_against_too_little_time_renders_the_least_and_says_so(trained):
    sweep = sweep_of_run(trained, [*ASKED, "analysis.minutes=0.001"])
    _, told, report = done(sweep)
    assert any("there is time for" in e.message for e in told if isinstance(e, Warned))
    assert sum(isinstance(e, Rendered) and e.epoch > 0 for e in told) <= 20
    assert report["verdict"]["state"] != "nothing scored"


def test_a_folder_of_class_pictures_that_is_gone_is_told_and_the_rest_goes_on(trained, tmp_path):
    from analysis.reference import shelf
    from trainer.core import device

    told = []
    config = sweep_of_run(trained, ASKED).config.model_copy(update={"classes": tmp_path / "gone"})
    model = config.model.load(device.plan("cpu", "fp32"))
    there = shelf(config, model, (64, 64), told.append)
    assert len(there.training) == 3
    assert not there.classes
    assert any("no class pictures" in event.message for event in told)


def test_lora_files_from_anywhere_are_swept(trained, tmp_path):
    files = [shutil.copy(path, tmp_path / path.name) for path in sorted(trained.lora.iterdir())]
    base = trained.job.model.base
    named = Named(base=base, overrides=[*ASKED, "model.resolution=64"])
    sweep = sweep_of([Path(f) for f in files], named, tmp_path / "out", tmp_path / "runs")
    code, told, report = done(sweep)
    assert report["source"]["kind"] == "loras"
    assert report["verdict"]["learned_metric"] == "moved"
    assert any("fidelity is not measured" in e.message for e in told if isinstance(e, Warned))
    assert code in (0, 10)


def test_the_chosen_file_is_kept_with_its_verdict(analysed, tmp_path):
    from analysis.table import Setting
    from trainer.weights.files import read

    sweep, *_ = analysed
    kept = keep(sweep, tmp_path, chosen=Setting(2, 0.5), into_alpha=True, overwrite=False)
    header = read(kept.path).metadata
    assert kept.strength == 1.0
    assert json.loads(header["sweetspot.verdict"])["epoch"] == 2
    with pytest.raises(RunError, match="no epoch 9"):
        keep(sweep, tmp_path, chosen=Setting(9, 0.5), into_alpha=False, overwrite=False)


def test_a_file_that_changed_since_is_not_kept(analysed, trained, tmp_path):
    from analysis.table import Setting

    sweep, *_ = analysed
    file = trained.lora / next(c["file"] for c in analysed[3]["checkpoints"] if c["epoch"] == 1)
    whole = file.read_bytes()
    try:
        file.write_bytes(whole[:-4] + bytes(4))
        with pytest.raises(AdapterError, match="changed since it was analysed"):
            keep(sweep, tmp_path, chosen=Setting(1, 0.5), into_alpha=False, overwrite=False)
    finally:
        file.write_bytes(whole)


def test_files_of_one_name_in_two_folders_stay_apart(trained, tmp_path):
    from analysis.table import Setting

    files = sorted(trained.lora.glob("*.safetensors"))
    for folder, file in zip(("first", "second"), (files[0], files[-1]), strict=True):
        (tmp_path / folder).mkdir()
        shutil.copy(file, tmp_path / folder / "pytorch_lora_weights.safetensors")
    loras = [tmp_path / f / "pytorch_lora_weights.safetensors" for f in ("first", "second")]
    named = Named(base=trained.job.model.base, overrides=[*ASKED, "analysis.side=64"])
    sweep = sweep_of(loras, named, tmp_path / "out", tmp_path)
    *_, report = done(sweep)
    pictures = {
        (c["epoch"], c["strength"], c["prompt"], c["seed"]): sweep.path / c["picture"]
        for c in report["cells"]
    }
    epochs = [c["epoch"] for c in report["checkpoints"]]
    ours, theirs = (pictures[epoch, 1.0, 0, 0] for epoch in epochs)
    assert pixels(ours) != pixels(theirs)
    kept = keep(
        sweep,
        tmp_path / "kept.safetensors",
        chosen=Setting(epochs[1], 1.0),
        into_alpha=False,
        overwrite=False,
    )
    assert tensors(kept.path) == tensors(loras[1]) != tensors(loras[0])


def pixels(path):
    with Image.open(path) as opened:
        return opened.tobytes()


def tensors(path):
    from safetensors.torch import load_file

    return {name: value.float().numpy().tobytes() for name, value in load_file(path).items()}


def test_files_are_in_the_order_of_their_numbers(trained, tmp_path):
    from analysis.studio import lora_files

    for name in ("fox-1", "fox-10", "fox-2"):
        (tmp_path / f"{name}.safetensors").write_bytes(b"")
    assert [p.stem for p in lora_files([tmp_path])] == ["fox-1", "fox-2", "fox-10"]


def test_one_damaged_file_among_several_is_told_and_the_rest_goes_on(trained, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    whole, other = sorted(trained.lora.glob("*.safetensors"))[:2]
    for place in ("good", "half", "nan"):
        (tmp_path / place).mkdir()
    shutil.copy(whole, tmp_path / "good" / whole.name)
    (tmp_path / "half" / other.name).write_bytes(other.read_bytes()[:500])
    spoilt = load_file(whole)
    spoilt[next(iter(spoilt))].view(-1)[0] = torch.nan
    save_file(spoilt, tmp_path / "nan" / "nan.safetensors")
    loras = [tmp_path / "good", tmp_path / "half", tmp_path / "nan"]
    named = Named(base=trained.job.model.base, overrides=[*ASKED, "analysis.side=64"])
    sweep = sweep_of(loras, named, tmp_path / "out", tmp_path)
    _, told, report = done(sweep)
    assert len(report["checkpoints"]) == 1
    left_out = [e.message for e in told if isinstance(e, Warned) and "left out" in e.message]
    assert len(left_out) == 2
    assert any("NaN or infinity" in message for message in left_out)


def test_what_means_nothing_for_a_run_is_refused(trained, tmp_path):
    with pytest.raises(ConfigError, match="--out means nothing for a run"):
        sweep_of([trained.path], Named(), tmp_path / "out", tmp_path)
    with pytest.raises(ConfigError, match="--trigger means nothing"):
        sweep_of([trained.path], Named(trigger="sks"), None, tmp_path)


def test_a_lora_for_another_family_is_named(trained, tmp_path):
    import torch
    from safetensors.torch import save_file

    path = tmp_path / "flux.safetensors"
    name = "lora_unet_double_blocks_0_img_attn_qkv"
    save_file(
        {
            f"{name}.lora_down.weight": torch.zeros(4, 8),
            f"{name}.lora_up.weight": torch.zeros(8, 4),
        },
        path,
    )
    named = Named(base=trained.job.model.base, overrides=list(ASKED))
    sweep = sweep_of([path], named, tmp_path / "out", tmp_path)
    with pytest.raises(AdapterError, match=r"made for FLUX\.1"):
        analyse(sweep, lambda event: None, lambda: False)


def test_a_checkpoint_cut_in_half_is_refused(trained, tmp_path):
    path = tmp_path / "half.safetensors"
    whole = next(trained.lora.iterdir()).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    named = Named(base=trained.job.model.base, overrides=list(ASKED))
    sweep = sweep_of([path], named, tmp_path / "out", tmp_path)
    with pytest.raises(AdapterError, match="damaged"):
        analyse(sweep, lambda event: None, lambda: False)


def test_prompts_with_commas_lines_and_letters_of_all_kinds_stay_what_they_are(trained):
    odd = 'fox, "quoted"\n<script>alert(1)</script> 狐 ü \x7f'
    sweep = sweep_of_run(
        trained,
        [*ASKED[:3], f"analysis.prompts={quoted([odd])}", "analysis.fine=false"],
    )
    *_, report = done(sweep)
    assert report["prompts"][0]["text"] == odd
    page = (sweep.path / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("analysis.metrics=['sim']", "no metric called 'sim'"),
        ("analysis.strengths=[0.0]", "strength 0 is not between"),
        ("analysis.strengths=[1.0, 1.0]", "stands there twice"),
        ("analysis.prompts=['']", "an empty prompt"),
        ("analysis.rule='weights'", "needs weights"),
        ("analysis.stregths=[1.0]", "no such setting"),
        ("analysis.renders=5", "too few for a race of 6 settings"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_sentence(trained, change, words):
    with pytest.raises(ConfigError, match=words):
        analyse(sweep_of_run(trained, [*ASKED, change]), lambda event: None, lambda: False)


def test_a_network_of_ones_own_is_asked_and_one_that_is_absent_is_told(
    trained, clip_folder, monkeypatch
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    asked = [f"clip_i: weights={clip_folder}", "dinov2: weights=nobody/has-this", "ssim"]
    sweep = sweep_of_run(trained, [*ASKED, f"analysis.metrics={json.dumps(asked)}"])
    _, told, report = done(sweep)
    assert [m["name"] for m in report["metrics"] if m["axis"] != "judged"][:2] == ["clip_i", "ssim"]
    assert all("clip_i" in cell["scores"] for cell in report["cells"])
    (said,) = [e.message for e in told if isinstance(e, Warned) and "dinov2" in e.message]
    assert "nobody/has-this" in said


def test_an_analysis_is_found_by_its_run(trained, analysed):
    assert find_sweep(trained.path).parent == trained.path / "analysis"
