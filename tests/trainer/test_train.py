import math

import pytest
import torch

from tests.trainer.training import lora_bytes, tiny_job, train_here
from trainer.core import events
from trainer.core.errors import ConfigError, DivergedError, ModelError, ProofError, RunError
from trainer.weights.files import read


@pytest.fixture
def job(tiny_sd, pictures, tmp_path):
    return tiny_job(tiny_sd, pictures(count=6), tmp_path / "runs")


def told_of(kind, told):
    return [event for event in told if isinstance(event, kind)]


def test_a_run_leaves_a_lora_file_an_epoch_and_a_proof(job):
    run, told = train_here(job)
    assert [p.name for p in sorted(run.lora.iterdir())] == [
        "tiny-e0001.safetensors",
        "tiny-e0002.safetensors",
    ]
    (proof,) = told_of(events.Proven, told)
    assert proof.moved > 0
    assert proof.difference < 0.01


def test_every_step_is_told_with_its_loss_rate_and_phases(job):
    _, told = train_here(job)
    steps = told_of(events.Stepped, told)
    assert [s.step for s in steps] == [1, 2, 3, 4]
    assert all(math.isfinite(s.loss) and s.gradient > 0 and s.rate > 0 for s in steps)
    assert set(steps[0].seconds) == {"data", "forward", "backward", "update"}


def test_what_is_planned_is_told_before_the_model_is_read(job):
    _, told = train_here(job)
    kinds = [type(event).__name__ for event in told]
    assert kinds.index("Planned") < kinds.index("Started")
    (plan,) = told_of(events.Planned, told)
    assert plan.facts["steps"].startswith("4 (2 an epoch), 2 LoRA files")
    assert "scales the update by 0.5" in plan.facts["strength of learning"]


@pytest.mark.parametrize("first", [1, 2, 3])
def test_a_stopped_run_goes_on_to_the_same_weights(job, first):
    whole, _ = train_here(job)
    run, told = train_here(job, stop_after=first)
    assert told_of(events.Stepped, told)[-1].step == first
    _, again = train_here(job, run=run)
    assert told_of(events.Started, again)[0].resumed_from == first
    assert lora_bytes(run) == lora_bytes(whole)


def test_a_run_stopped_twice_goes_on_to_the_same_weights_and_mean(job):
    schedule = job.schedule.model_copy(update={"ema": 0.9, "epochs": 3})
    job = job.model_copy(update={"schedule": schedule})
    whole, _ = train_here(job)
    run, _ = train_here(job, stop_after=1)
    run, _ = train_here(job, run=run, stop_after=2)
    run, told = train_here(job, run=run)
    assert told_of(events.Started, told)[0].resumed_from == 3
    assert lora_bytes(run) == lora_bytes(whole)


RESUMED = {
    "prior": {
        "dataset": {"class_word": "fox"},
        "prior": {"enabled": True, "count": 3, "steps": 2, "weight": 0.5},
    },
    "text encoder": {"text_encoder": {"train": True, "learning_rate": 1e-3}},
    "steps that end in mid-epoch": {
        "schedule": {"epochs": None, "steps": 3},
        "save": {"every_steps": 1},
    },
    "no clipping, varied captions": {
        "schedule": {"clip": 0},
        "dataset": {"shuffle_tags": True, "tag_dropout": 0.3},
    },
    "held-out pictures and samples": {
        "validation": {"share": 0.3},
        "samples": {"every": 1, "steps": 2, "prompts": ["a fox"]},
    },
}


@pytest.mark.parametrize("changes", RESUMED.values(), ids=RESUMED)
def test_whatever_is_asked_a_stopped_run_goes_on_to_the_same_weights(
    tiny_sd, pictures, tmp_path, changes
):
    job = tiny_job(tiny_sd, pictures(count=6), tmp_path / "runs", **changes)
    whole, _ = train_here(job)
    run, _ = train_here(job, stop_after=1)
    train_here(job, run=run)
    assert lora_bytes(run) == lora_bytes(whole)


def test_a_run_that_was_killed_after_its_last_step_is_proven_when_it_is_resumed(job):
    run, _ = train_here(job)
    before = lora_bytes(run)
    (run.lora / "tiny-e0002.safetensors").unlink()
    _, told = train_here(job, run=run)
    assert told_of(events.Proven, told)
    assert lora_bytes(run) == before


def test_a_file_that_holds_other_weights_than_were_trained_is_no_proof(job, monkeypatch):
    from trainer.engine import export

    write = export.files.export

    def weaker(path, weights, *args, **kwargs):
        tensors = {k: v * (0.9 if k.endswith("lora_B") else 1) for k, v in weights.tensors.items()}
        return write(path, type(weights)(tensors, weights.alphas), *args, **kwargs)

    monkeypatch.setattr(export.files, "export", weaker)
    with pytest.raises(ProofError, match="has other values in the LoRA file"):
        train_here(job)


