"""The ancestors' tables, to the digit, and finished pictures ranked like a sweep."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.ancestor import TOLERANCE, choose, lines, ssim
from analysis.folder import analyse_folder
from analysis.pictures import find
from trainer.core.errors import DatasetError

HERE = Path(__file__).parent / "ancestors"
GOLDEN = json.loads((HERE / "golden.json").read_text(encoding="utf-8"))
CASES = {case["image"]: case for case in GOLDEN["cases"]}


@pytest.mark.parametrize("name", ["lora_epoch_images", "lora_strength_images"])
def test_scores_are_the_genuine_packages_own(name):
    table = lines(find(HERE / name, HERE / "control_images"))
    assert len(table.lines) == 10
    for line in table.lines:
        case = CASES.get(f"{name}/{line.image}", {"error": "LoRA image missing"})
        if "error" in case:
            assert line.status in ("flat", "damaged", "missing")
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


def test_at_a_distance_of_the_tolerance_itself_the_lower_wins():
    assert choose([(1, TOLERANCE), (2, 0.0)]) == 2


def test_of_several_pictures_the_mean_counts_where_all_have_a_score():
    scores = [(1, 1.0), (1, 9.0), (2, 4.0), (2, 4.0), (3, 0.0), (3, None)]
    assert choose(scores) == 2


def test_the_missing_epoch_and_the_resized_control_are_told():
    told = lines(find(HERE / "lora_epoch_images", HERE / "control_images")).as_dict()
    rows = {row["image"]: row for row in told["rows"]}
    assert rows["epoch_10.png"]["status"] == "missing"
    assert rows["epoch_10.png"]["epoch"] == 10
    assert "resized" in rows["epoch_02.png"]["reason"]
    assert rows["epoch_02.png"]["status"] == "ok"


def test_where_both_are_swept_the_table_and_the_choice_name_both(tmp_path):
    for epoch, strength, seed in ((1, 0.5, 0), (1, 1.0, 1), (2, 0.5, 2), (2, 1.0, 3)):
        draw(tmp_path / "made" / f"e{epoch}_s{strength}.png", seed, 128)
    draw(tmp_path / "base.png", 9, 128)
    told = lines(find(tmp_path / "made", tmp_path / "base.png")).as_dict()
    best = min(told["rows"], key=lambda row: row["brisque"])
    assert told["choice"] == {"epoch": best["epoch"], "strength": best["strength"]}


def test_a_far_too_large_picture_is_one_row_and_the_rest_goes_on(tmp_path):
    for epoch in (1, 2):
        draw(tmp_path / "made" / f"epoch_{epoch}.png", size=128)
    data = bytearray((tmp_path / "made" / "epoch_1.png").read_bytes())
    data[16:24] = struct.pack(">II", 40000, 40000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (tmp_path / "made" / "epoch_1.png").write_bytes(data)
    draw(tmp_path / "base.png", 9, 128)
    table = lines(find(tmp_path / "made", tmp_path / "base.png"))
    assert [line.status for line in table.lines] == ["damaged", "ok"]


@pytest.mark.parametrize(
    ("size", "control", "status", "words"),
    [
        (6, b"", "too_small", "7 x 7"),
        (128, b"no picture", "no_control", "its control 'base.png' is no picture"),
    ],
)
def test_why_there_is_no_score_names_the_culprit(tmp_path, size, control, status, words):
    draw(tmp_path / "made" / "epoch_1.png", size=size)
    draw(tmp_path / "base.png", 9, 128)
    if control:
        (tmp_path / "base.png").write_bytes(control)
    (line,) = lines(find(tmp_path / "made", tmp_path / "base.png")).lines
    assert line.status == status
    assert words in line.reason


def test_ssim_is_scikit_images_default_with_the_pictures_own_range():
    from skimage.metrics import structural_similarity

    random = np.random.default_rng(3)
    picture = random.integers(40, 90, (33, 47), dtype=np.uint8)
    control = random.integers(0, 255, (33, 47), dtype=np.uint8)
    spread = int(picture.max()) - int(picture.min())
    expected = structural_similarity(picture, control, data_range=spread)
    assert ssim(picture, control) == pytest.approx(expected, abs=1e-9)


def draw(path: Path, seed: int = 0, size: int = 96) -> None:
    blocks = max(size // 8, 2)
    noise = np.random.default_rng(seed).integers(0, 255, (blocks, blocks, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC).save(path)


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


def test_each_epoch_is_judged_by_its_own_control_and_shown_beside_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for epoch in (1, 2, 3):
        draw(Path("made") / f"epoch_{epoch:02}.png", epoch)
        draw(Path("base") / f"control_{epoch:02}.png", 10 + epoch)
    analyse_folder(find(Path("made"), Path("base")), rule="sweetspot", to=Path("told"))
    report = json.loads(Path("told/report.json").read_text(encoding="utf-8"))
    names = [Path(cell["control"]["picture"]).name for cell in report["cells"]]
    assert names == ["control_01.png", "control_02.png", "control_03.png"]
    assert all(Path(cell["picture"]).is_absolute() for cell in report["cells"])
    own = [cell["control"]["scores"]["brisque"] for cell in report["cells"]]
    assert len(set(own)) == 3
    for cell, base in zip(report["cells"], own, strict=True):
        (row,) = [r for r in report["summary"] if r["epoch"] == cell["epoch"]]
        change = row["difference"]["brisque"]["mean"]
        assert change == pytest.approx(cell["scores"]["brisque"] - base)
    assert Path("told/contact-sheet.png").stat().st_size > 20_000


def test_without_controls_it_says_what_the_rule_needs(tmp_path):
    draw(tmp_path / "made" / "epoch_01.png", 1)
    draw(tmp_path / "made" / "epoch_02.png", 2)
    *_, told, _ = analyse_folder(find(tmp_path / "made", None), rule="sweetspot", to=None)
    assert any("--control" in line for line in told)
