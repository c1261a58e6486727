"""The page where LoRAs are tried."""

from __future__ import annotations

import json
import time

import pytest

pytestmark = pytest.mark.ui
RENDERED = 300_000
"""Milliseconds that a process may take to read a model and render on a busy machine."""


@pytest.fixture
def studio(runs):
    """The studio of this test's runs; its process ends with the test."""
    from app.generate.studio import Studio

    made = Studio.below(runs)
    yield made
    if made.path.is_dir():
        made.ask_to_stop()
        until = time.monotonic() + 20
        while made.status() == "running" and time.monotonic() < until:
            time.sleep(0.1)


@pytest.fixture
def finished(studio):
    """`finished(prompt="a fox", count=2)`: an order that is done, with grey pictures."""
    from PIL import Image

    from app.generate import recipe
    from app.generate.asked import Order
    from app.generate.studio import Outcome
    from trainer.data.prior import as_png

    def make(prompt="a fox", count=2, outcome=None, loras=()):
        values = {"prompt": prompt, "negative": "", "seed": 7, "pictures": count, "width": 64}
        order = Order(**values, height=64, steps=3, guidance=3.0, loras=loras)
        placed = studio.add(order)
        studio.begin(placed)
        more = {"size": [64, 64], "sampler": "DDIM", "precision": "fp32", "versions": {}}
        digests = {use.file: "d" * 64 for use in order.loras}
        for number in range(count):
            told = recipe.chunks(recipe.facts(order, 7 + number, digests, more))
            content = as_png(Image.new("RGB", (64, 64), "grey"), told)
            (placed.path / f"{number + 1:03d}-{7 + number}.png").write_bytes(content)
        studio.end(placed, outcome or Outcome("completed"))
        return placed

    return make


def fill(page, prompt="a fox"):
    page.get_by_role("textbox", name="Prompt").fill(prompt)


def test_an_empty_page_says_what_to_do(visit):
    page = visit("/generate")
    page.get_by_role("heading", name="No pictures yet").wait_for()
    page.get_by_role("button", name="Add a LoRA").click()
    page.get_by_role("heading", name="No run has a LoRA yet").wait_for()


def test_a_lora_of_a_run_is_tried_compared_and_strengthened(visit, made_run, studio):
    run = made_run(analysis={"steps": 2})
    page = visit("/generate")
    page.get_by_role("button", name="Add a LoRA").click()
    page.get_by_role("button", name="epoch 2").click()
    fill(page, "a red fox")
    page.get_by_role("textbox", name="Pictures").fill("2")
    page.get_by_role("textbox", name="Prompt").press("Control+Enter")
    order = page.get_by_role("article", name="a red fox").last
    order.get_by_role("button", name="Cancel").wait_for()
    page.reload()  # the process goes on, and the page finds it again
    order.get_by_role("button", name="Look at").nth(1).wait_for(timeout=RENDERED)
    order.get_by_role("button", name="Use settings").wait_for(timeout=RENDERED)

    placed = studio.orders()[0]
    assert [use.file for use in placed.order.loras] == [str(run.lora_files[1])]
    order.get_by_role("button", name="Compare").first.click()
    page.get_by_role("slider", name="Where Base model ends").wait_for(timeout=RENDERED)
    assert studio.control(placed.order, placed.order.seed).is_file()
    page.keyboard.press("Escape")

    order.get_by_role("button", name="Strength…").first.click()
    page.get_by_role("dialog").get_by_role("textbox").fill("0,4")
    page.keyboard.press("Enter")
    page.get_by_text("at 0.4").wait_for()
    page.get_by_role("button", name="Look at").nth(2).wait_for(timeout=RENDERED)
    stronger = studio.orders()[0].order
    assert (stronger.loras[0].strength, stronger.seed) == (0.4, placed.order.seed)
    assert studio.orders()[0].pictures[0].read_bytes() != placed.pictures[0].read_bytes()

    page.get_by_role("button", name="Free the memory").click(timeout=RENDERED)
    page.get_by_role("button", name="Free the memory").wait_for(state="detached", timeout=RENDERED)


def test_every_page_tells_that_pictures_wait_and_when_they_are_done(visit, finished, studio):
    from app.generate.studio import Outcome

    placed = finished()
    order = studio.add(placed.order)
    page = visit("/home")
    page.get_by_role("link", name="Generating 1 order of pictures").wait_for()
    studio.end(order, Outcome("completed"))
    page.get_by_text("Nothing runs now").wait_for()


def test_what_is_no_longer_wanted_is_not_rendered(visit, studio):
    page = visit("/generate")
    fill(page)
    page.get_by_role("textbox", name="Pictures").fill("64")
    page.get_by_role("button", name="Generate", exact=True).click()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("Cancelled").wait_for(timeout=RENDERED)
    assert len(studio.orders()[0].pictures) < 64


