"""Asking for pictures, without rendering any."""

from __future__ import annotations

import json
import shutil

import pytest

from app.generate import recipe, shelf
from app.generate.asked import Asked, Machine, Order, settle
from app.generate.studio import Outcome, Studio
from app.generate.waking import Waker
from trainer.core import toml
from trainer.core.errors import AdapterError, ConfigError, RunError


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_sd):
    """Two epochs of a LoRA on a tiny model."""
    from tests.conftest import write_pictures
    from tests.trainer.training import tiny_job, train_here

    root = tmp_path_factory.mktemp("trained")
    write_pictures(root / "pictures", 4, (64, 64), captions=True, seed=0)
    return train_here(tiny_job(tiny_sd, root / "pictures", root, analysis={"steps": 7}))[0]


@pytest.fixture
def run(trained, runs):
    """The same among this test's runs."""
    from trainer.job.run import Run

    return Run(shutil.copytree(trained.path, runs / trained.name))


def order(**changes) -> Order:
    values = {"prompt": "a fox", "negative": "", "seed": 7, "pictures": 1, "width": 64}
    return Order(**{**values, "height": 64, "steps": 3, "guidance": 3.0, **changes})


def png(told) -> bytes:
    from PIL import Image

    from trainer.data.prior import as_png

    return as_png(Image.new("RGB", (8, 8)), told)


def test_what_is_left_open_is_as_the_loras_own_run_has_it(run, runs, tiny_sd):
    asked = Asked(prompt="a fox", loras=({"file": str(run.lora_files[0])},))
    settled = settle(asked, Machine(runs))
    assert (settled.model.base, settled.width, settled.height) == (str(tiny_sd), 64, 64)
    assert (settled.steps, settled.loras[0].strength) == (7, 1.0)
    assert 0 <= settled.seed < 2**31


def test_without_any_lora_the_demo_model_is_asked(runs):
    settled = settle(Asked(prompt="a fox", seed=3), Machine(runs))
    assert (settled.model.base, settled.seed, settled.width) == ("demo", 3, 128)


def test_a_lora_from_elsewhere_is_taken_with_the_base_that_is_named(run, runs, tiny_sd, tmp_path):
    copy = shutil.copy(run.lora_files[0], tmp_path / "other.safetensors")
    settled = settle(
        Asked(prompt="a", base=str(tiny_sd), loras=({"file": str(copy)},)), Machine(runs)
    )
    assert settled.model.base == str(tiny_sd)


@pytest.mark.parametrize(
    ("asked", "where"),
    [
        ({"prompt": "  "}, "prompt"),
        ({"prompt": "a", "loras": [{"file": "/gone.safetensors"}]}, "loras.0.file"),
        ({"prompt": "a", "loras": [{"file": "//server/x.safetensors"}]}, "loras.0.file"),
        ({"prompt": "a", "loras": [{"file": "x.safetensors"}]}, "loras.0.file"),
        ({"prompt": "a", "base": "/gone"}, "base"),
        ({"prompt": "a", "steps": 0}, "steps"),
        ({"prompt": "a", "pictures": 1000}, "pictures"),
        ({"prompt": "a", "width": "wide"}, "width"),
        ({"prompt": "a", "loras": [{"file": "x", "strength": 99}]}, "loras.0.strength"),
        ({"prompt": "a" * 20_001}, "prompt"),
        ({"prompt": "a", "step": 3}, "step"),
    ],
)
def test_a_bad_value_is_told_at_its_field(runs, asked, where):
    from trainer.core.errors import UserError

    with pytest.raises(UserError) as caught:
        settle(toml.parse(Asked, asked), Machine(runs))
    assert caught.value.where == where


def test_a_file_that_is_no_lora_is_refused(runs, tmp_path):
    fake = tmp_path / "fake.safetensors"
    fake.write_bytes(b"PK\x03\x04 a pickle in disguise")
    with pytest.raises(AdapterError, match="pickle"):
        settle(Asked(prompt="a", loras=({"file": str(fake)},)), Machine(runs))


def test_an_order_waits_is_begun_and_ends(runs):
    studio = Studio.below(runs)
    placed = studio.add(order())
    assert [studio.standing(placed, alive=alive) for alive in (False, True)] == ["waiting"] * 2
    studio.begin(placed)
    assert studio.standing(placed, alive=True) == "running"
    assert studio.standing(placed, alive=False) == "died"
    studio.bury()
    assert studio.standing(placed, alive=False) == "failed"
    assert "without a word" in placed.outcome.problem
    assert (studio.find(placed.name).order, studio.waiting()) == (order(), [])


@pytest.mark.parametrize("name", ["../x", "", "controls", "20260101-000000-000000"])
def test_only_orders_are_found(runs, name):
    Studio.below(runs).add(order())
    with pytest.raises(RunError):
        Studio.below(runs).find(name)


