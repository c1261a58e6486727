"""A matrix: the runs that come of it, their names, and what is wrong with one."""

from __future__ import annotations

import json

import pytest

from app.queue.intake import Wishes, jobs_in, jobs_of
from app.queue.matrix import named, variants
from trainer.core.errors import ConfigError


@pytest.fixture
def job_file(tmp_path):
    def write(text: str = "", name: str = "fox"):
        path = tmp_path / "jobs" / f"{name}.toml"
        path.parent.mkdir(exist_ok=True)
        head = f'name = "{name}"\ndataset.folder = "../pictures"\n'
        path.write_text(head + text, encoding="utf-8")
        return path

    return write


def names(matrix, name="fox"):
    return named(name, variants(matrix))


def settings(asked):
    return json.loads(asked.text)


# Names


def test_runs_are_named_after_what_differs():
    matrix = {"adapter.rank": [8, 16], "optimizer.learning_rate": [1e-4, 5e-4]}
    assert names(matrix) == ["fox-r8-lr1e-4", "fox-r8-lr5e-4", "fox-r16-lr1e-4", "fox-r16-lr5e-4"]


def test_a_setting_with_one_value_is_not_in_the_name():
    assert names({"adapter.rank": [8], "schedule.seed": [1, 2]}) == ["fox-s1", "fox-s2"]
    assert names({"adapter.rank": [8]}) == ["fox"]


def test_tables_and_dotted_names_mean_the_same():
    assert variants({"adapter": {"rank": [8, 16]}}) == variants({"adapter.rank": [8, 16]})


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ({"adapter.rank": [8, 16], "model.resolution": [64, 128]}, "fox-rank8-resolution64"),
        (
            {"optimizer.learning_rate": [1e-4, 2e-4], "text_encoder.learning_rate": [0, 1]},
            "fox-optimizer-learning_rate1e-4-text_encoder-learning_rate0",
        ),
        ({"text_encoder.train": [True, False]}, "fox-t-on"),
        ({"optimizer.learning_rate": [1.5e-5, 1]}, "fox-lr1.5e-5"),
        ({"model.base": ["owner/one", "/models/two"]}, "fox-b-one"),
        ({"dataset.trigger": ["a b", "a-b"]}, "fox-t1"),
        ({"dataset.trigger": ["\u72ac", "fox"]}, "fox-t1"),
        ({"analysis.strengths": [[0.5, 1.0], [1.0]]}, "fox-s0.5x1"),
    ],
)
def test_names_are_short_and_can_be_told_apart(matrix, expected):
    found = names(matrix)
    assert found[0] == expected
    assert len(set(found)) == len(found)


def test_names_that_would_be_too_long_are_numbered():
    found = names({"adapter.rank": [8, 16], "optimizer.learning_rate": [1e-4, 5e-4]}, "f" * 60)
    assert found == [f"{'f' * 60}-{n}" for n in range(1, 5)]
    assert max(map(len, names({"schedule.seed": list(range(150))}, "f" * 64))) == 64


# What is wrong with one


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        ({}, "there is no setting in it"),
        (3, "there is no setting in it"),
        ({"adapter.rank": 8}, "needs a list of values, and is 8"),
        ({"adapter.rank": []}, "needs a list of values"),
        ({"adapter.rank": [8, 8]}, "8 stands there twice"),
        ({"adapter.rank": [8], "adapter": {"rank": [4]}}, "stands there twice"),
        ({"schedule.seed": [*range(100)], "adapter.rank": [1, 2, 3]}, r"100 x 3 = 300 runs"),
    ],
)
def test_a_matrix_that_means_nothing_is_one_sentence(matrix, said):
    with pytest.raises(ConfigError, match=said):
        variants(matrix)


def test_a_matrix_of_a_billion_is_refused_before_it_is_made():
    matrix = {f"a.{letter}": [*range(1000)] for letter in "xyz"}
    with pytest.raises(ConfigError, match=r"1,000,000,000 runs are more than 200") as refused:
        variants(matrix)
    assert refused.value.hint == "fewer values, or --most 1000000000"


