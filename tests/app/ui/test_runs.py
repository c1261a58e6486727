"""The list of runs, and the page of one: while it trains, ever after, and whatever befell it."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.app.ui.told_runs import add, ended, running_here, started, stepped, told_run, whole_run

pytestmark = pytest.mark.ui


def open_run(visit, name: str, **how):
    from urllib.parse import quote

    return visit(f"/runs?work={quote(name)}", **how)


def with_samples(folder, *epochs: int) -> None:
    """Two prompts' pictures at these epochs, told and on disk."""
    from PIL import Image

    for epoch in epochs:
        for number, prompt in enumerate(("a fox", "a <b>dog</b>")):
            path = f"samples/e{epoch:04d}-s{2 * epoch:06d}-{number:02d}.png"
            Image.new("RGB", (64, 64), (40 * epoch, 90, 120)).save(folder / path)
            told = {"step": 2 * epoch, "epoch": epoch, "prompt": prompt, "seed": 42 + number}
            add(folder, {"kind": "Sampled", "path": path, **told})


# The list


def test_an_empty_list_says_what_a_run_is_and_how_to_begin(visit):
    page = visit("/runs")
    page.get_by_role("heading", name="No runs yet").wait_for()
    assert page.get_by_role("button", name="Try the demo").is_visible()


def test_runs_are_searched_filtered_and_ordered_and_the_address_keeps_it(visit, runs):
    whole_run(runs, "fox")
    told_run(runs, "owl", started(), ended("failed", problem="no memory"), status="failed")
    page = visit("/runs")
    rows = page.locator("table.runs tbody tr")
    page.get_by_text("2 runs in").wait_for()
    page.get_by_label("Status", exact=True).select_option("failed")
    assert rows.count() == 1
    page.reload()
    page.get_by_text("1 of 2 runs").wait_for()
    assert "no memory" in rows.first.inner_text()
    page.get_by_label("Status", exact=True).select_option("")
    page.get_by_label("Search runs").fill("fo")
    assert rows.count() == 1
    assert "fox" in rows.first.inner_text()


def test_the_curves_of_several_runs_are_laid_over_one_another(visit, runs):
    for name in ("fox", "owl"):
        whole_run(runs, name)
    page = visit("/runs")
    for name in ("fox", "owl"):
        page.get_by_label(f"Compare the curves of {name}").check()
    compared = page.get_by_role("region", name="Curves of several runs")
    compared.locator("canvas").wait_for()
    compared.get_by_text("owl").wait_for()
    page.reload()
    page.get_by_role("region", name="Curves of several runs").locator("canvas").wait_for()
    assert page.get_by_label("Compare the curves of owl").is_checked()


def test_a_row_changes_where_it_stands(visit, runs):
    folder = told_run(runs, "fox", started(), stepped(1))
    running_here(folder)
    page = visit("/runs")
    page.get_by_text("1 / 6").wait_for()
    row = page.locator("table.runs tbody tr").element_handle()
    page.get_by_label("Search runs").focus()
    add(folder, stepped(2))
    page.get_by_text("2 / 6").wait_for()
    assert row.evaluate("row => row.isConnected")
    assert page.evaluate("document.activeElement.type") == "search"


def test_a_thousand_runs_stay_usable(visit, runs):
    for number in range(1000):
        whole_run(runs, f"run-{number:04d}")
    page = visit("/runs")
    page.get_by_text("1000 runs in").wait_for()
    assert page.locator("table.runs tbody tr").count() == 60
    page.get_by_label("Search runs").fill("run-0777")
    assert page.locator("table.runs tbody tr").count() == 1


# One run


def test_a_run_is_followed_while_it_trains(visit, runs):
    folder = told_run(runs, "fox", started(), stepped(1))
    running_here(folder)
    page = open_run(visit, "fox")
    page.get_by_text("Step 1 of 6").first.wait_for()
    add(folder, stepped(2), {"kind": "Validated", "step": 2, "epoch": 1, "loss": 0.3})
    with_samples(folder, 0, 1)
    page.get_by_text("Step 2 of 6").first.wait_for()
    page.get_by_alt_text("a fox, Epoch 1").wait_for()
    assert page.get_by_text("a <b>dog</b>").first.is_visible(), "a prompt is text"
    assert page.get_by_role("button", name="Stop and save").is_visible()