def test_an_order_that_is_removed_while_it_is_rendered_is_no_longer_wanted(runs):
    studio = Studio.below(runs)
    placed = studio.add(order())
    studio.begin(placed)
    studio.remove(placed)
    assert placed.stop_asked()
    studio.end(placed, Outcome("stopped"))
    assert (placed.path.exists(), studio.orders()) == (False, [])


def test_a_process_that_never_comes_is_given_up(runs, monkeypatch):
    monkeypatch.setattr("app.generate.waking._PATIENCE", 0.0)
    studio = Studio.below(runs)
    placed = studio.add(order())
    started = []
    waker = Waker(started.append)
    assert [waker.wake(studio) for _ in range(4)] == [True, True, True, False]
    assert len(started) == 3
    assert "does not start" in placed.outcome.problem


def test_a_picture_says_how_it_was_made_and_is_read_back():
    use = {"file": "/private/place/fox.safetensors", "strength": 0.8}
    told = recipe.facts(
        order(loras=[use]),
        8,
        {use["file"]: "d" * 64},
        {"size": [64, 48], "sampler": "DDIM", "precision": "fp32", "versions": {}},
    )
    content = png(recipe.chunks(told))
    assert b"/private" not in content
    found = recipe.read(content)
    assert (found.prompt, found.seed, found.width, found.height) == ("a fox", 8, 64, 48)
    assert found.loras == (("fox.safetensors", "d" * 64, 0.8),)


def test_recipes_of_other_programs_are_read():
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text(
        "parameters",
        "a fox <lora:fox:0.7>, snow\nNegative prompt: blur\n"
        "Steps: 30, Sampler: Euler a, CFG scale: 6.5, Seed: 42, Size: 512x768, Model: sd15",
    )
    found = recipe.read(png(info))
    assert (found.prompt, found.negative, found.seed) == ("a fox , snow", "blur", 42)
    assert (found.steps, found.guidance, found.width, found.height) == (30, 6.5, 512, 768)
    assert found.loras == (("fox", "", 0.7),)


def test_a_sweeps_cell_is_read_and_its_lora_found_by_its_hash(run, runs):
    from PIL.PngImagePlugin import PngInfo

    from trainer.core.files import hash_file

    digest = hash_file(run.lora_files[1])
    report = run.path / "analysis" / "1" / "report.json"
    report.parent.mkdir(parents=True)
    known = [{"epoch": 2, "file": run.lora_files[1].name, "digest": digest}]
    report.write_text(json.dumps({"checkpoints": known, "verdict": {"choice": None}}))
    info = PngInfo()
    cell = {"base": ["x"], "lora": digest, "epoch": 2, "strength": 0.6, "prompt": "a fox"}
    cell |= {"seed": 1000, "size": [64, 64], "steps": 5, "guidance": 3.0, "negative": ""}
    info.add_text("sweetspot", json.dumps(cell))
    told = recipe.read(png(info))
    assert shelf.files_of(told, runs) == [("", run.lora_files[1], 0.6)]


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n", png(None)])
def test_what_carries_no_recipe_is_refused(content):
    with pytest.raises(ConfigError):
        recipe.read(content)


def test_a_recipe_of_nonsense_is_refused():
    from PIL.PngImagePlugin import PngInfo

    for text in ("[]", '{"prompt": 3}', "{" * 500, '{"size": "x", "prompt": "a"}'):
        info = PngInfo()
        info.add_text("sweetspot", text)
        with pytest.raises(ConfigError):
            recipe.read(png(info))


def test_the_epoch_of_the_verdict_comes_first(run, runs):
    report = run.path / "analysis" / "1" / "report.json"
    report.parent.mkdir(parents=True)
    verdict = {"choice": {"epoch": 1, "strength": 0.8}, "headline": "Keep epoch 1."}
    report.write_text(json.dumps({"checkpoints": [], "verdict": verdict, "prompts": []}))
    rack = shelf.racks(runs)[0]
    assert [(kept.epoch, kept.strength) for kept in rack.files] == [(1, 0.8), (2, None)]
    assert (rack.headline, shelf.racks(runs, "nothing like it")) == ("Keep epoch 1.", [])
    assert shelf.about(str(run.lora_files[0]), runs).strength == 0.8


def test_a_run_of_another_version_is_no_ones_ground(run, runs):
    run.job_path.write_text("version = 99\n")
    assert settle(Asked(prompt="a"), Machine(runs)).model.base == "demo"
    assert shelf.bases(runs) == ["demo"]
    assert shelf.racks(runs)


def test_a_damaged_order_is_shown_as_such(runs):
    from app.generate.view import shown

    studio = Studio.below(runs)
    placed = studio.add(order())
    (placed.path / "order.json").write_text("{")
    row = shown(studio, placed, alive=False)
    assert (row["status"], row["asked"]) == ("failed", None)