def test_a_setting_of_a_matrix_that_does_not_exist_is_named_with_its_file(job_file):
    path = job_file('[matrix]\n"adapter.rnk" = [8, 16]')
    with pytest.raises(ConfigError, match="there is no such setting") as refused:
        jobs_in([path], Wishes())
    assert refused.value.where == f"{path}: adapter.rnk"
    assert refused.value.hint == "did you mean adapter.rank?"


# Job files


def test_a_matrix_gives_each_run_its_settings(job_file):
    path = job_file('[adapter]\nalpha = 4\n[matrix]\n"adapter.rank" = [8, 16]')
    jobs = jobs_of(path, Wishes())
    assert [job.name for job in jobs] == ["fox-r8", "fox-r16"]
    assert [settings(job)["adapter"]["rank"] for job in jobs] == [8, 16]
    assert {settings(job)["adapter"]["alpha"] for job in jobs} == {4}


def test_paths_are_taken_from_the_files_folder_and_those_of_a_matrix_too(job_file, tmp_path):
    path = job_file('[matrix]\n"dataset.folder" = ["../cats", "../dogs"]')
    folders = [settings(job)["dataset"]["folder"] for job in jobs_of(path, Wishes())]
    assert folders == [str(tmp_path / "jobs" / ".." / name) for name in ("cats", "dogs")]


def test_runs_and_cache_are_absolute(job_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (job,) = jobs_of(job_file(), Wishes())
    assert job.place == settings(job)["runs"] == str(tmp_path / "runs")
    assert settings(job)["cache"] == str(tmp_path / "runs" / "cache")
    (job,) = jobs_of(job_file(), Wishes(runs=tmp_path / "others"))
    assert job.place == str(tmp_path / "others")


def test_a_queued_job_lies_over_the_preset_that_it_names(job_file):
    path = job_file('preset = "sdxl-style-12gb"\n[matrix]\n"adapter.rank" = [8, 16]')
    jobs = [settings(job) for job in jobs_of(path, Wishes())]
    assert [job["adapter"]["rank"] for job in jobs] == [8, 16]
    assert {(job["model"]["kind"], job["schedule"]["steps"]) for job in jobs} == {("sdxl", 3000)}
    with pytest.raises(ConfigError, match="no preset 'sdxl-stile'"):
        jobs_of(job_file('preset = "sdxl-stile"'), Wishes())


def test_overrides_and_analysis_are_laid_over_every_job(job_file):
    (job,) = jobs_of(job_file(), Wishes(overrides=["adapter.rank=3"], analyse=True))
    assert settings(job)["adapter"]["rank"] == 3
    assert settings(job)["analysis"]["after_training"] is True


def test_a_sweep_is_a_job_too(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text('name = "choice"\nloras = ["a.safetensors"]\n', encoding="utf-8")
    (job,) = jobs_of(path, Wishes())
    assert (job.name, job.kind) == ("choice", "analyse")
    assert settings(job)["loras"] == [str(tmp_path / "a.safetensors")]


def test_a_folder_gives_its_files_by_name(job_file, tmp_path):
    for name in ("b", "a"):
        job_file(name=name)
    (tmp_path / "jobs" / "notes.txt").write_text("nothing")
    assert [job.name for job in jobs_in([tmp_path / "jobs"], Wishes())] == ["a", "b"]


def test_all_files_that_cannot_be_used_are_told_and_none_is_taken(job_file, tmp_path):
    job_file(name="good")
    for name in ("bad", "worse"):
        job_file("adapter.rank = 0", name=name)
    with pytest.raises(ConfigError, match="1 more have problems") as refused:
        jobs_in([tmp_path / "jobs"], Wishes())
    assert "bad.toml: adapter.rank" in str(refused.value)
    assert "worse.toml" in str(refused.value)


@pytest.mark.parametrize("name", ["nothing.toml", "empty"])
def test_what_is_not_there_is_one_sentence(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="there is no"):
        jobs_in([tmp_path / name], Wishes())
