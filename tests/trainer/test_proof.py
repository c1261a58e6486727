import pytest
import torch

from tests.trainer.training import tiny_job, train_here
from trainer.core.device import Plan
from trainer.core.errors import ProofError, ResourceError
from trainer.core.events import Proven, Warned
from trainer.families.sd import SdConfig
from trainer.proof import Asked, prove
from trainer.weights import layouts
from trainer.weights.files import read

BOTH = {"diffusers": True}


@pytest.fixture
def make_job(tiny_sd, pictures, tmp_path):
    def make(**changes):
        changes = {"schedule": {"epochs": 1}, **changes}
        return tiny_job(tiny_sd, pictures(count=4), tmp_path / "runs", **changes)

    return make


@pytest.fixture
def done(make_job):
    """A run's job, and what its proof was asked."""
    job = make_job()
    run, _ = train_here(job)
    (path,) = run.lora.iterdir()
    trained = read(path).weights(job.model.naming).tensors
    return job, Asked(trained, {path: "kohya"}, "a fox")


def proofs(told):
    return [event for event in told if isinstance(event, Proven)]


@pytest.mark.parametrize(
    "changes",
    [{}, {"save": {"precision": "fp16", **BOTH}}, {"text_encoder": {"train": True}}],
    ids=["fp32", "fp16", "text encoder"],
)
def test_the_file_in_the_diffusers_layout_is_proven_as_well(make_job, changes):
    _, told = train_here(make_job(**{"save": BOTH, **changes}))
    kohya, diffusers = proofs(told)
    assert (kohya.path, diffusers.path) == (
        "tiny-e0001.safetensors",
        "tiny-e0001-diffusers.safetensors",
    )
    assert diffusers.moved == pytest.approx(kohya.moved, rel=0.1, abs=0.01)


def test_a_diffusers_file_without_the_scale_in_b_is_no_proof(make_job, monkeypatch):
    scaled = layouts.to_diffusers

    def unscaled(weights, naming):
        ranks = {name: float(a.shape[0]) for name, a, _, _ in weights}
        return scaled(layouts.Weights(weights.tensors, ranks), naming)

    monkeypatch.setattr(layouts, "to_diffusers", unscaled)
    with pytest.raises(ProofError, match="has other values in the LoRA file") as raised:
        train_here(make_job(save=BOTH))
    assert raised.value.where.endswith("-diffusers.safetensors")


def test_a_diffusers_file_that_tells_another_alpha_than_its_rank_is_no_proof(make_job, monkeypatch):
    from trainer.weights import entry

    write = entry.write
    monkeypatch.setattr(
        entry,
        "write",
        lambda *given: write(*given).replace('"unet.lora_alpha": 2', '"unet.lora_alpha": 3'),
    )
    with pytest.raises(ProofError, match="has alpha 3 in the LoRA file, and should have 2"):
        train_here(make_job(save=BOTH))


def test_a_second_file_in_the_first_ones_layout_is_no_proof(make_job, monkeypatch):
    from trainer.engine import export

    write = export.files.export
    monkeypatch.setattr(
        export.files,
        "export",
        lambda *given, **named: write(*given, **{**named, "layout": "kohya"}),
    )
    with pytest.raises(ProofError, match="the layout 'kohya' and should have 'diffusers'"):
        train_here(make_job(save=BOTH))


def test_a_second_file_that_is_cut_short_is_no_proof(make_job, monkeypatch):
    from trainer.engine.export import Exporter

    write = Exporter.write

    def cut_short(self, state, moment):
        paths = write(self, state, moment)
        paths[-1].write_bytes(paths[-1].read_bytes()[:-1])
        return paths

    monkeypatch.setattr(Exporter, "write", cut_short)
    with pytest.raises(ProofError, match="the LoRA file does not open"):
        train_here(make_job(save=BOTH))


@pytest.fixture
def small_card(monkeypatch):
    """A device "cuda" on which no model fits."""
    load = SdConfig.load

    def loading(self, plan):
        if plan.device == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return load(self, plan)

    monkeypatch.setattr(SdConfig, "load", loading)


@pytest.mark.usefixtures("small_card")
def test_a_proof_that_does_not_fit_the_card_is_done_on_the_cpu(done):
    job, asked = done
    told = []
    (proven,) = prove(job, Plan("cuda", "fp16"), asked, told.append)
    assert proven.moved > 0
    assert [type(event) for event in told] == [Warned, Warned]
    assert "weights in 8 bits" in told[0].message
    assert "done on the CPU" in told[1].message


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_a_proof_that_fits_nowhere_says_what_to_do(done, monkeypatch, device):
    def full(self, plan):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(SdConfig, "load", full)
    job, asked = done
    with pytest.raises(ResourceError, match="too small to prove") as raised:
        prove(job, Plan(device, "fp32"), asked, lambda event: None)
    assert "only the proof is repeated" in raised.value.hint


def test_another_fault_of_the_proof_is_not_taken_for_full_memory(done, monkeypatch):
    def broken(self, plan):
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr(SdConfig, "load", broken)
    job, asked = done
    with pytest.raises(RuntimeError, match="no kernel image"):
        prove(job, Plan("cuda", "fp16"), asked, lambda event: None)