def test_stopping_asks_the_process_and_says_what_happens(visit, runs):
    folder = told_run(runs, "fox", started(), stepped(1))
    running_here(folder)
    page = open_run(visit, "fox")
    page.get_by_role("button", name="Stop and save").click()
    page.get_by_text("It was asked to stop").wait_for()
    assert (folder / "stop").exists()
    add(folder, ended("stopped"))
    (folder / "state.json").write_text(json.dumps({"pid": 1, "status": "stopped"}))
    page.get_by_text("Stopped at step 1 of 6").wait_for()
    page.get_by_role("button", name="Resume").wait_for()


def test_samples_are_compared_with_the_base_and_between_epochs(visit, runs):
    folder = told_run(runs, "fox", started(), stepped(1))
    with_samples(folder, 0, 1, 2)
    page = open_run(visit, "fox")
    slider = page.get_by_label("Epoch", exact=True)
    slider.focus()
    page.keyboard.press("ArrowLeft")
    page.get_by_alt_text("a fox, Epoch 1").wait_for()
    page.get_by_role("button", name="Compare a fox with the base model").click()
    box = page.get_by_role("dialog", name="a fox")
    assert box.locator(".tag").all_inner_texts() == ["Base", "Epoch 1"]
    box.get_by_label("Left").select_option(label="Epoch 2")
    box = page.get_by_role("dialog", name="a fox")
    assert box.locator(".tag").all_inner_texts() == ["Epoch 2", "Epoch 1"]
    page.keyboard.press("Escape")
    box.wait_for(state="hidden")


def test_a_reload_keeps_how_curves_are_shown(visit, runs):
    whole_run(runs, "fox")
    page = open_run(visit, "fox")
    page.get_by_label("Log scale").check()
    page.get_by_label("Smoothing of the loss").fill("0.5")
    page.reload()
    page.locator(".plot canvas").first.wait_for()
    assert page.get_by_label("Log scale").is_checked()
    assert page.get_by_label("Smoothing of the loss").input_value() == "0.5"


def test_a_real_run_shows_its_files_settings_proof_and_log(visit, made_run):
    run = made_run(samples={"every": 1, "steps": 2, "prompts": ["a fox"]})
    (run.path / "worker.log").write_text("one\rtwo\nthree\n")
    page = open_run(visit, run.name)
    files = page.get_by_role("region", name="LoRA files")
    files.get_by_text("tiny-e0001.safetensors").wait_for()
    with page.expect_download() as download:
        files.get_by_role("link", name="Download tiny-e0001").click()
    assert download.value.suggested_filename == "tiny-e0001.safetensors"
    page.locator("#page").get_by_text("Settings", exact=True).click()
    page.get_by_text("Changed from the defaults").wait_for()
    page.get_by_text("Log of the process").click()
    page.locator("#log pre").get_by_text("two").wait_for()


def test_a_failed_run_says_what_where_and_what_to_try(visit, runs):
    problem = {"problem": "the loss is no number", "where": "step 3", "hint": "lower the rate"}
    told_run(runs, "fox", started(), stepped(1), ended("failed", **problem), status="failed")
    page = open_run(visit, "fox")
    told = page.get_by_role("alert").first.inner_text()
    assert all(words in told for words in problem.values())


def test_a_run_that_died_says_so_and_can_go_on(visit, runs):
    told_run(runs, "fox", started(), stepped(1), status="died")
    page = open_run(visit, "fox")
    page.get_by_text("It ended without a word").wait_for()
    assert page.get_by_role("button", name="Resume").is_visible()


def test_a_run_from_another_version_is_shown_with_what_is_not_known(visit, runs):
    folder = whole_run(runs, "fox")
    with (folder / "job.toml").open("a") as file:
        file.write('\n[quantum]\nflux = "capacitor"\n')
    page = open_run(visit, "fox")
    page.locator("#page").get_by_text("Settings", exact=True).click()
    page.get_by_text("this version does not know it").wait_for()
    assert page.get_by_text("quantum.flux").is_visible()


