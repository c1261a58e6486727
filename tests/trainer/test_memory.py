from dataclasses import replace

import pytest
import torch

from tests.trainer.training import lora_bytes, tiny_job, train_here
from trainer.core import events
from trainer.core.device import Plan, Thrift
from trainer.core.errors import ConfigError, ResourceError, RunError
from trainer.engine.bank import Bank, Row
from trainer.engine.memory import OWN, fitted, phases, rendering, tiers
from trainer.engine.sampling import Recipe, encode, render_arrays, use_lora
from trainer.families.flux import FluxConfig
from trainer.families.folder import ModelFolder
from trainer.job.memory import MemoryConfig
from trainer.networks.held import HeldLinear
from trainer.planning import plan_of, plan_to_render
from trainer.preflight import preflight
from trainer.weights.files import read

GIB = 2**30


@pytest.fixture
def make_job(tiny_flux, pictures, tmp_path):
    folder = pictures(count=4)

    def make(**changes):
        sizes = {"model": {"kind": "flux", "base": str(tiny_flux), "resolution": 64}}
        return tiny_job(tiny_flux, folder, tmp_path / "runs", **sizes | changes)

    return make


@pytest.mark.parametrize("bits", ["int8", "fp8", "nf4"])
def test_a_run_on_weights_in_fewer_bits_trains_saves_and_is_proven(make_job, bits):
    run, told = train_here(make_job(memory={"base": bits, "text": bits}, save={"diffusers": True}))
    proven = [event for event in told if isinstance(event, events.Proven)]
    assert len(proven) == 2
    assert all(one.moved > 0 for one in proven)
    exact, _ = train_here(make_job(save={"diffusers": True}))
    assert lora_bytes(run) != lora_bytes(exact)


def test_a_stopped_run_on_8_bits_ends_as_one_that_was_not(make_job):
    whole, _ = train_here(make_job(memory={"base": "int8"}))
    run, _ = train_here(make_job(memory={"base": "int8"}), stop_after=1)
    train_here(run.job, run=run)
    assert lora_bytes(run) == lora_bytes(whole)


def test_resuming_on_other_weights_is_refused(make_job):
    run, _ = train_here(make_job(), stop_after=1)
    text = run.job_path.read_text(encoding="utf-8")
    run.job_path.write_text(text.replace('base = "plain"', 'base = "int8"', 1), encoding="utf-8")
    with pytest.raises(RunError, match="computes in fp32, and here fp32 with int8 weights"):
        train_here(run.job, run=run)


def test_parts_are_read_when_they_are_needed_and_freed_before_the_next(make_job, monkeypatch):
    read = ModelFolder.part
    order = []

    def reading(self, name, plan):
        order.append(name)
        return read(self, name, plan)

    monkeypatch.setattr(ModelFolder, "part", reading)
    monkeypatch.setattr("trainer.train.prove", lambda *given: [])
    train_here(make_job())
    assert order == ["text_encoder", "text_encoder_2", "vae", "transformer"]


def test_reading_parts_at_once_changes_nothing_of_what_is_learned(make_job):
    runs = [train_here(make_job(memory={"staged": staged}))[0] for staged in (True, False)]
    assert lora_bytes(runs[0]) == lora_bytes(runs[1])


def test_recomputing_half_of_the_blocks_learns_the_same(make_job):
    runs = [
        train_here(make_job(memory={"recompute": share}, compute={"gradient_checkpointing": on}))[0]
        for on, share in ((False, 1.0), (True, 0.5))
    ]
    assert lora_bytes(runs[0]) == lora_bytes(runs[1])


# The plan


@pytest.fixture
def large(make_job):
    """A job, and an outline of FLUX.1's size."""
    job = make_job()
    outline = replace(
        job.model.outline(job.adapter.targets),
        weights={
            "transformer": 11_900_000_000,
            "text_encoder": 123_000_000,
            "text_encoder_2": 4_760_000_000,
            "vae": 84_000_000,
        },
        holdable={
            "transformer": 11_700_000_000,
            "text_encoder_2": 4_600_000_000,
            "text_encoder": 0,
        },
        kept=12 * GIB,
        recomputed=GIB // 2,
        block=GIB // 2,
    )
    return job, outline


