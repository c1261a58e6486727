"""The page that says which epoch to keep, at which strength."""

from __future__ import annotations

import json
import shutil

import pytest

from analysis.folder_work import FolderWork
from analysis.sweep import Sweep, SweepConfig
from tests.analysis.report_data import NASTY, PROMPTS, Made, told
from trainer.core.events import Ended, Rendered, write_to

pytestmark = pytest.mark.ui


@pytest.fixture
def visit(visit):
    """With more patience, for machines that do other things too."""

    def patient(*args, **kwargs):
        page = visit(*args, **kwargs)
        page.set_default_timeout(45_000)
        return page

    return patient


@pytest.fixture
def made_up(runs):
    """`made_up()`: the name of an analysis that is finished, with pictures but without a model."""

    def make(made: Made | None = None, name: str = "made-up") -> str:
        config = SweepConfig(name=name, loras=("/nowhere/made-up-e0020.safetensors",))
        sweep = Sweep.create(config, runs / "sweeps", name)
        values = told(sweep.path, made or Made(side=32))
        (sweep.path / "report.json").write_text(json.dumps(values), encoding="utf-8")
        (sweep.path / "scores.csv").write_text("epoch,strength\n", encoding="utf-8")
        sweep.close("completed")
        return f"sweeps/{sweep.name}"

    return make


def cell(page, at):
    return page.locator(f'.cells button[data-at="{at}"]')


# Choosing and asking


def test_an_empty_machine_is_told_what_to_do_first(visit):
    page = visit("/analysis")
    page.get_by_role("heading", name="There is no run yet").wait_for()
    assert page.get_by_role("link", name="Train a LoRA").is_visible()
    assert page.get_by_text("Earlier analyses").is_hidden()


def test_a_run_without_files_cannot_be_chosen(visit, made_run):
    run = made_run()
    shutil.rmtree(run.lora)
    page = visit("/analysis")
    page.get_by_text("no LoRA files").wait_for()
    assert page.get_by_role("link", name=run.name).count() == 0


def test_a_wrong_value_is_told_at_its_field_and_a_reload_keeps_what_was_typed(visit, made_run):
    run = made_run()
    page = visit(f"/analysis?run={run.name}")
    seeds = page.get_by_label("Seeds", exact=True)
    seeds.fill("two")
    wrong = page.locator('.field[data-path="seeds"] .wrong')
    wrong.wait_for()
    assert "got 'two'" in wrong.inner_text()
    assert page.get_by_role("button", name="Start").is_disabled()
    page.reload()
    page.locator("body[data-ready=yes]").wait_for(state="attached")
    assert page.get_by_label("Seeds", exact=True).input_value() == "two"


def test_a_sweep_is_asked_for_watched_judged_and_kept(visit, made_run, tmp_path):
    run = made_run()
    page = visit(f"/analysis?run={run.name}")
    page.get_by_label("Strengths", exact=True).fill("0.5\n1")
    page.get_by_label("Prompts", exact=True).fill(f"a frog\n{PROMPTS[0]}, 🦊 عربى")
    page.get_by_label("Seeds", exact=True).fill("1")
    page.get_by_label("All settings").check()
    page.get_by_label("Steps", exact=True).fill("2")
    page.get_by_text("of the grid's 8").wait_for(timeout=40_000)
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**/analysis?work=*", timeout=40_000)
    page.locator(".cells .base img").wait_for(timeout=60_000)
    page.reload()
    page.locator(".verdict .headline").wait_for(timeout=90_000)
    page.locator(".cells img:visible").nth(4).wait_for()  # the control and each setting's
    page.locator(".chooser button", has_text="عربى").click()
    cell(page, "2|1").click()
    page.get_by_role("button", name="Keep this setting's file").click()
    page.get_by_label("Folder").fill(str(tmp_path / "kept"))
    page.get_by_label("File name").fill("mine.safetensors")
    page.get_by_role("button", name="Copy it there").click()
    page.get_by_text("Use it at strength 1").wait_for(timeout=40_000)
    assert (tmp_path / "kept" / "mine.safetensors").is_file()


# The verdict


