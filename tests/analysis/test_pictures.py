"""Folders of finished pictures: what their names say, and which control is whose."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from analysis.pictures import find
from trainer.core.errors import ConfigError, DatasetError


def draw(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), "teal").save(path)


def found(tmp_path: Path, names: list[str], controls: list[str] = (), pattern: str = ""):
    """What is found in a folder of these names, with a folder of these controls."""
    for name in names:
        draw(tmp_path / "made" / name)
    for name in controls:
        draw(tmp_path / "controls" / name)
    return find(tmp_path / "made", tmp_path / "controls" if controls else None, pattern)


def pairs(folder):
    """Pictures and their controls, by name; missing pictures left out."""
    there = [picture for picture in folder.pictures if not picture.problem]
    return {p.path.name: p.control and p.control.name for p in there}


def problems(folder):
    return {p.path.name: p.problem for p in folder.pictures if p.problem}


@pytest.mark.parametrize(
    ("name", "epoch", "strength", "seed"),
    [
        ("epoch_07.png", 7, 1.0, 0),
        ("strength_0.4.png", 0, 0.4, 0),
        ("fox-e0004_s0.8.webp", 4, 0.8, 0),
        ("my-lora-000008 strength=1.5 seed 3.jpg", 8, 1.5, 3),
        ("EPOCH 12 weight-0.5.png", 12, 0.5, 0),
        ("e4s0.8p1.png", 4, 0.8, 0),
        ("lora_lr1e-4_strength_0.5.png", 0, 0.5, 0),
        ("epoch_3_guidance_scale7.5_1080p.png", 3, 1.0, 0),
        ("strength_-0.5.png", 0, -0.5, 0),
        ("epoch_1_seed18446744073709551615.png", 1, 1.0, 18446744073709551615),
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
    assert [f.control.name[-6:-4] for f in epochs if not f.problem] == ["02", "03"]


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


def test_a_pattern_may_say_the_extension(tmp_path):
    assert [
        f.epoch for f in found(tmp_path, ["run-7.webp"], pattern="run-{epoch}.webp").pictures
    ] == [7]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("run", "needs {epoch} or {strength}"),
        ("{epoch}-{epoch}", "each placeholder once"),
        ("{epoch}-{step}", "{step}, which is no placeholder"),
    ],
)
def test_a_pattern_that_cannot_be_read_is_refused(tmp_path, pattern, words):
    with pytest.raises(ConfigError) as told:
        found(tmp_path, ["1-1.png"], pattern=pattern)
    assert words in str(told.value)


def test_a_name_whose_number_is_no_epoch_is_strange(tmp_path):
    folder = found(tmp_path, ["epoch_1.5.png", "epoch_2.png"])
    assert [f.epoch for f in folder.pictures] == [2]
    assert folder.strange == ("epoch_1.5.png",)


def test_a_missing_strength_keeps_the_controls_of_the_others(tmp_path):
    names = [f"strength_{s}.png" for s in (0.1, 0.2, 0.4, 0.5)]
    folder = found(tmp_path, names, [f"control_{n:02}.png" for n in range(1, 6)])
    assert list(pairs(folder).values()) == [f"control_0{n}.png" for n in (1, 2, 4, 5)]
    assert problems(folder) == {"strength_0.3.png": "there is no picture of strength 0.3"}


@pytest.mark.parametrize("missing", [0.1, 1.0])
def test_a_strength_missing_at_an_end_is_told_by_the_number_of_controls(tmp_path, missing):
    row = [round(0.1 * n, 1) for n in range(1, 11)]
    names = [f"strength_{s}.png" for s in row if s != missing]
    folder = found(tmp_path, names, [f"control_{n:02}.png" for n in range(1, 11)])
    assert list(problems(folder)) == [f"strength_{missing}.png"]
    assert pairs(folder)["strength_0.5.png"] == "control_05.png"


def test_an_epoch_that_only_a_control_knows_is_missing(tmp_path):
    names = [f"epoch_{n:02}.png" for n in (1, 2)]
    folder = found(tmp_path, names, [f"control_{n:02}.png" for n in (1, 2, 3)])
    assert problems(folder) == {"epoch_03.png": "there is no picture of epoch 3"}


def test_a_picture_that_most_settings_have_is_missed_in_the_others(tmp_path):
    names = [f"e{e}_p{p}_seed{s}.png" for e in (1, 2, 3) for p in (0, 1) for s in (0, 1)]
    names.remove("e2_p1_seed0.png")
    told = "there is no picture of epoch 2, prompt 1, seed 0"
    assert problems(found(tmp_path, names)) == {"e2_p1_seed0.png": told}


def test_seeds_that_differ_in_every_picture_are_not_missed(tmp_path):
    assert not problems(found(tmp_path, [f"epoch_{n}_seed{n * 7}.png" for n in range(1, 6)]))


def test_epochs_far_apart_are_no_row(tmp_path):
    assert not problems(found(tmp_path, ["epoch_1.png", "epoch_2.png", "epoch_1000000.png"]))


def test_controls_of_prompt_and_seed_go_to_their_own_pictures_alone(tmp_path):
    names = ["e1_p0_seed0.png", "e1_p0_seed7.png", "e1_p1_seed0.png", "e1_p2_seed0.png"]
    folder = found(tmp_path, names, ["p0_seed0.png", "p0_seed1.png", "p1_s0.0.png"])
    assert pairs(folder) == {
        "e1_p0_seed0.png": "p0_seed0.png",
        "e1_p0_seed7.png": None,
        "e1_p1_seed0.png": "p1_s0.0.png",
        "e1_p2_seed0.png": None,
    }


def test_of_controls_of_a_seed_the_one_of_the_epoch_is_taken(tmp_path):
    controls = [f"control_{n:02}_seed{s}.png" for n in (1, 2) for s in (0, 1)]
    folder = found(tmp_path, ["epoch_02_seed1.png"], controls)
    assert pairs(folder) == {"epoch_02_seed1.png": "control_02_seed1.png"}


def test_one_control_is_for_all_unless_it_names_a_prompt(tmp_path):
    names = ["e1_p0.png", "e1_p1.png"]
    assert set(pairs(found(tmp_path / "a", names, ["base.png"])).values()) == {"base.png"}
    own = pairs(found(tmp_path / "b", names, ["base_p1.png"]))
    assert own == {"e1_p0.png": None, "e1_p1.png": "base_p1.png"}


@pytest.mark.parametrize(
    ("names", "controls", "words"),
    [
        (["epoch_1.png", "epoch_1_p0.png"], [], "for the same place"),
        (["epoch_1.png"], ["control_1.png", "control_01.jpg"], "for the same place"),
        (["epoch_1.png", "strength_0.4.png"], [], "says epoch, 'strength_0.4.png' says strength"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(tmp_path, names, controls, words):
    with pytest.raises(DatasetError, match=words):
        found(tmp_path, names, controls)


def test_a_folder_of_folders_of_pictures_names_them(tmp_path):
    draw(tmp_path / "lora_epoch_images" / "epoch_1.png")
    with pytest.raises(DatasetError) as told:
        find(tmp_path, None)
    assert "lora_epoch_images" in told.value.hint


def test_an_odd_last_epoch_makes_no_row_of_missing_ones(tmp_path):
    folder = found(tmp_path, [f"epoch_{n:02}.png" for n in (5, 10, 15, 17)])
    assert [f.epoch for f in folder.pictures] == [5, 10, 15, 17]
    assert not problems(folder)