def test_a_target_chooses_the_fastest_plan_that_fits(large):
    job, outline = large
    plan = Plan("cuda", "bf16", thrift=Thrift(staged=True))
    chosen = {gib: fitted(job, plan, outline, gib * GIB) for gib in (80, 32, 24, 12)}
    told = {gib: (one.checkpointing, one.thrift.base) for gib, one in chosen.items()}
    assert told == {
        80: (False, "plain"),
        32: (True, "plain"),
        24: (True, "int8"),
        12: (True, "nf4"),
    }
    assert fitted(job, plan, outline, 7 * GIB).thrift.offload > 0


def test_each_tier_takes_less_than_the_one_before(large):
    job, outline = large
    plan = Plan("cuda", "bf16", thrift=Thrift(staged=True))
    peaks = [phases(job, tier, outline).peak for tier in tiers(job.memory.thrift, plan)]
    first = peaks[:4]
    assert first == sorted(first, reverse=True)
    assert len(set(first)) == 4


def test_where_4_bits_do_not_work_a_target_is_met_by_8_bits_and_waiting_weights(large):
    job, outline = large
    plan = Plan("cuda", "bf16", thrift=Thrift(staged=True))
    chosen = fitted(job, plan, outline, 10 * GIB, four_bits=False)
    assert (chosen.thrift.base, chosen.thrift.text) == ("int8", "int8")
    assert chosen.thrift.offload > 0


def test_weights_that_were_asked_to_wait_do_so_in_every_plan(large):
    _job, _ = large
    asked = Thrift(staged=True, offload=0.75)
    found = list(tiers(asked, Plan("cuda", "bf16", thrift=asked)))
    assert {tier.thrift.base for tier in found} == {"plain", "int8"}
    assert min(tier.thrift.offload for tier in found) == 0.75


@pytest.mark.parametrize(("precision", "times"), [("bf16", 1), ("fp16", 2), ("fp32", 2)])
def test_a_vae_that_overflows_fp16_is_counted_in_fp32_there_and_not_in_bf16(
    large, precision, times
):
    job, outline = large
    plain = phases(job, Plan("cuda", "bf16", thrift=Thrift(staged=True)), outline)
    plan = Plan("cuda", precision, thrift=Thrift(staged=True))
    found = phases(job, plan, replace(outline, wide_vae=True))
    assert found.pictures - OWN == times * (plain.pictures - OWN)


