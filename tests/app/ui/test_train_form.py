"""The form of a job in a real browser: whatever a job may hold survives it."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.ui import forms
from trainer.core import toml
from trainer.core.schema import describe
from trainer.core.trees import flat, merge, nested
from trainer.job.config import JobConfig
from trainer.job.file import parse_job
from trainer.job.preset import About, of_job, parse_preset, render_preset
from trainer.job.shareable import is_plain, shareable

pytestmark = pytest.mark.ui

NEEDED = {"dataset.folder": "/pictures", "dataset.class_word": "fox"}
MADE = """async (specs) => {
  const { form } = await import('/ui/form.js');
  document.getElementById('page').replaceChildren();
  window.heard = [];
  const onchange = (path) => heard.push(path);
  window.made = form(document.getElementById('page'), specs, { onchange });
  return window.made.values();
}"""
SET = "(all) => all.map((values) => { made.set(values); return made.values(); })"


@pytest.fixture
def drawn(visit):
    """A page that holds the form of a job, and what it said when it was new."""
    page = visit("/settings")
    page.first = page.evaluate(MADE, forms.specs(JobConfig))
    return page


def test_a_new_form_holds_the_job_of_the_defaults(drawn):
    asked = parse_job(merge(forms.tree(drawn.first), nested(dict(NEEDED))))
    assert asked == parse_job(nested(dict(NEEDED)))


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r⏎\x00"), max_size=40)
plain_words = words.filter(lambda text: is_plain(text) and text == text.strip())


def values_of(spec):
    """Values of about the right kind; what a job refuses is left out later."""
    text = plain_words if shareable(spec) else words
    low, high = (None if bound is None else float(bound) for bound in (spec.low, spec.high))
    match spec.kind:
        case "flag":
            return st.booleans()
        case "choice":
            return st.sampled_from(spec.choices)
        case "whole":
            return st.integers(int(low or 0), int(min(high or 10**6, 10**9)))
        case "real":
            return st.floats(low or 0.0, high or 1e6, allow_subnormal=False)
        case "list" if spec.items == "real":
            return st.lists(st.floats(0.01, 2), min_size=1, max_size=5, unique=True)
        case "list":
            return st.lists(text.filter(lambda one: one.strip()), max_size=3)
        case "path":
            return plain_words.filter(bool).map(lambda name: f"/folder/{name}")
        case _:
            return text


@st.composite
def jobs(draw):
    """Any job: of any family, with any settings away from their defaults."""
    specs = list(describe(JobConfig))
    kinds = {s.path: draw(values_of(s)) for s in specs if s.path.endswith(".kind")}
    counted = [s for s in specs if s.only_if is None or kinds.get(s.only_if[0]) == s.only_if[1]]
    chosen = draw(st.lists(st.sampled_from(counted), max_size=30, unique_by=lambda s: s.path))
    values = {**NEEDED, **kinds, **{s.path: draw(values_of(s)) for s in chosen}}
    values |= {path: kinds[path] for path in kinds} | {"version": 1}
    while wrong := toml.problems(JobConfig, nested(dict(values))):
        for problem in wrong:
            refused = [p for p in values if f"{p}.".startswith(f"{problem.where}.")]
            refused += [p for p in values if problem.where.startswith(f"{p}.")]
            for path in refused or [next(p for p in values if p not in {**NEEDED, **kinds})]:
                values.pop(path, None)
        values = {**NEEDED, **values}
    return parse_job(nested(values))


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, *HealthCheck],
)
@given(st.lists(jobs(), min_size=8, max_size=16))
def test_every_value_of_a_job_survives_the_form_and_a_preset(drawn, asked):
    """Form to job, job to preset, preset to form."""
    given_values = [flat(job.model_dump(mode="json")) for job in asked]
    again = [parse_job(forms.tree(values)) for values in drawn.evaluate(SET, given_values)]
    assert again == asked
    presets = [
        parse_preset(render_preset(of_job(job, About(name="any"))), "a preset") for job in again
    ]
    held = drawn.evaluate(SET, [flat(preset.settings) for preset in presets])
    for preset, values in zip(presets, held, strict=True):
        needed = nested(dict(NEEDED))
        assert parse_job(merge(needed, preset.settings)) == parse_job(
            merge(forms.tree(values), needed)
        )


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("0,5", 0.5),
        ("0,005", 0.005),
        ("1e-4", 1e-4),
        ("1,000", "1,000"),
        ("two", "two"),
        (" 7 ", 7),
        ("", None),
    ],
)
def test_a_number_is_read_as_people_write_it_and_never_guessed_at(drawn, typed, read):
    drawn.evaluate("() => made.advanced(true)")
    drawn.locator('[data-path="optimizer.learning_rate"] input').fill(typed)
    assert drawn.evaluate("() => made.values()").get("optimizer.learning_rate") == read


def test_a_value_goes_back_to_what_the_preset_says_and_not_to_the_default(drawn):
    under = {"values": {"adapter.rank": 8}, "from": "preset mine"}
    drawn.evaluate("(u) => made.set(u.values, {'adapter.rank': u.from}, u)", under)
    rank = drawn.locator('[data-path="adapter.rank"]')
    rank.locator("input").fill("64")
    assert rank.locator(".from").inner_text() == "yours"
    rank.get_by_role("button", name="Rank: back to 8, as preset mine has it").click()
    assert rank.locator("input").input_value() == "8"
    assert rank.locator(".from").inner_text() == "preset mine"
    assert drawn.evaluate("() => made.own()") == []
    assert drawn.evaluate("() => heard") == ["adapter.rank", "adapter.rank"]


def test_a_problem_of_a_whole_section_is_shown_at_a_field_of_it(drawn):
    drawn.locator('[data-path="schedule.epochs"] input').fill("5")
    told = {"where": "schedule", "problem": "epochs (5) and steps (9) are both given", "hint": ""}
    left = drawn.evaluate("(told) => made.wrong([told]).left.length", told)
    assert left == 0
    assert drawn.locator('[data-path="schedule.epochs"] .wrong').is_visible()


def test_the_search_finds_settings_that_are_folded_away(drawn):
    weight_decay = drawn.locator('[data-path="optimizer.weight_decay"]')
    decay = drawn.evaluate("() => made.search('weight decay')")
    assert decay >= 1
    assert weight_decay.is_visible()
    assert drawn.evaluate("() => made.search('no such words')") == 0