def test_the_verdict_and_its_marks_are_told_in_words_too(visit, made_up):
    page = visit(f"/analysis?work={made_up()}")
    page.locator(".headline").wait_for()
    chosen = page.locator(".cells .cell.pick")
    assert chosen.count() == 1
    assert "the choice" in chosen.get_attribute("aria-label")
    assert page.locator(".cells .cell.out").count() > 0
    assert "ruled out:" in page.locator(".cells .cell.out").first.get_attribute("aria-label")
    assert page.locator(".heat .pick").count() == page.locator(".heat").count()


def test_keys_walk_the_grid_and_the_large_picture_and_a_reload_keeps_the_prompt(visit, made_up):
    page = visit(f"/analysis?work={made_up()}")
    cell(page, "40|0.4").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.at") == "60|0.6"
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Epoch 60 at strength 0.6").wait_for()
    page.keyboard.press("ArrowUp")
    page.get_by_role("heading", name="Epoch 40 at strength 0.6").wait_for()
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.dataset.at") == "60|0.6"
    page.locator(".chooser button", has_text="sks fox on a beach").click()
    page.reload()
    pressed = page.locator('.chooser button[aria-pressed="true"]').first
    pressed.wait_for()
    assert pressed.inner_text() == PROMPTS[1]


def test_prompts_are_text_whatever_is_in_them(visit, made_up):
    page = visit(f"/analysis?work={made_up()}")
    page.locator(".chooser button", has_text="alert(1)").click()
    cell(page, "40|0.4").click()
    assert page.locator("dialog .prompt").inner_text().split() == NASTY.split()


def test_another_rule_is_tried_without_writing(visit, made_up, runs):
    name = made_up()
    before = (runs / name / "report.json").read_bytes()
    page = visit(f"/analysis?work={name}")
    page.locator(".headline").wait_for()
    page.get_by_label("By which rule").select_option("ancestor")
    page.get_by_text("as a trial").wait_for()
    assert page.locator(".cells .cell.pick").count() == 1
    assert (runs / name / "report.json").read_bytes() == before


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_in_both_colours(visit, require_accessible, made_up, scheme):
    name = made_up()
    page = visit(f"/analysis?work={name}", color_scheme=scheme)
    page.locator(".standings tbody tr").first.wait_for()
    require_accessible(page)
    cell(page, "40|0.4").click()
    page.locator("dialog .pair").wait_for()
    require_accessible(page)
    page.goto(page.url.split("?")[0] + f"?vote={name}")
    page.locator(".duel").wait_for()
    require_accessible(page)
    page.goto(page.url.split("?")[0])
    page.locator(".card.analysis").wait_for()
    require_accessible(page)


@pytest.mark.parametrize("width", [390, 1024, 1440])
def test_nothing_is_wider_than_the_window(visit, made_up, width):
    page = visit(f"/analysis?work={made_up()}", width=width)
    page.locator(".standings tbody tr").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_sweep_of_5000_cells_stays_usable(visit, made_up):
    strengths = [n / 10 for n in range(1, 11)]
    made = Made(epochs=range(1, 51), strengths=strengths, seeds=(1, 2), side=16, broken=None)
    page = visit(f"/analysis?work={made_up(made)}")
    page.locator(".headline").wait_for()
    cell(page, "50|1").wait_for()
    assert page.locator(".cells button").count() == 501
    loaded = "[...document.querySelectorAll('.cells img')].filter((i) => i.naturalWidth).length"
    assert page.evaluate(loaded) < 400  # the others come when they are scrolled to
    page.locator(".chooser button").nth(1).click()
    probe = page.context.new_cdp_session(page)
    probe.send("Performance.enable", {"timeDomain": "threadTicks"})
    told_by = {m["name"]: m["value"] for m in probe.send("Performance.getMetrics")["metrics"]}
    assert told_by["ThreadTime"] < 5  # CPU seconds, whatever else the machine does


# What goes wrong


def test_a_damaged_report_is_told_with_what_to_do(visit, made_up, runs):
    name = made_up()
    (runs / name / "report.json").write_text('{"version": 1, "ma', encoding="utf-8")
    page = visit(f"/analysis?work={name}", ready=False)
    page.expected.append("400")
    page.get_by_text("the file is damaged").wait_for()
    assert page.get_by_role("button", name="Analyse again").is_visible()
    page.goto(page.url.split("?")[0])
    page.locator(".card.analysis").wait_for()


