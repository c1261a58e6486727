"""The page that trains: every setting drawn, values that survive, errors at their fields."""

from __future__ import annotations

import json
import random
import time

import pytest

from trainer.core.schema import describe
from trainer.core.trees import flat, nested
from trainer.job.config import JobConfig
from trainer.job.file import parse_job
from trainer.job.preset import load_preset
from trainer.job.run import Run, runs_in

pytestmark = pytest.mark.ui

FORM = """async ([specs, values]) => {
  const { form } = await import('/ui/form.js');
  const place = document.createElement('div');
  const shown = form(place, specs);
  shown.set(values);
  return shown.values();
}"""


@pytest.fixture
def page(visit, pictures):
    folder = pictures(count=4)
    shown = visit(f"/train?folder={folder}")
    shown.locator(".ahead .meter").wait_for(timeout=120_000)
    return shown


def test_every_setting_of_a_job_is_drawn(visit):
    page = visit("/train")
    page.get_by_label("All settings").check()
    drawn = page.locator(".field[data-path]").evaluate_all("all => all.map((f) => f.dataset.path)")
    assert set(drawn) == {spec.path for spec in describe(JobConfig)}
    seen = page.locator(".field[data-path]:visible").evaluate_all(
        "all => all.map((f) => f.dataset.path)"
    )
    counted = {s.path for s in describe(JobConfig) if s.only_if in (None, ("model.kind", "sd"))}
    assert {path for path in seen if path.startswith("model.")} == {
        path for path in counted if path.startswith("model.")
    }


def random_job(dice):
    """Values that a job takes: some settings away from their defaults."""
    values = {"dataset.folder": "/pictures", "dataset.class_word": "fox"}
    kinds = {"model.kind": dice.choice(["sd", "sdxl", "flux"])}
    values |= kinds
    for spec in describe(JobConfig):
        counts = spec.only_if is None or values.get(spec.only_if[0]) == spec.only_if[1]
        if not counts or spec.path in values or dice.random() < 0.7:
            continue
        match spec.kind:
            case "flag":
                values[spec.path] = dice.random() < 0.5
            case "choice" if not spec.path.endswith(".kind"):
                values[spec.path] = dice.choice(spec.choices)
            case "whole" if spec.low is not None and spec.high is not None:
                values[spec.path] = dice.randint(int(spec.low) + 1, min(int(spec.high), 4096))
            case "real" if spec.low is not None and spec.high is not None:
                values[spec.path] = round(dice.uniform(spec.low, min(spec.high, 10)), 6)
    return values


def valid_jobs(count):
    """So many random jobs, whose mixes of values are possible."""
    dice, found = random.Random(7), []
    while len(found) < count:
        values = random_job(dice)
        for path in list(values):
            try:
                parse_job(nested(dict(values)))
                break
            except Exception:
                values.pop(path, None) if path not in ("dataset.folder", "model.kind") else None
        try:
            job = parse_job(nested(dict(values)))
        except Exception:
            continue
        found.append(job)
    return found


def test_a_job_s_values_survive_the_form_and_the_preset(visit, home):
    """Form to job, job to preset, preset to form: what a preset may hold comes back."""
    from app import authoring, library
    from app.ui import forms
    from trainer.job.shareable import shareable

    page = visit("/home")
    specs = forms.specs(JobConfig)
    told = {spec.path: spec for spec in describe(JobConfig)}
    for number, job in enumerate(valid_jobs(40)):
        values = flat(job.model_dump(mode="json"))
        drawn = page.evaluate(FORM, [specs, values])
        again = parse_job(forms.tree(drawn))
        assert again == job
        preset = authoring.of_settings(again, {"name": f"random-{number}"})
        kept = load_preset(library.save(preset))
        held = page.evaluate(FORM, [specs, flat(kept.settings)])
        for path, value in flat(kept.settings).items():
            if path in told and shareable(told[path]):
                assert json.dumps(held.get(path)) == json.dumps(drawn.get(path)), (path, value)


def test_a_value_that_cannot_be_shows_its_error_at_its_field_also_where_it_was_folded_away(page):
    page.get_by_label("All settings").check()
    for path, text in (("adapter.rank", "0"), ("schedule.warmup", "7")):
        page.locator(f'[data-path="{path}"] input').fill(text)
    page.get_by_label("All settings").uncheck()
    page.get_by_role("button", name="Start training").click()
    for path in ("adapter.rank", "schedule.warmup"):
        page.locator(f'[data-path="{path}"] .wrong').wait_for()
    assert page.locator('[data-path="adapter.rank"] input').evaluate(
        "n => n === document.activeElement"
    )
    page.locator('[data-path="adapter.rank"] input').fill("8")
    assert page.locator('[data-path="adapter.rank"] .wrong').is_hidden()