def test_a_picture_is_rendered_on_weights_that_fit_the_run_s_target(large, monkeypatch):
    job, outline = large
    monkeypatch.setattr(type(job.model), "outline", lambda self, targets: outline)
    plan = Plan("cuda", "bf16")
    monkeypatch.setattr("trainer.core.device.plan", lambda *given, **more: plan)
    monkeypatch.setattr("trainer.networks.held.four_bits_problem", lambda device: None)
    chosen = {
        gib: plan_to_render(job.model, MemoryConfig(target_gib=gib), "cuda", "bf16")
        for gib in (48, 24, 12)
    }
    bits = {gib: one.thrift.base for gib, one in chosen.items()}
    assert bits == {48: "plain", 24: "int8", 12: "nf4"}
    for gib, one in chosen.items():
        assert rendering(one, outline, job.model.resolution) <= gib * GIB
    least = plan_to_render(job.model, MemoryConfig(target_gib=1), "cuda", "bf16")
    assert least.thrift.offload == 1


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"memory": {"base": "nf4", "offload": 0.5}}, "memory.offload"),
        ({"compute": {"attention": "bogus"}}, "compute.attention"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_read(make_job, monkeypatch, changes, where):
    monkeypatch.setattr(ModelFolder, "part", None)
    with pytest.raises(ConfigError) as raised:
        plan_of(make_job(**changes))
    assert raised.value.where == where
    assert "Linear4bit" not in str(raised.value)
    assert "_sage" not in str(raised.value)


@pytest.mark.parametrize(("bits", "most"), [("int8", 0.02), ("fp8", 0.05), ("nf4", 0.12)])
def test_t5_in_fewer_bits_says_nearly_the_same(bits, most):
    def words(held):
        plan = Plan("cpu", "bf16", thrift=Thrift(text=held))
        model = FluxConfig(kind="flux", base="demo").load(plan)
        with torch.no_grad():
            return model.encode_captions(("a red apple",))["encoder_hidden_states"].float()

    plain = words("plain")
    off = (words(bits) - plain).norm() / plain.norm()
    assert 0 < off < most


def test_t5_s_widest_layer_computes_in_fp32_where_the_rest_is_fp16():
    folder = ModelFolder.find("demo", pipeline="FluxPipeline")
    plan = Plan("cpu", "fp16", thrift=Thrift(text="nf4"))
    t5 = folder.part("text_encoder_2", plan)
    (path, layer) = next((p, m) for p, m in t5.named_modules() if p.endswith("wo"))
    assert isinstance(layer, HeldLinear), path
    answer = layer(torch.full((1, layer.in_features), 3e4, dtype=torch.float16))
    assert answer.dtype == torch.float32
    assert answer.isfinite().all()


def test_words_that_were_encoded_in_other_bits_are_not_taken_from_the_cache(make_job):
    keys = {
        held: make_job().model.load(Plan("cpu", "fp32", thrift=Thrift(text=held))).text_key
        for held in ("plain", "int8", "nf4")
    }
    assert len(set(keys.values())) == 3


def test_settings_that_mean_nothing_here_are_told(make_job, tiny_flux):
    from trainer.data.folder import scan

    flow = {"sampling": "uniform", "mean": 2.0}
    model = {"kind": "flux", "base": str(tiny_flux), "resolution": 64, "flow": flow}
    job = make_job(memory={"offload": 0.5}, model=model)
    told = " ".join(preflight(job, plan_of(job), scan(job.dataset)).warnings)
    assert "memory.offload saves nothing on the CPU" in told
    assert "model.flow.mean" in told


def test_a_target_that_no_plan_meets_is_refused_with_the_least_that_would_do(make_job):
    job = make_job(memory={"target_gib": 0.1})
    with pytest.raises(ConfigError, match=r"64 px .* into 0\.1 GiB: the thriftiest plan takes"):
        plan_of(job)


def test_the_plan_is_told_before_anything_is_loaded(make_job, monkeypatch):
    from trainer.data.folder import scan

    job = make_job(memory={"base": "nf4"}, compute={"gradient_checkpointing": True})
    monkeypatch.setattr(ModelFolder, "part", None)
    told = preflight(job, plan_of(job), scan(job.dataset)).facts["memory plan"]
    assert told.startswith("transformer nf4 ")
    assert "text encoders freed after caching" in told
    assert "(recomputed)" in told
    assert ", peak " in told


def test_a_full_memory_says_what_was_in_it_and_what_takes_less(make_job, monkeypatch):
    from trainer.families.flux import Flux

    losses = Flux.losses
    calls = []

    def full(self, batch):
        calls.append(batch)
        if len(calls) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return losses(self, batch)

    monkeypatch.setattr(Flux, "losses", full)
    with pytest.raises(ResourceError, match=r"full at step 2 .*: transformer 0\.0 GiB") as raised:
        train_here(make_job())
    assert "the last good checkpoint is step-000001" in raised.value.problem
    assert raised.value.hint


@pytest.mark.parametrize("bits", ["int8", "nf4"])
def test_a_sweep_renders_on_weights_in_fewer_bits_what_one_lora_alone_gives(make_job, bits):
    run, _ = train_here(make_job(memory={"base": bits}))
    path = sorted(run.lora.glob("*.safetensors"))[-1]
    recipe = Recipe((64, 64), 2, 1.0)

    def load():
        return run.job.model.load(Plan("cpu", "fp32", thrift=Thrift(base=bits, text=bits)))

    model = load()
    bank = Bank(model, {"lora": read(path).weights(run.job.model.naming)})
    words = encode(model, ["a fox"], "").repeated(2)
    with bank.rows([Row(), Row("lora", 1.0)]):
        plain, ours = render_arrays(model, words, [3, 3], recipe)
    alone = load()
    use_lora(alone, path)
    (theirs,) = render_arrays(alone, encode(alone, ["a fox"], ""), [3], recipe)
    assert abs(ours - theirs).max() < 1e-4 < abs(ours - plain).max()
