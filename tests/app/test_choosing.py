"""The commands about choosing, as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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


def test_times_to_spend_are_written_with_their_unit():
    assert [minutes(text) for text in ("10m", "90s", "1.5h", "7")] == [10, 1.5, 90, 7]
    with pytest.raises(ConfigError, match="no time to spend"):
        minutes("soon")


def test_prompts_keep_their_commas_and_quotes():
    assert json.loads(quoted(['a "fox", red', "狐"])) == ['a "fox", red', "狐"]