def test_what_was_typed_survives_a_reload_and_a_preset(page):
    page.locator('[data-path="name"] input').fill("evening-fox")
    page.reload()
    page.locator("body[data-ready=yes]").wait_for(state="attached")
    assert page.locator('[data-path="name"] input').input_value() == "evening-fox"
    page.get_by_role("button", name="A style").click()
    rank = page.locator('[data-path="adapter.rank"]')
    rank.get_by_text("preset sd-style").wait_for()
    assert page.locator('[data-path="name"] input').input_value() == "evening-fox"
    assert page.locator('[data-path="name"] .from').inner_text() == "yours"


def test_starting_makes_a_run_in_a_process_of_its_own_and_shows_it(visit, runs, tiny_sd, pictures):
    page = visit(f"/train?folder={pictures(count=4)}")
    page.get_by_label("All settings").check()
    values = {
        "name": "fox",
        "model.base": str(tiny_sd),
        "model.resolution": "64",
        "schedule.epochs": "1",
        "dataset.class_word": "fox",
    }
    for path, text in values.items():
        page.locator(f'.field:visible[data-path="{path}"] input').fill(text)
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url("**/runs?work=*", timeout=60_000)
    (run,) = runs_in(runs)
    assert run.job.name == "fox"
    assert run.job.model.base == str(tiny_sd)
    run.ask_to_stop()


def test_the_same_job_again_at_once_is_asked_about(server, runs, tiny_sd, pictures):
    import httpx2

    values = {
        "name": "fox",
        "model.base": str(tiny_sd),
        "model.resolution": 64,
        "dataset.folder": str(pictures(count=4)),
        "dataset.class_word": "fox",
        "schedule.epochs": 1,
    }
    with httpx2.Client(base_url=server) as client:
        first = client.post("/api/train/start", json={"values": values}).json()
        second = client.post("/api/train/start", json={"values": values}).json()
    assert first["work"]
    assert second["problems"][0]["where"] == "twice"
    (run,) = runs_in(runs)
    run.ask_to_stop()


@pytest.mark.parametrize(
    ("values", "where", "words"),
    [
        ({"dataset.folder": "/nowhere/at/all"}, "dataset.folder", "there is no folder"),
        ({"dataset.folder": r"\\server\share"}, "dataset.folder", "network paths"),
        ({"adapter.rnk": 4}, "adapter.rnk", "there is no such setting"),
        ({"name": "../up"}, "name", ""),
        ({"a b": 1}, "a b", "there is no such setting"),
    ],
)
def test_what_cannot_be_started_is_said_in_one_sentence(server, runs, values, where, words):
    import httpx2

    given = {"dataset.folder": str(runs), "dataset.class_word": "fox", **values}
    told = httpx2.post(f"{server}/api/train/start", json={"values": given}).json()
    problem = (told.get("problems") or [told])[0]
    assert problem["where"] == where
    assert words in problem["problem"]
    assert list(runs_in(runs)) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_in_both_colours(visit, require_accessible, scheme):
    page = visit("/train?preset=sd-style-demo", color_scheme=scheme)
    page.get_by_label("All settings").check()
    require_accessible(page)


def test_a_start_that_failed_may_be_tried_again_at_once(server, runs, pictures):
    import httpx2

    given = {"dataset.folder": str(pictures(count=2)), "track.to": ["wandb"], "name": "fox"}
    for _ in range(2):
        told = httpx2.post(f"{server}/api/train/start", json={"values": given}).json()
        assert "wandb" in told["problems"][0]["problem"]
        assert told["problems"][0]["where"] != "twice"


def test_a_card_that_vanished_is_told_at_its_field_and_in_the_run_that_was_started(
    server, pictures, runs
):
    import httpx2

    given = {"dataset.folder": str(pictures(count=2)), "compute.device": "cuda:7"}
    ask = {"values": given}
    told = httpx2.post(f"{server}/api/train/preflight", json=ask, timeout=60).json()["problems"]
    assert told[0]["where"] == "compute.device"
    assert "no working 'cuda' device" in told[0]["problem"]
    work = httpx2.post(f"{server}/api/train/start", json=ask).json()["work"]
    run = Run.open(runs / work)
    until = time.monotonic() + 60
    while run.status() in ("waiting", "running") and time.monotonic() < until:
        time.sleep(0.1)
    assert "no working 'cuda' device" in [t.event for t in run.events()][-1].problem


def test_a_runs_folder_that_cannot_be_written_is_told_at_its_field(server, pictures):
    import httpx2

    given = {"dataset.folder": str(pictures(count=2)), "runs": "/dev/null/runs"}
    told = httpx2.post(f"{server}/api/train/start", json={"values": given}).json()["problems"]
    assert told[0]["where"] == "runs"
    assert "cannot be written" in told[0]["problem"]


