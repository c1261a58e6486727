"""The commands about choosing, as a person types them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app import cli
from app.sweeps import minutes, numbers, quoted
from trainer.core.errors import ConfigError

ANCESTORS = Path(__file__).parents[1] / "analysis" / "ancestors"


def typed(monkeypatch, capsys, *arguments):
    """Exit code, standard output and standard error of a command line."""
    monkeypatch.setattr("sys.argv", ["sweetspot", *map(str, arguments)])
    code = cli.run()
    told = capsys.readouterr()
    return code, told.out, told.err


def test_the_ancestors_table_comes_as_json(monkeypatch, capsys):
    code, out, _ = typed(
        monkeypatch,
        capsys,
        "score",
        ANCESTORS / "lora_epoch_images",
        "--control",
        ANCESTORS / "control_images",
        "--rule",
        "ancestor",
        "--compat",
        "--json",
    )
    told = json.loads(out)
    assert code == 0
    assert told["choice"] == {"epoch": 2}
    assert [row["status"] for row in told["rows"]] == ["ok"] * 7 + ["flat", "damaged", "missing"]


def test_when_nothing_can_be_scored_the_exit_code_is_not_zero(monkeypatch, capsys, tmp_path):
    (tmp_path / "epoch_1.png").write_bytes(b"no picture")
    control = ANCESTORS / "control_images"
    arguments = ("score", tmp_path, "--control", control, "--compat", "--json")
    code, out, _ = typed(monkeypatch, capsys, *arguments)
    assert code == 3
    assert json.loads(out)["choice"] is None


def test_compat_asks_for_controls(monkeypatch, capsys):
    code, _, err = typed(monkeypatch, capsys, "score", ANCESTORS / "lora_epoch_images", "--compat")
    assert code == 3
    assert "--control" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["analyse", "nowhere"], "no such run, LoRA file or folder"),
        (["report", "nowhere"], "no analysis here"),
        (["keep", "nowhere"], "no analysis here"),
        (["analyse", "--resume", "nowhere"], "no sweep's folder"),
    ],
)
def test_what_is_not_there_is_said_in_one_sentence(monkeypatch, capsys, arguments, words):
    code, _, err = typed(monkeypatch, capsys, *arguments)
    assert code == 9
    assert words in err


def test_strengths_are_written_as_lists_or_ranges():
    assert numbers("0.4,0.8") == "[0.4, 0.8]"
    assert numbers("0.2:1.0:0.4") == "[0.2, 0.6, 1.0]"
    with pytest.raises(ConfigError, match="no list of strengths"):
        numbers("strong")


@pytest.mark.parametrize("text", ["0:inf:0.1", "0:1:0", "nan:1:0.1"])
def test_a_range_without_an_end_is_no_list_of_strengths(text):
    with pytest.raises(ConfigError, match="is no list of strengths"):
        numbers(text)


def test_an_endless_list_of_strengths_is_cut_where_the_job_refuses_it():
    assert len(numbers("0.1:1:1e-9").split(",")) == 101


@pytest.mark.parametrize("more", [["--plan"], ["--rule", "ancestor"], ["--seeds", "3"]])
def test_what_means_nothing_for_an_analysis_that_is_resumed_is_refused(
    monkeypatch, capsys, tmp_path, more
):
    code, _, err = typed(monkeypatch, capsys, "analyse", "--resume", str(tmp_path), *more)
    assert code == 2
    assert "means nothing for an analysis that is resumed" in " ".join(err.split())


@pytest.mark.parametrize("weight", ["fidelity=nan", "fidelity=inf"])
def test_weights_are_finite(weight):
    from trainer.job.choosing import AnalysisConfig

    with pytest.raises(ValueError, match="is not like"):
        AnalysisConfig(rule="weights", weights=(weight,))


def test_a_report_that_is_none_is_named(monkeypatch, capsys, tmp_path):
    (tmp_path / "report.json").write_text("{}")
    code, _, err = typed(monkeypatch, capsys, "votes", "show", str(tmp_path))
    assert code not in (0, 1)
    assert "report.json" in err


def test_times_to_spend_are_written_with_their_unit():
    assert [minutes(text) for text in ("10m", "90s", "1.5h", "7")] == [10, 1.5, 90, 7]
    with pytest.raises(ConfigError, match="no time to spend"):
        minutes("soon")


def test_prompts_keep_their_commas_and_quotes():
    assert json.loads(quoted(['a "fox", red', "狐"])) == ['a "fox", red', "狐"]


def test_analyse_takes_finished_pictures_and_compares_them_with_those_trained_on(
    monkeypatch, capsys, tmp_path
):
    dice = np.random.default_rng(0)
    for epoch in (1, 2):
        for seed in (1, 2):
            picture(tmp_path / "made" / f"epoch_{epoch}_seed{seed}.png", dice)
    picture(tmp_path / "base" / "seed1.png", dice)
    picture(tmp_path / "base" / "seed2.png", dice)
    for number in range(3):
        picture(tmp_path / "mine" / f"{number}.png", dice)
    copied = (tmp_path / "mine" / "1.png").read_bytes()
    (tmp_path / "made" / "epoch_2_seed1.png").write_bytes(copied)
    arguments = ["analyse", tmp_path / "made", "--control", tmp_path / "base"]
    arguments += ["--dataset", tmp_path / "mine", "--out", tmp_path / "told", "--json"]
    metrics = 'analysis.metrics=["ssim", "brisque", "fidelity", "lpips"]'
    code, told, _ = typed(monkeypatch, capsys, *arguments, "--set", metrics)
    assert code in (0, 10)
    assert len(json.loads(told)["rows"]) == 4
    assert "fidelity is not measured: it looks with the base model's own eye" in told
    report = json.loads((tmp_path / "told" / "report.json").read_text(encoding="utf-8"))
    (copy,) = report["verdict"]["copies"]
    assert (copy["epoch"], copy["training"]) == (2, "1.png")
    assert report["references"]["training"] == ["0.png", "1.png", "2.png"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--strengths", "0.5"], "means nothing for pictures"),
        (["--set", "analysis.steps=4"], "means nothing for pictures"),
        (["--rule", "weights"], "needs weights"),
        (["--rule", "bogus"], "bogus"),
    ],
)
def test_what_means_nothing_for_pictures_is_refused(
    monkeypatch, capsys, tmp_path, arguments, words
):
    picture(tmp_path / "epoch_1.png", np.random.default_rng(1))
    code, _, told = typed(monkeypatch, capsys, "analyse", tmp_path, *arguments)
    assert code == 2
    assert words in re.sub(r"[\s│]+", " ", told)


def test_a_strange_name_has_a_row_in_the_printed_table(monkeypatch, capsys, tmp_path):
    dice = np.random.default_rng(2)
    for name in ("epoch_1", "epoch_2", "notes"):
        picture(tmp_path / "made" / f"{name}.png", dice)
    picture(tmp_path / "base.png", dice)
    _, told, _ = typed(
        monkeypatch, capsys, "score", tmp_path / "made", "--control", tmp_path / "base.png"
    )
    assert "notes.png" in told
    assert "strange" in told


def picture(path, dice):
    path.parent.mkdir(parents=True, exist_ok=True)
    rough = dice.integers(0, 255, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(rough).resize((96, 96), Image.Resampling.BICUBIC).save(path)
