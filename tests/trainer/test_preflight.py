import shutil
from dataclasses import replace

import pytest

from tests.trainer.training import tiny_job, train_here
from trainer import preflight as module
from trainer.core import events
from trainer.core.device import Plan
from trainer.core.errors import DatasetError
from trainer.data.folder import scan
from trainer.engine.estimate import estimate
from trainer.job.run import Run
from trainer.preflight import preflight, settings

PLAN = Plan("cpu", "fp32")


@pytest.fixture
def make_job(tiny_sd, pictures, tmp_path):
    folder = pictures(count=10)

    def make(**changes):
        return tiny_job(tiny_sd, folder, tmp_path / "runs", **changes)

    return make


def planned(job, plan=PLAN):
    return preflight(job, plan, scan(job.dataset))


def needs(job, plan=PLAN, **outlined):
    outline = replace(job.model.outline(job.adapter.targets), **outlined)
    return estimate(job, plan, outline, module._course(job, scan(job.dataset), outline))


# Pictures and steps


@pytest.mark.parametrize(
    "changes",
    [
        {"validation": {"share": 0.2}, "schedule": {"epochs": 3}},
        {"schedule": {"epochs": None, "steps": 7}, "save": {"every_steps": 2}},
        {"schedule": {"epochs": 4}, "save": {"every_steps": 5, "every_epochs": 3}},
        {"schedule": {"epochs": 1}},
    ],
    ids=["held out", "by steps", "by both", "once"],
)
def test_what_is_told_is_what_is_done(make_job, changes):
    run, told = train_here(make_job(**changes))
    (plan,) = [e for e in told if isinstance(e, events.Planned)]
    steps = sum(isinstance(e, events.Stepped) for e in told)
    files = len(list(run.lora.iterdir()))
    assert plan.facts["steps"].split(" ")[0] == str(steps)
    assert plan.facts["steps"].endswith(f", {files} LoRA file{'s' if files > 1 else ''}")


def test_held_out_pictures_are_not_trained_on(make_job):
    schedule = {"batch_size": 1, "accumulate": 1, "epochs": 10}
    facts = planned(make_job(validation={"share": 0.2}, schedule=schedule)).facts
    assert facts["steps"] == "80 (8 an epoch), 10 LoRA files"
    assert facts["pictures"] == "10 (captions from txt), 2 of them held out"


def test_pictures_of_the_validation_folder_are_not_trained_on(make_job, tmp_path):
    job = make_job()
    shutil.copytree(job.dataset.folder, tmp_path / "held")
    for number in range(2, 10):
        (tmp_path / "held" / f"{number:02}.png").unlink()
    held = job.validation.model_copy(update={"folder": tmp_path / "held"})
    facts = planned(job.model_copy(update={"validation": held})).facts
    assert facts["pictures"] == "10 (captions from txt), 2 of them held out"


def test_a_share_that_leaves_nothing_is_refused_before_the_model_is_read(make_job):
    with pytest.raises(DatasetError, match="leaves none to train on"):
        planned(make_job(validation={"share": 0.99}))


def test_files_left_out_are_counted_in_good_english(make_job):
    job = make_job()
    (job.dataset.folder / "broken.png").write_bytes(b"")
    assert planned(job).facts["pictures"] == "10 (captions from txt), 1 file left out"


def test_only_pictures_and_captions_count_as_left_out(make_job):
    job = make_job()
    for name in ("notes.pdf", "list.py", "moving.gif", "alone.txt"):
        (job.dataset.folder / name).write_text("a fox", encoding="utf-8")
    assert planned(job).facts["pictures"] == "10 (captions from txt), 2 files left out"


def test_a_picture_that_is_too_small_is_left_out(make_job, pictures):
    job = make_job()
    small = pictures(count=1, size=(8, 8), name="small")
    for kind in ("png", "txt"):
        shutil.copy(small / f"00.{kind}", job.dataset.folder / f"small.{kind}")
    assert planned(job).facts["pictures"] == "10 (captions from txt), 1 file left out"


# Memory and disk