def test_a_run_can_be_stopped_before_its_first_step(job):
    from trainer.job.run import Run
    from trainer.train import train

    told = []
    result = train(Run.create(job), told.append, lambda: len(told) > 3)
    assert (result.status, result.step) == ("stopped", 0)
    assert not told_of(events.Stepped, told)


def test_a_resumed_run_that_is_stopped_while_it_prepares_stands_where_it_stood(job):
    from trainer.train import train

    run, _ = train_here(job, stop_after=2)
    result = train(run, lambda event: None, lambda: True)
    assert (result.status, result.step) == ("stopped", 2)


def test_a_further_process_prepares_to_the_end_before_it_agrees_to_stop(job):
    from trainer.job.run import Run
    from trainer.train import train

    told = []
    result = train(Run.create(job), told.append, lambda: True, follows=True)
    assert result.status == "stopped"
    assert told_of(events.Started, told)
    assert not told_of(events.Stepped, told)


def test_what_a_run_writes_must_not_lie_among_the_pictures(job):
    job = job.model_copy(update={"runs": job.dataset.folder / "runs"})
    with pytest.raises(ConfigError, match="lies inside the folder of pictures"):
        train_here(job)


class UnitScaler:
    """A gradient scaler whose scale is 1."""

    def scale(self, loss):
        return loss


class SkippingScaler:
    """What GradScaler does with an overflow: the step is not taken."""

    def __init__(self, optimizer, overflows):
        self.optimizer, self.overflows, self.count = optimizer, overflows, 0

    def step(self):
        self.count += 1
        if self.count > self.overflows:
            self.optimizer.step()

    def __getattr__(self, name):
        return getattr(self.optimizer, name)


@pytest.mark.parametrize(("overflows", "diverges"), [(2, False), (1000, True)])
def test_steps_that_fp16_skips_are_no_failure_until_there_are_many(
    job, monkeypatch, overflows, diverges
):
    from trainer.engine.loop import Loop

    begin = Loop.__init__
    calls = []

    def skipping(self, *args):
        begin(self, *args)
        self._optimizer = SkippingScaler(self._optimizer, overflows)
        self._accelerator.scaler = UnitScaler()
        clip = self._accelerator.clip_grad_norm_

        def overflowing(parameters, longest):
            calls.append(1)
            norm = clip(parameters, longest)
            return norm * float("inf") if len(calls) <= overflows else norm

        monkeypatch.setattr(self._accelerator, "clip_grad_norm_", overflowing)

    monkeypatch.setattr(Loop, "__init__", skipping)
    schedule = job.schedule.model_copy(update={"epochs": 20})
    save = job.save.model_copy(update={"state_every_steps": 0, "every_epochs": 20})
    job = job.model_copy(update={"schedule": schedule, "save": save})
    monkeypatch.setattr("trainer.train._Work.keep", lambda self, step: None)
    if diverges:
        with pytest.raises(DivergedError, match="gradients in a row overflowed"):
            train_here(job)
        return
    _, told = train_here(job, stop_after=4)
    gradients = [step.gradient for step in told_of(events.Stepped, told)]
    assert gradients[:2] == [None, None]
    assert all(gradient > 0 for gradient in gradients[2:])


def test_the_running_mean_is_what_is_saved(job):
    plain, _ = train_here(job)
    schedule = job.schedule.model_copy(update={"ema": 0.9})
    mean, _ = train_here(job.model_copy(update={"schedule": schedule}))
    assert lora_bytes(plain) != lora_bytes(mean)


def test_resuming_with_other_pictures_is_refused(job):
    run, _ = train_here(job, stop_after=1)
    (job.dataset.folder / "00.txt").write_text("another caption", encoding="utf-8")
    with pytest.raises(RunError, match="the pictures changed since this run began"):
        train_here(job, run=run)


def test_resuming_in_another_precision_is_refused_for_that_alone(job):
    run, _ = train_here(job, stop_after=1)
    text = run.job_path.read_text(encoding="utf-8")
    other = text.replace('precision = "fp32"', 'precision = "bf16"', 1)
    assert other != text
    run.job_path.write_text(other, encoding="utf-8")
    with pytest.raises(RunError, match="computes in fp32, and here bf16 was chosen"):
        train_here(job, run=run)


def test_the_text_encoder_trains_beside_the_denoiser(job):
    text = job.text_encoder.model_copy(update={"train": True})
    run, _ = train_here(job.model_copy(update={"text_encoder": text}))
    parts = {key.split("_")[1] for key in read(run.lora / "tiny-e0002.safetensors").tensors()}
    assert parts == {"unet", "te"}


def test_class_pictures_are_rendered_once_and_reused(job):
    changes = {
        "dataset": job.dataset.model_copy(update={"class_word": "fox"}),
        "prior": job.prior.model_copy(update={"enabled": True, "count": 3}),
        "samples": job.samples.model_copy(update={"steps": 2}),
    }
    job = job.model_copy(update=changes)
    train_here(job)
    rendered = {p: p.stat().st_mtime_ns for p in job.cache_folder.glob("prior/*/*.png")}
    train_here(job)
    assert len(rendered) == 3
    assert {p: p.stat().st_mtime_ns for p in job.cache_folder.glob("prior/*/*.png")} == rendered