def test_a_job_that_cannot_be_read_and_a_file_of_garbage_are_told(visit, runs):
    folder = whole_run(runs, "fox")
    (folder / "job.toml").write_bytes(b"\xff\x00 = [[[")
    (folder / "events.jsonl").write_bytes(bytes(range(256)) * 40)
    page = open_run(visit, "fox")
    page.get_by_text("Its job cannot be read").wait_for()
    assert page.get_by_text("The curves begin with the first step.").is_visible()


def test_a_run_that_is_deleted_while_it_is_shown_is_said_to_be_gone(visit, runs):
    folder = told_run(runs, "fox", started(), stepped(1))
    running_here(folder)
    page = open_run(visit, "fox")
    page.get_by_text("Step 1 of 6").first.wait_for()
    shutil.rmtree(folder)
    page.get_by_role("heading", name="This run is not there").wait_for()
    assert page.locator(".empty").get_by_role("link", name="All runs").is_visible()


@pytest.mark.parametrize("name", ["2026-🦊-run", "ריצה של שועל", "a b&c#d%20"])
def test_a_name_of_any_letters_is_shown_and_followed(visit, runs, name):
    whole_run(runs, name)
    page = visit("/runs")
    page.get_by_role("link", name=name).click()
    page.get_by_role("heading", name=name).wait_for()
    page.get_by_text("6 of 6 steps").wait_for()


def test_a_run_goes_to_the_trash_and_comes_back(visit, runs):
    whole_run(runs, "fox")
    page = open_run(visit, "fox")
    page.get_by_text("More", exact=True).click()
    page.get_by_role("button", name="Move to the trash").click()
    page.get_by_role("dialog").get_by_role("button", name="Move to the trash").click()
    page.get_by_role("heading", name="No runs yet").wait_for()
    assert (runs / "trash" / "fox" / "job.toml").is_file()
    page.get_by_role("button", name="Put back").click()
    page.get_by_role("link", name="fox").wait_for()
    assert (runs / "fox" / "job.toml").is_file()


def test_a_longer_run_is_said_to_be_a_new_one(visit, runs):
    whole_run(runs, "fox")
    page = open_run(visit, "fox")
    page.get_by_text("More", exact=True).click()
    page.get_by_role("button", name="Continue longer").click()
    page.get_by_text("train again for longer, from the beginning").wait_for()
    page.get_by_role("link", name="Set up the longer run").click()
    page.locator("body[data-page=train][data-ready=yes]").wait_for(state="attached")
    assert page.locator("[name='schedule.epochs']").input_value() == "6"


def test_only_lora_files_of_the_run_are_handed_out(visit, runs):
    folder = whole_run(runs, "fox")
    (folder / "lora" / "real.safetensors").write_bytes(b"weights")
    (folder / "lora" / "link.safetensors").symlink_to("/etc/hostname")
    page = visit("/runs")
    page.expected += ["400", "the server responded with a status of 400"]
    ask = """async name => {
        const query = new URLSearchParams({ work: "fox", name });
        return (await fetch(`/api/runs/lora?${query}`)).status;
    }"""
    assert page.evaluate(ask, "real.safetensors") == 200
    for name in ("../job.toml", "link.safetensors", "/etc/hostname", "none.safetensors"):
        assert page.evaluate(ask, name) == 400


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_pages_are_accessible_in_both_colours(visit, runs, require_accessible, scheme):
    folder = whole_run(runs, "fox")
    with_samples(folder, 0, 1, 2)
    problem = {"problem": "the loss is no number", "where": "step 3", "hint": "lower the rate"}
    told_run(runs, "owl", started(), stepped(1), ended("failed", **problem), status="failed")
    page = visit("/runs?over=fox", color_scheme=scheme)
    page.locator("canvas").wait_for()
    require_accessible(page)
    page = open_run(visit, "fox", color_scheme=scheme)
    for words in ("Settings", "Log of the process"):
        page.locator("#page").get_by_text(words, exact=True).click()
    page.get_by_text("Changed from the defaults").wait_for()
    require_accessible(page)
    require_accessible(open_run(visit, "owl", color_scheme=scheme))