def test_a_16_bit_run_is_told_the_memory_of_its_fp32_proof(make_job):
    job = make_job()
    weights = {"unet": 10**9}
    half = needs(job, Plan("cpu", "bf16"), weights=weights, kept=0)
    full = needs(job, PLAN, weights=weights, kept=0)
    assert half.training < half.proof == full.proof == half.memory


def test_a_proof_that_is_larger_than_training_has_its_own_hint(make_job, monkeypatch):
    job = make_job()
    need = needs(job, Plan("cpu", "bf16"), weights={"unet": 10**9}, kept=0)
    between = (need.training + need.proof) // 2
    monkeypatch.setattr(module, "estimate", lambda *given: need)
    monkeypatch.setattr(module, "memory_here", lambda device: between)
    (warning,) = [w for w in planned(job).warnings if "GiB" in w]
    assert "the proof at the end" in warning
    assert "gradient_checkpointing" not in warning


def test_the_disk_has_room_for_a_third_checkpoint_and_the_mean(make_job, monkeypatch):
    from trainer.engine import checkpoint

    most = 0
    remove = checkpoint._remove

    def watch(path):
        nonlocal most
        most = max(most, sum(f.stat().st_size for f in path.parent.rglob("*.safetensors")))
        remove(path)

    monkeypatch.setattr(checkpoint, "_remove", watch)
    job = make_job(schedule={"epochs": 1, "ema": 0.9}, adapter={"rank": 16})
    run, _ = train_here(job)
    files = sum(f.stat().st_size for f in run.lora.iterdir())
    monkeypatch.setattr("trainer.engine.estimate.same_disk", lambda one, other: False)
    tensors_only = needs(job).disk
    assert 0.8 * (most + files) < tensors_only < 1.2 * (most + files)


def test_the_cache_counts_where_it_shares_the_disk_of_the_runs(make_job, monkeypatch):
    plan = needs(make_job())
    run = needs(Run.create(make_job()).job)
    monkeypatch.setattr("trainer.engine.estimate.same_disk", lambda one, other: False)
    assert plan.disk == run.disk > needs(make_job()).disk


def test_a_running_mean_takes_memory_and_disk(make_job):
    plain, mean = needs(make_job()), needs(make_job(schedule={"ema": 0.9}))
    assert mean.training - plain.training == 4 * plain.parameters
    assert mean.disk - plain.disk == 3 * 4 * plain.parameters


def test_the_text_encoders_adapter_counts(make_job):
    from trainer.weights.attach import attach

    job = make_job(text_encoder={"train": True})
    adapter = attach(job.model.load(PLAN), job.adapter, text_encoders=("text_encoder",), seed=0)
    assert needs(job).parameters == sum(p.numel() for p in adapter.parameters())


# Settings


def test_what_differs_from_the_defaults_is_told_on_one_line(make_job):
    job = make_job(dataset={"flip": False, "bucket_step": 64, "caption_dropout": 0})
    line = settings(job)
    assert planned(job).facts["settings"] == line
    for words in ("rank 2", "alpha 1", "learning rate 0.005", "batch size 2", "epochs 2"):
        assert words in line
    assert "flip" not in line
    assert "\n" not in line


def test_a_setting_is_told_with_its_section_where_others_have_the_same_name(make_job):
    assert "optimizer learning rate 0.005" in settings(make_job())


def test_a_long_line_of_settings_is_cut_and_says_so(make_job):
    changes = {"prior": {"count": 5, "steps": 5, "prompt": "a fox"}, "samples": {"steps": 2}}
    line = settings(make_job(**changes))
    assert len(line) < 140
    assert line.endswith(" more in job.toml")


def test_places_and_prompts_are_no_settings_to_tell(make_job):
    job = make_job(samples={"prompts": ["my own words"]})
    assert "my own words" not in settings(job)
    assert str(job.model.base) not in settings(job)


def test_a_job_as_it_comes_has_the_defaults(tmp_path):
    from trainer.job.file import parse_job

    assert settings(parse_job({"dataset": {"folder": str(tmp_path)}})) == "the defaults"