NEWER = 'preset = 99\n[about]\nname = "mine"\n'
BROKEN = "preset = = 1"


@pytest.mark.parametrize(("text", "words"), [(NEWER, "preset format 99"), (BROKEN, "not TOML")])
def test_a_preset_that_cannot_be_used_is_told_and_the_page_is_there(visit, home, text, words):
    (home / "presets").mkdir(parents=True)
    (home / "presets" / "mine.toml").write_text(text, encoding="utf-8")
    page = visit("/train?preset=mine", ready=False)
    page.expected += ["400", "/api/train/form"]
    page.locator("#toasts .bad", has_text=words).wait_for()
    page.get_by_role("button", name="Start training").wait_for()


def test_a_copy_of_a_run_survives_a_reload_and_puts_the_draft_aside(visit, made_run):
    run = made_run()
    page = visit("/train")
    page.locator('[data-path="name"] input').fill("evening-fox")
    page.goto(page.url.replace("/train", f"/train?from={run.name}"))
    rank = page.locator('[data-path="adapter.rank"]')
    rank.get_by_text(f"run {run.name}").wait_for()
    assert page.locator('[data-path="name"] input').input_value() == run.job.name
    assert "from=" not in page.url
    rank.locator("input").fill("7")
    page.reload()
    rank.get_by_text("yours").wait_for()
    assert rank.locator("input").input_value() == "7"
    alpha = page.locator('[data-path="adapter.alpha"]')
    assert alpha.locator(".from").inner_text() == f"run {run.name}"


def test_epochs_take_the_place_of_a_preset_s_steps(visit):
    page = visit("/train?preset=sd-style-12gb")
    steps = page.locator('[data-path="schedule.steps"] input')
    assert steps.input_value()
    page.locator('[data-path="schedule.epochs"] input').fill("5")
    assert steps.input_value() == ""


def test_a_folder_that_goes_away_while_the_page_is_open_is_told_at_its_field(page, tmp_path):
    (tmp_path / "pictures").rename(tmp_path / "gone")
    page.get_by_role("button", name="Start training").click()
    folder = page.locator('[data-path="dataset.folder"]')
    folder.get_by_text("There is no folder").wait_for()


CARD = """async ([device, free, preset]) => {
  const { chooser } = await import('/ui/train/presets.js');
  const one = { call: 'mine', name: 'mine', purpose: 'style', family: 'sd', card: 24 };
  const made = chooser([one], { preset }, () => {});
  made.machine(device, free);
  return made.element.querySelector('#card').value;
}"""


@pytest.mark.parametrize(
    ("device", "free", "preset", "card"),
    [
        ("cpu", 22.0, "", "0"),
        ("cuda", 7.2, "", "8"),
        ("cuda", 11.2, "", "12"),
        ("cuda:1", 22.8, "", "24"),
        ("mps", 3.0, "", "8"),
        ("cpu", 22.0, "mine", "24"),
    ],
)
def test_the_machine_s_card_is_suggested_until_a_preset_is_chosen(
    visit, device, free, preset, card
):
    page = visit("/train")
    assert page.evaluate(CARD, [device, free, preset]) == card


def test_pasted_toml_takes_the_form_s_place_and_only_what_differs_is_yours(page, tmp_path):
    page.get_by_role("button", name="As TOML").click()
    area = page.get_by_role("textbox", name="The job as TOML")
    folder = tmp_path / "pictures"
    area.fill(f'name = "pasted"\nadapter = {{rank = 16, alpha = 4}}\ndataset.folder = "{folder}"')
    page.get_by_role("button", name="Take these values").click()
    page.locator('[data-path="name"]').get_by_text("yours").wait_for()
    assert page.locator('[data-path="adapter.alpha"] input').input_value() == "4"
    assert page.locator('[data-path="adapter.rank"] .from').inner_text() == ""


def test_on_a_phone_the_panel_opens_from_a_bar_and_nothing_sticks_out(visit, require_accessible):
    page = visit("/train?preset=sd-style-demo", width=390)
    more = page.locator(".more")
    assert page.get_by_role("button", name="Start training").is_visible()
    assert page.locator(".ahead").is_hidden()
    more.click()
    assert more.get_attribute("aria-expanded") == "true"
    assert page.locator(".ahead").is_visible()
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    require_accessible(page)


def test_a_preset_that_is_saved_can_be_chosen_at_once(page, home):
    page.get_by_role("button", name="Save as preset").click()
    page.locator("#preset-name").fill("evening")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("Saved as the preset evening").wait_for()
    page.get_by_label("Or one of your own").select_option("evening")
    page.locator('[data-path="adapter.rank"]').get_by_text("preset evening").wait_for()
