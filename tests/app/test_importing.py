"""`sweetspot import`, as a person meets it."""

import json

import pytest
from typer.testing import CliRunner

from app.cli import app
from tests.trainer.job.importers import foreign
from trainer.core.errors import ConfigError
from trainer.job.file import load_job


@pytest.fixture
def file(tmp_path):
    return foreign.write_all(tmp_path)["kohya_ss"]


def call(*words):
    return CliRunner().invoke(app, ["import", *map(str, words)], catch_exceptions=True)


def test_it_prints_the_account_and_the_counts(file):
    done = call(file)
    assert done.exit_code == 0
    assert "suspicious" in done.output
    assert "keys:" in done.output


def test_it_writes_a_job_that_can_be_read(file, tmp_path):
    out = tmp_path / "job.toml"
    assert call(file, "--out", out).exit_code == 0
    assert load_job(out).adapter.rank == 16


def test_a_job_that_is_there_is_kept(file, tmp_path):
    out = tmp_path / "job.toml"
    out.write_text("mine")
    assert isinstance(call(file, "--out", out).exception, ConfigError)
    assert out.read_text() == "mine"


def test_what_is_missing_is_said_and_can_be_set(tmp_path):
    header = foreign.header_file(tmp_path / "dog.safetensors", foreign.HEADER)
    out = tmp_path / "job.toml"
    refused = call(header, "--out", out).exception
    assert "dataset.folder" in str(refused)
    assert not out.exists()
    assert call(header, "--out", out, "--set", "dataset.folder=pictures").exit_code == 0
    assert load_job(out).model.kind == "sdxl"


def test_a_model_that_is_not_there_makes_no_job(tmp_path):
    path = tmp_path / "wan.json"
    path.write_text(json.dumps({**foreign.SIMPLETUNER, "model_family": "wan"}))
    refused = call(path, "--out", tmp_path / "job.toml").exception
    assert "wan" in str(refused)


def test_json_has_all_of_it(file):
    facts = json.loads(call(file, "--json").output)
    assert facts["keys"] == len(facts["account"]) == sum(facts["counts"].values())
    assert "do-not-show-me" not in json.dumps(facts)