def test_captions_that_vary_are_encoded_as_they_come(job):
    for caption in job.dataset.folder.glob("*.txt"):
        caption.write_text("sks fox, red, dog, cat, photo", encoding="utf-8")
    plain, _ = train_here(job)
    dataset = job.dataset.model_copy(update={"shuffle_tags": True, "tag_dropout": 0.5})
    varied, _ = train_here(job.model_copy(update={"dataset": dataset}))
    assert lora_bytes(plain) != lora_bytes(varied)


def test_held_out_pictures_give_the_same_loss_for_the_same_weights(job):
    validation = job.validation.model_copy(update={"share": 0.3})
    job = job.model_copy(update={"validation": validation})
    first, second = (told_of(events.Validated, train_here(job)[1]) for _ in range(2))
    assert [v.loss for v in first] == [v.loss for v in second]
    assert first[0].loss != first[1].loss


def test_samples_are_rendered_before_and_after_each_epoch(job):
    samples = job.samples.model_copy(update={"every": 1, "steps": 2, "prompts": ("a fox",)})
    run, told = train_here(job.model_copy(update={"samples": samples}))
    assert [s.epoch for s in told_of(events.Sampled, told)] == [0, 1, 2]
    assert len(list(run.samples.glob("*.png"))) == 3


def test_a_sample_that_fails_does_not_end_the_run(job, monkeypatch):
    from trainer import looks

    def out_of_memory(*args):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(looks, "render", out_of_memory)
    samples = job.samples.model_copy(update={"every": 1, "prompts": ("a fox",)})
    _, told = train_here(job.model_copy(update={"samples": samples}))
    assert len(told_of(events.Warned, told)) == 3
    assert told_of(events.Proven, told)


def test_a_run_that_diverges_names_step_and_pictures_and_keeps_its_checkpoint(job, monkeypatch):
    from trainer.families.sd import Sd

    losses = Sd.losses
    calls = []

    def explode(self, batch):
        calls.append(batch)
        return losses(self, batch) * (float("nan") if len(calls) > 4 else 1.0)

    monkeypatch.setattr(Sd, "losses", explode)
    with pytest.raises(DivergedError, match=r"loss of step 3 is nan, with the pictures \d\d.png"):
        train_here(job)
    (run,) = job.runs.glob("*tiny*")
    assert (run / "checkpoints" / "step-000002" / "manifest.json").is_file()


def test_weights_that_are_no_numbers_are_refused_before_training(job, tiny_sd, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(tiny_sd, broken)
    (path,) = (broken / "unet").glob("*.safetensors")
    weights = load_file(path)
    weights["conv_in.weight"][0] = torch.nan
    save_file(weights, path, metadata={"format": "pt"})
    model = job.model.model_copy(update={"base": str(broken)})
    with pytest.raises(ModelError, match=r"hold NaN or infinite values, the first is 'conv_in"):
        train_here(job.model_copy(update={"model": model}))


@pytest.mark.parametrize("packed", [False, True])
def test_what_trains_is_fp32_above_a_16_bit_model(job, packed):
    compute = job.compute.model_copy(update={"precision": "bf16", "packed": packed})
    run, told = train_here(job.model_copy(update={"compute": compute}))
    (proof,) = told_of(events.Proven, told)
    assert proof.difference < 2
    kept = run.checkpoints / "step-000004" / "adapter.safetensors"
    from safetensors.torch import load_file

    assert {t.dtype.itemsize for t in load_file(kept).values()} == {4}


def test_gradient_checkpointing_changes_nothing_but_memory(job, monkeypatch):
    plain, _ = train_here(job)
    recomputed = []
    checkpoint = torch.utils.checkpoint.checkpoint

    def counted(*args, **kwargs):
        recomputed.append(1)
        return checkpoint(*args, **kwargs)

    monkeypatch.setattr(torch.utils.checkpoint, "checkpoint", counted)
    compute = job.compute.model_copy(update={"gradient_checkpointing": True})
    other, _ = train_here(job.model_copy(update={"compute": compute}))
    assert lora_bytes(plain) == lora_bytes(other)
    assert recomputed


def test_so_many_files_are_spread_over_the_run_and_looks_come_no_more_often(
    tiny_sd, pictures, tmp_path
):
    run, told = train_here(
        tiny_job(
            tiny_sd,
            pictures(count=6),
            tmp_path / "runs",
            schedule={"epochs": 8},
            save={"files": 2},
            samples={"every": 1, "steps": 1, "prompts": ["a fox"]},
            validation={"share": 0.25, "every": 1},
        )
    )
    assert len(list(run.lora.glob("*.safetensors"))) == 2
    for kind, epochs in ((events.Saved, [4, 8]), (events.Sampled, [0, 4, 8])):
        assert [event.epoch for event in told_of(kind, told)] == epochs
    assert [event.epoch for event in told_of(events.Validated, told)] == [4, 8]
