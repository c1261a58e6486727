import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.core.errors import ConfigError
from trainer.core.schema import describe
from trainer.job.config import JobConfig
from trainer.job.file import load_job, override_job, parse_job, render_job

LEAST = {"dataset": {"folder": "pictures"}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["schedule.epoch=3"], r"schedule\.epoch: there is no such setting \(got 3\).*epochs\?"),
        (["schedule.epochs=3", "schedule.steps=9"], r"epochs \(3\) and steps \(9\) are both given"),
        (["adapter.rank=0"], r"adapter\.rank: .*got 0\n  try: 1, the nearest"),
        (["adapter.rank=9999"], r"adapter\.rank: .*got 9999\n  try: 512, the nearest"),
        (["adapter.kind=lora2"], r"adapter: there is no kind 'lora2'\n  try: lora"),
        (["schedule.kind=cosin"], r"schedule\.kind: 'cosin' is not a choice\n  try: cosine"),
        (["model.resolution=500"], r"model\.resolution: .*got 500\n  try: 496, the nearest"),
        (["optimizer.learning_rate=0"], r"learning_rate: .*got 0\n  try: a number above 0"),
        (["optimizer.learning_rate=fast"], r"learning_rate: .*number.*got 'fast'"),
        (["optimizer.learning_rate=nan"], r"learning_rate: .*finite number"),
        (["version=99"], r"version: the job is of version 99, this Sweetspot reads up to 1"),
        (["name=a/b"], r"name: .*got 'a/b'"),
        (["prior.enabled=true"], r"set dataset\.class_word or prior\.prompt"),
        (["dataset.template='{subject}'"], r"may hold \{trigger\} and \{class\} and nothing else"),
        (["min_snr_gamma=5"], r"min_snr_gamma: there is no such setting.*model\.noise\.min_snr"),
        (["adapter.rank"], r"the override 'adapter\.rank' has no '='"),
        (["adapter.rank=true"], r"adapter\.rank: needs a number, not true or false; got True"),
        (["schedule.epochs=true"], r"schedule\.epochs: needs a number"),
        (["optimizer.learning_rate=true"], r"optimizer\.learning_rate: needs a number"),
        (["dataset.folder="], r"dataset\.folder: needs a folder .*got ''"),
        (["runs="], r"runs: needs a folder .*got ''"),
        (
            ["optimizer=adamw", "optimizer.learning_rate=1e-3"],
            r"optimizer: .*'adamw', and settings of its own.*--set optimizer\.kind=adamw",
        ),
    ],
)
def test_a_wrong_setting_is_met_with_its_name_its_value_and_the_nearest_right_one(changes, said):
    with pytest.raises(ConfigError, match="(?s)" + said):
        override_job(LEAST, changes)


def test_a_job_without_pictures_says_what_is_missing():
    with pytest.raises(ConfigError, match=r"dataset: needs a value"):
        parse_job({})


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"[model\n", "is not TOML"), (b"name = '\xff'", r"is not UTF-8 text \(byte 8\)")],
)
def test_a_file_that_is_no_job_is_refused(tmp_path, content, said):
    path = tmp_path / "job.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        load_job(path)


def test_paths_are_taken_from_the_files_own_folder(tmp_path):
    (tmp_path / "job.toml").write_text("[dataset]\nfolder = 'cats'\n", encoding="utf-8")
    assert load_job(tmp_path / "job.toml").dataset.folder == tmp_path / "cats"


def test_every_setting_stands_in_a_written_job_with_its_help():
    text = render_job(parse_job(LEAST))
    for spec in describe(JobConfig):
        if spec.only_if is None:
            assert spec.path.rsplit(".", maxsplit=1)[-1] in text
    assert "# Passes over the dataset" in text


@given(
    rate=st.floats(1e-9, 1),
    rank=st.integers(1, 512),
    prompts=st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]))),
    flip=st.booleans(),
    seed=st.none() | st.integers(0, 2**31 - 1),
)
def test_a_job_written_and_read_again_is_the_same(rate, rank, prompts, flip, seed):
    values = {
        "dataset": {"folder": "pictures", "flip": flip},
        "optimizer": {"learning_rate": rate},
        "adapter": {"rank": rank},
        "samples": {"prompts": prompts},
        "schedule": {"seed": seed},
    }
    job = parse_job(values)
    assert parse_job(tomllib.loads(render_job(job))) == job


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("dataset.trigger=1234", "1234"),
        ("dataset.trigger=true", "true"),
        ("dataset.trigger='1234'", "1234"),
        ("dataset.trigger=1e3", "1e3"),
    ],
)
def test_a_text_that_looks_like_a_number_stays_as_it_was_typed(change, value):
    assert override_job(LEAST, [change]).dataset.trigger == value


def test_a_name_and_a_folder_may_be_numbers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = override_job(LEAST, ["name=2024", "dataset.folder=2024"])
    assert (job.name, job.dataset.folder) == ("2024", tmp_path / "2024")


@pytest.mark.parametrize("empty", ["", "  "])
@pytest.mark.parametrize("setting", ["cache", "prior.folder", "validation.folder"])
def test_an_empty_folder_is_none_and_not_the_current_one(setting, empty):
    job = override_job(LEAST, [f"{setting}='{empty}'"])
    section, _, field = setting.rpartition(".")
    assert getattr(getattr(job, section) if section else job, field) is None


def test_an_empty_folder_in_a_file_is_none_too(tmp_path):
    text = "cache = ''\n[dataset]\nfolder = 'cats'\n[prior]\nfolder = ''\n"
    (tmp_path / "job.toml").write_text(text, encoding="utf-8")
    job = load_job(tmp_path / "job.toml")
    assert (job.cache, job.prior.folder) == (None, None)