def test_a_bad_value_is_told_at_its_field_and_what_was_typed_stays(visit):
    page = visit("/generate")
    page.get_by_role("button", name="Generate", exact=True).click()
    page.locator("[data-path=prompt] .wrong").get_by_text("Nothing says what to render").wait_for()
    fill(page, "שועל 🦊 " * 50)
    page.get_by_text("Size, steps, guidance").click()
    page.get_by_role("textbox", name="Steps").fill("many")
    page.get_by_role("button", name="Generate", exact=True).click()
    page.locator("[data-path=steps][data-wrong] .wrong").wait_for()
    page.reload()
    assert page.get_by_role("textbox", name="Prompt").input_value() == "שועל 🦊 " * 50


def test_a_lora_that_is_gone_says_so_beside_it(visit):
    page = visit("/generate")
    page.expected.extend(["400", "Failed to load resource"])
    page.evaluate(
        "localStorage.setItem('generate', JSON.stringify("
        "{prompt: 'a', loras: [{file: '/gone/fox.safetensors', strength: 1}]}))"
    )
    page.reload()
    page.locator(".use .wrong").get_by_text("There is no such file", exact=False).or_(
        page.locator(".use .wrong").get_by_text("there is no such file")
    ).wait_for()
    page.get_by_role("button", name="Remove fox").click()
    page.get_by_text("None: the base model alone").wait_for()


def test_a_failure_says_why_and_what_to_do(visit, finished):
    from app.generate.studio import Outcome

    finished(count=1, outcome=Outcome("failed", "the memory is full", hint="smaller pictures"))
    page = visit("/generate")
    page.get_by_text("The memory is full").wait_for()
    page.get_by_text("Try: smaller pictures.").wait_for()


def test_words_of_a_prompt_are_never_taken_for_html(visit, finished):
    finished(prompt="<img src=x onerror=alert(1)>")
    page = visit("/generate")
    page.get_by_role("heading", name="<img src=x onerror=alert(1)>").wait_for()


def test_settings_of_a_dropped_picture_fill_the_form(visit, finished, tmp_path):
    placed = finished(prompt="a snowy fox")
    page = visit("/generate")
    page.locator("input[type=file]").set_input_files(placed.pictures[1])
    page.get_by_text("The form has the picture's settings now").wait_for()
    assert page.get_by_role("textbox", name="Prompt").input_value() == "a snowy fox"
    assert page.get_by_role("textbox", name="Seed").input_value() == "8"
    page.expected.extend(["400", "Failed to load resource"])
    fake = tmp_path / "fake.png"
    fake.write_text("not a picture")
    page.locator("input[type=file]").set_input_files(fake)
    page.get_by_role("alert").get_by_text("this is no PNG picture").wait_for()


def test_pictures_are_looked_at_used_and_removed(visit, finished, studio):
    lora = {"file": "/runs/fox-run/lora/fox-e0004.safetensors", "strength": 0.8}
    finished(loras=[lora])
    page = visit("/generate")
    page.expected.extend(["400", "Failed to load resource"])  # the LoRA is not there
    sweep = page.get_by_role("link", name="Sweep").get_attribute("href")
    assert sweep == "/analysis?run=fox-run&prompt=a+fox"
    page.get_by_role("button", name="Look at").first.click()
    page.keyboard.press("ArrowRight")
    page.get_by_role("img", name="a fox, seed 8").last.wait_for()
    page.get_by_role("button", name="Use with this seed").click()
    assert page.get_by_role("textbox", name="Seed").input_value() == "8"
    page.get_by_role("button", name="Remove", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    page.get_by_role("heading", name="No pictures yet").wait_for()
    assert studio.orders() == []


def test_another_page_can_send_a_run_and_a_prompt(visit, made_run):
    run = made_run()
    page = visit(f"/generate?run={run.name}&epoch=1&prompt=a+fox")
    page.locator(".use").get_by_text("epoch 1").wait_for()
    assert page.get_by_role("textbox", name="Prompt").input_value() == "a fox"
    draft = json.loads(page.evaluate("localStorage.getItem('generate')"))
    assert draft["loras"] == [{"file": str(run.lora_files[0]), "strength": 1}]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_in_both_colours(visit, finished, require_accessible, scheme):
    finished(loras=[{"file": "/runs/fox-run/lora/fox.safetensors", "strength": 1.0}])
    page = visit("/generate", color_scheme=scheme)
    page.get_by_role("button", name="Look at").first.wait_for()
    page.get_by_text("Size, steps, guidance").click()
    require_accessible(page)
    page.get_by_role("button", name="Look at").first.click()
    page.get_by_role("button", name="Copy recipe").wait_for()
    require_accessible(page)
