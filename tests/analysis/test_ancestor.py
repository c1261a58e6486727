"""The ancestors' tables, to the digit, and folders of finished pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.ancestor import choose, lines
from analysis.folder import analyse_folder
from analysis.pictures import find
from trainer.core.errors import DatasetError

HERE = Path(__file__).parent / "ancestors"
GOLDEN = json.loads((HERE / "golden.json").read_text(encoding="utf-8"))
CASES = {case["image"]: case for case in GOLDEN["cases"]}


@pytest.mark.parametrize("name", ["lora_epoch_images", "lora_strength_images"])
def test_scores_are_the_genuine_packages_own(name):
    table = lines(find(HERE / name, HERE / "control_images"))
    for line in table.lines:
        case = CASES[f"{name}/{line.image}"]
        if "error" in case:
            assert line.status in ("flat", "damaged")
            assert line.reason
            continue
        assert line.brisque == pytest.approx(case["brisque"], abs=1e-6)
        assert line.ssim == pytest.approx(case["ssim"], abs=1e-9)


def test_the_suggestions_are_the_scripts_own():
    controls = HERE / "control_images"
    epochs = lines(find(HERE / "lora_epoch_images", controls))
    strengths = lines(find(HERE / "lora_strength_images", controls))
    assert epochs.as_dict()["choice"] == {"epoch": GOLDEN["epoch_suggestion"]}
    assert strengths.as_dict()["choice"] == {"strength": GOLDEN["strength_suggestion"]}


def test_ties_go_to_the_first_and_nothing_scored_is_no_choice():
    assert choose([(3, 9.0), (1, 9.009), (2, 9.5), (0, None)]) == 1
    assert choose([(1, None)]) is None


def draw(path: Path, seed: int = 0, size: int = 96) -> None:
    noise = np.random.default_rng(seed).integers(0, 255, (size // 8, size // 8, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC).save(path)


@pytest.mark.parametrize(
    ("name", "epoch", "strength", "seed"),
    [
        ("epoch_07.png", 7, 1.0, 0),
        ("strength_0.4.png", 0, 0.4, 0),
        ("fox-e0004_s0.8.webp", 4, 0.8, 0),
        ("my-lora-000008 strength=1.5 seed 3.jpg", 8, 1.5, 3),
        ("EPOCH 12 weight-0.5.png", 12, 0.5, 0),
    ],
)
def test_names_of_all_kinds_are_placed(tmp_path, name, epoch, strength, seed):
    draw(tmp_path / name)
    (found,) = find(tmp_path, None).pictures
    assert (found.epoch, found.strength, found.seed) == (epoch, strength, seed)


def test_a_pattern_of_ones_own_counts_alone(tmp_path):
    draw(tmp_path / "run7-12-0.6.png")
    draw(tmp_path / "epoch_3.png")
    folder = find(tmp_path, None, "run7-{epoch}-{strength}")
    assert [(f.epoch, f.strength) for f in folder.pictures] == [(12, 0.6)]
    assert folder.strange == ("epoch_3.png",)


def test_controls_are_paired_by_epoch_or_by_place_among_the_strengths(tmp_path):
    for number in (1, 2, 3):
        draw(tmp_path / "controls" / f"control_{number:02}.png")
    for strength in (0.2, 0.4, 0.8):
        draw(tmp_path / "strengths" / f"strength_{strength}.png")
    for epoch in (2, 3):
        draw(tmp_path / "epochs" / f"epoch_{epoch:02}.png")
    strengths = find(tmp_path / "strengths", tmp_path / "controls").pictures
    epochs = find(tmp_path / "epochs", tmp_path / "controls").pictures
    assert [f.control.name[-6:-4] for f in strengths] == ["01", "02", "03"]
    assert [f.control.name[-6:-4] for f in epochs] == ["02", "03"]


def test_an_epoch_that_is_missing_in_the_row_is_told(tmp_path):
    for epoch in (1, 2, 4):
        draw(tmp_path / f"epoch_{epoch}.png")
    problems = [f.problem for f in find(tmp_path, None).pictures if f.problem]
    assert problems == ["there is no picture of epoch 3"]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "has no pictures"),
        (["holiday.png"], "none of the 1 names says"),
        (["epoch_1.png", "epoch_01.webp"], "for the same place"),
    ],
)
def test_a_folder_that_says_nothing_is_refused(tmp_path, names, words):
    for name in names:
        draw(tmp_path / name)
    with pytest.raises(DatasetError, match=words):
        find(tmp_path, None)
    with pytest.raises(DatasetError, match="no such folder"):
        find(tmp_path / "nowhere", None)


def test_finished_pictures_are_ranked_like_a_sweep_and_reported(tmp_path):
    for epoch in (1, 2, 3):
        for prompt in range(4):
            for seed in range(2):
                name = f"e{epoch}_p{prompt}_seed{seed}.png"
                draw(tmp_path / "made" / name, seed=100 * epoch + 10 * prompt + seed)
                draw(tmp_path / "base" / f"p{prompt}_seed{seed}.png", seed=10 * prompt + seed)
    folder = find(tmp_path / "made", tmp_path / "base")
    rows, choice, told, code = analyse_folder(folder, rule="sweetspot", to=tmp_path / "report")
    assert len(rows) == 24
    assert all(row["status"] == "ok" for row in rows)
    assert code in (0, 10)
    assert choice is not None
    assert told
    assert (tmp_path / "report" / "report.html").is_file()


def test_what_cannot_be_scored_has_a_row_and_a_reason(tmp_path):
    draw(tmp_path / "made" / "epoch_1.png", size=128)
    Image.new("RGB", (128, 128), "red").save(tmp_path / "made" / "epoch_2.png")
    draw(tmp_path / "made" / "epoch_3.png", size=32)
    (tmp_path / "made" / "epoch_4.png").write_bytes(b"no picture")
    draw(tmp_path / "base.png", size=96)
    shutil.copy(tmp_path / "base.png", tmp_path / "made" / "summer.png")
    folder = find(tmp_path / "made", tmp_path / "base.png")
    rows, *_ = analyse_folder(folder, rule="ancestor", to=None)
    status = {row["image"]: (row["status"], row["reason"]) for row in rows}
    assert status["epoch_1.png"][0] == "ok"
    assert "resized" in status["epoch_1.png"][1]
    assert status["epoch_2.png"][0] == "flat"
    assert status["epoch_3.png"][0] == "too_small"
    assert status["epoch_4.png"][0] == "damaged"
    assert status["summer.png"][0] == "strange"


def test_when_nothing_can_be_scored_the_exit_code_says_so(tmp_path):
    Image.new("RGB", (128, 128), "red").save(tmp_path / "epoch_1.png")
    _, choice, _, code = analyse_folder(find(tmp_path, None), rule="ancestor", to=None)
    assert choice is None
    assert code == DatasetError.exit_code