def test_a_sweep_that_failed_says_why_and_can_go_on(visit, runs):
    config = SweepConfig(name="failed", loras=("/nowhere/gone.safetensors",))
    sweep = Sweep.create(config, runs / "sweeps", "failed")
    emit = write_to(sweep.events_path)
    emit(Rendered(0, 0.0, "a fox", 1000, "cells/none.png"))
    emit(Ended("failed", problem="the card is gone", hint="plug it in", exit_code=6))
    sweep.close("failed")
    page = visit("/analysis?work=sweeps/failed")
    page.expected.append("404")
    page.get_by_text("the card is gone").wait_for()
    page.get_by_text("plug it in").wait_for()
    page.get_by_role("button", name="What it printed").click()
    page.get_by_text("Nothing.").wait_for()
    assert page.get_by_role("button", name="Go on").is_enabled()


def test_a_folder_that_is_deleted_while_it_is_open_is_told(visit, made_up, runs):
    name = made_up()
    page = visit(f"/analysis?work={name}")
    page.expected += ["400", "404"]
    page.locator(".headline").wait_for()
    shutil.rmtree(runs / name)
    page.locator(".card.status .problem").wait_for(timeout=20_000)
    assert page.locator(".headline").is_visible()  # what was read stays to be read


def test_an_analysis_that_is_not_there_is_told(visit):
    page = visit("/analysis?work=sweeps/none", ready=False)
    page.expected.append("400")
    page.locator(".problem").wait_for()
    assert page.get_by_role("link", name="All analyses").is_visible()


# Finished pictures


@pytest.mark.parametrize("with_controls", [True, False])
def test_finished_pictures_are_scored_with_controls_and_without(
    visit, made_up, runs, tmp_path, with_controls
):
    folder = tmp_path / "finished 🦊"
    folder.mkdir()
    made_up()
    for path in (runs / "sweeps/made-up/cells").glob("*-0-0*"):
        epoch, strength = path.stem.split("-")[:2]
        where = folder / ("base.png" if epoch == "c" else f"e{epoch}_s{strength}.png")
        shutil.copy(path, where)
    base = str(shutil.move(folder / "base.png", tmp_path / "base.png"))
    page = visit("/analysis?from=pictures")
    page.get_by_label("Folder of pictures").fill(str(folder))
    page.get_by_label("The base model's pictures").fill(base if with_controls else "")
    page.get_by_label("Rule").select_option("sweetspot" if with_controls else "ancestor")
    page.get_by_role("button", name="Score these pictures").click()
    page.wait_for_url("**/analysis?work=*")
    page.locator(".headline").wait_for(timeout=60_000)
    page.locator(".cells img:visible").nth(10).wait_for()
    assert FolderWork(next((runs / "sweeps").glob("*-finished"))).status() == "completed"


def test_a_folder_whose_names_say_nothing_is_refused_at_once(visit, tmp_path, runs):
    (tmp_path / "odd").mkdir()
    page = visit("/analysis?from=pictures")
    page.expected.append("400")
    page.get_by_label("Folder of pictures").fill(str(tmp_path / "odd"))
    page.get_by_role("button", name="Score these pictures").click()
    page.get_by_text("the folder has no pictures").wait_for()
    assert not (runs / "sweeps").exists()


# Votes


def test_votes_are_written_at_once_taken_back_and_seen_by_the_command_line(visit, made_up, runs):
    from typer.testing import CliRunner

    from app.cli import app

    name = made_up()
    page = visit(f"/analysis?vote={name}")
    told_votes = page.locator(".counted .note")
    for count, key in enumerate(["ArrowLeft", "ArrowRight", " ", "ArrowLeft"], start=1):
        page.keyboard.press(key)
        page.get_by_text(f"{count} vote", exact=False).first.wait_for()
    page.keyboard.press("u")
    page.get_by_text("3 votes;").wait_for()
    lines = (runs / name / "votes.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["winner"] for line in lines] == ["left", "right", "tie"]
    page.reload()
    told_votes.wait_for()
    assert told_votes.inner_text().startswith("3 votes;")
    page.get_by_role("button", name="What the votes say").click()
    page.get_by_text("3 votes count").wait_for()
    shown = CliRunner().invoke(app, ["votes", "show", str(runs / name)])
    assert "3 votes count" in shown.output
