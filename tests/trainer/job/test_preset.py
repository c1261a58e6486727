"""Presets: what goes in, what stays here, what is refused, and that a job comes back whole."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import string
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from trainer.core.errors import ConfigError, UserError
from trainer.core.schema import describe
from trainer.core.trees import flat, nested
from trainer.job import migrate as migrations
from trainer.job.config import JobConfig
from trainer.job.file import load_job, parse_job
from trainer.job.layers import Layer, file_layer, preset_layer, settle
from trainer.job.preset import (
    MOST_BYTES,
    ON_REQUEST,
    About,
    Preset,
    from_values,
    load_preset,
    of_job,
    parse_preset,
    render_preset,
    shareable,
)
from trainer.job.sharing import from_string, to_string

SECRET = "zq9-secret"
SPECS = {spec.path: spec for spec in describe(JobConfig)}
PRIVATE = {
    "runs": f"/srv/{SECRET}/runs",
    "cache": f"/srv/{SECRET}/cache",
    "name": SECRET,
    "model.base": f"/srv/{SECRET}/model",
    "dataset.folder": f"/srv/{SECRET}/pictures",
    "dataset.trigger": SECRET,
    "dataset.class_word": f"{SECRET} dog",
    "prior.folder": f"/srv/{SECRET}/class",
    "prior.prompt": f"a {SECRET}",
    "validation.folder": f"/srv/{SECRET}/held",
    "samples.prompts": [f"a {SECRET} on a hill"],
    "samples.negative": SECRET,
    "analysis.prompts": [f"a {SECRET} at sea"],
    "analysis.plain_prompts": [f"plain {SECRET}"],
    "analysis.negative": SECRET,
    "compute.device": f"cuda:{SECRET}",
}


def preset(**job):
    return from_values({"preset": 1, "about": {"name": "it"}, "job": job}, "here")


def refused(text, *words):
    with pytest.raises(ConfigError) as told:
        parse_preset(text, "here")
    for word in words:
        assert word in str(told.value)


def a_value(spec):
    """Values that a setting may have, and some that it may not."""
    low = 0 if spec.low is None else spec.low
    high = low + 100 if spec.high is None else spec.high
    match spec.kind:
        case "flag":
            return st.booleans()
        case "choice":
            return st.sampled_from(spec.choices)
        case "whole":
            return st.integers(int(low), min(int(high), int(low) + 4096)).map(
                lambda n: n // 8 * 8 or 1
            )
        case "real":
            return st.floats(low, high, allow_nan=False).map(lambda x: float(f"{x:.3g}"))
    return st.just(spec.default)


RECIPES = [
    spec
    for spec in SPECS.values()
    if shareable(spec) and spec.kind not in ("text", "list") and spec.path != "version"
]


@st.composite
def jobs(draw):
    """A job with a handful of settings drawn, and everything personal filled with a secret."""
    chosen = draw(st.lists(st.sampled_from(RECIPES), max_size=6, unique_by=lambda s: s.path))
    values = {spec.path: draw(a_value(spec)) for spec in chosen}
    for spec in chosen:
        if spec.only_if:
            values[spec.only_if[0]] = spec.only_if[1]
    family = values.get("model.kind", "sd")
    personal = dict(PRIVATE)
    if family == "flux":
        values.pop("samples.negative", None)
    try:
        return parse_job(nested(personal | values))
    except ConfigError:
        assume(False)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(job=jobs())
def test_a_job_comes_back_from_its_preset_and_nothing_personal_goes_with_it(job):
    made = of_job(job, About(name="mine"))
    text = to_string(made)
    for shared in (render_preset(made), json.dumps(made.settings)):
        assert SECRET not in shared
    came = from_string(text)
    assert came == made
    personal = Layer("own", nested(PRIVATE))
    assert settle([preset_layer(came), personal]).job == job


def test_a_preset_says_what_people_compare_even_where_it_is_the_default():
    job = parse_job({"dataset": {"folder": "."}})
    found = flat(of_job(job, About(name="plain")).settings)
    assert found["adapter.rank"] == 16
    assert found["optimizer.learning_rate"] == 1e-4
    assert "schedule.warmup" not in found


def test_prompts_go_with_it_when_they_are_asked_for():
    values = {"dataset": {"folder": "."}, "samples": {"prompts": ["a fox"]}}
    job = parse_job(values)
    assert "samples" not in of_job(job, About(name="x")).settings
    asked = of_job(job, About(name="x"), include=["samples.prompts"])
    assert asked.settings["samples"]["prompts"] == ["a fox"]
    with pytest.raises(ConfigError, match=r"dataset\.folder"):
        of_job(job, About(name="x"), include=["dataset.folder"])


def test_a_hub_model_goes_with_it_when_asked_and_a_folder_never():
    job = parse_job({"dataset": {"folder": "."}, "model": {"base": "owner/model-1.0"}})
    asked = of_job(job, About(name="x"), include=["model.base"])
    assert asked.settings["model"]["base"] == "owner/model-1.0"
    for place in ("/srv/me/model", "../model", "C:\\models\\x", "me/../you", "\\\\server\\x"):
        job = parse_job({"dataset": {"folder": "."}, "model": {"base": place}})
        with pytest.raises(ConfigError, match="place on this machine"):
            of_job(job, About(name="x"), include=["model.base"])


def test_a_metric_that_names_a_folder_stays_here():
    metrics = ["ssim", "clip_i: weights=/srv/me/clip"]
    job = parse_job({"dataset": {"folder": "."}, "analysis": {"metrics": metrics}})
    assert of_job(job, About(name="x")).settings["analysis"]["metrics"] == ["ssim"]
    refused(
        'preset=1\nabout.name="x"\n[job.analysis]\nmetrics=["clip_i: weights=/x"]', "names a file"
    )


@pytest.mark.parametrize(
    "path",
    [p for p, s in SPECS.items() if not shareable(s) and p not in ON_REQUEST],
)
def test_what_is_personal_is_refused(path):
    value = json.dumps(PRIVATE.get(path, 1))
    refused(f'preset = 1\nabout.name = "x"\njob.{path} = {value}', path, "personal")


@pytest.mark.parametrize(
    "base", ["/etc", "../up", "owner/../x", "~/model", "C:/x", "//server/share", "file:///etc"]
)
def test_a_base_model_that_is_a_place_is_refused(base):
    refused(f'preset=1\nabout.name="x"\n[job.model]\nbase={json.dumps(base)}', "model.base")


def test_unknown_settings_are_refused_with_the_nearest():
    refused('preset=1\nabout.name="x"\n[job.adapter]\nranck=4', "adapter.ranck", "adapter.rank")
    refused('preset=1\nabout.name="x"\nrun="rm"', "'run'")


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/b", "", "x" * 65, ".hidden", "a\\b", "CON:"])
def test_a_name_that_is_no_file_name_is_refused(name):
    refused(f"preset = 1\nabout.name = {json.dumps(name)}", "name")


@pytest.mark.parametrize("letter", ["\x1b[31m", "\x00", "\u202e", "\u200b", "\x7f", "\ufeff"])
def test_letters_that_cannot_be_seen_are_refused(letter):
    shown = json.dumps(f"red{letter}fox")
    refused(f'preset=1\n[about]\nname="x"\nsentence={shown}', "cannot be seen")
    refused(f'preset=1\nabout.name="x"\n[job.dataset]\ntemplate={shown}', "cannot be seen")


def test_emoji_and_other_scripts_are_welcome():
    words = "狐 לִבִּי 👩‍🎨 é"
    assert (
        parse_preset(f'preset=1\n[about]\nname="x"\nsentence="{words}"', "x").about.sentence
        == words
    )


def test_a_file_that_is_too_large_is_refused_unread(tmp_path):
    path = tmp_path / "big.toml"
    with path.open("wb") as file:
        file.truncate(100 * 2**20)
    with pytest.raises(ConfigError, match="larger than 64 KiB"):
        load_preset(path)


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "[" * 30000 + "]" * 30000,
        "x = " + "{a=" * 5000 + "1" + "}" * 5000,
        ".".join(["a"] * 20000) + " = 1",
        "[" + ".".join(["a"] * 20000) + "]",
        "preset = 1\nabout.name='x'\njob." + ".".join(["a"] * 20000) + " = 1",
    ],
    ids=["lists", "tables", "dots", "heads", "settings"],
)
def test_a_toml_bomb_is_one_sentence(text):
    refused(text[:MOST_BYTES])


def test_a_newer_preset_and_newer_settings_are_refused_in_words():
    refused('preset = 7\nabout.name = "x"', "format 7", "update Sweetspot")
    refused('preset = 1\nabout.name = "x"\njob.version = 9', "version 9", "update Sweetspot")
    refused('preset = true\nabout.name = "x"', "whole number")


def test_older_settings_are_read_as_today_s(monkeypatch):
    def renamed(tree):
        adapter = dict(tree.get("adapter", {}))
        if "dim" in adapter:
            adapter["rank"] = adapter.pop("dim")
        return {**tree, "adapter": adapter}

    monkeypatch.setattr(migrations, "SCHEMA_VERSION", 2)
    monkeypatch.setitem(migrations.MIGRATIONS, 1, renamed)
    found = migrations.migrate({"adapter": {"dim": 4}}, "here")
    assert found == {"adapter": {"rank": 4}, "version": 2}


def test_a_plain_part_of_a_job_is_a_preset_of_its_file_s_name(tmp_path):
    path = tmp_path / "my style!.toml"
    path.write_text("[adapter]\nrank = 4\n", encoding="utf-8")
    found = load_preset(path)
    assert (found.name, found.settings) == ("my-style-", {"adapter": {"rank": 4}})


def test_a_string_that_was_cut_or_changed_is_refused():
    text = to_string(preset(adapter={"rank": 4}))
    for wrong in (text[:-1], text[:-5] + "AAAAA", text[len("sweetspot") :], text + "x"):
        with pytest.raises(ConfigError):
            from_string(wrong)
    assert from_string(f"  `{text[:30]}\n {text[30:]}` ").settings["adapter"]["rank"] == 4


@pytest.mark.parametrize("number", ["0", "00", "2", "999999"])
def test_a_string_of_a_format_that_is_not_there_is_refused(number):
    text = to_string(preset(adapter={"rank": 4}))
    with pytest.raises(ConfigError, match="preset format"):
        from_string(text.replace("sweetspot:1:", f"sweetspot:{number}:"))


def test_a_text_with_two_strings_is_refused_and_with_one_of_them_twice_is_not():
    one, other = (to_string(preset(adapter={"rank": rank})) for rank in (4, 5))
    with pytest.raises(ConfigError, match="2 preset strings"):
        from_string(f"{one}\n{other}")
    assert from_string(f"> {one[:40]}...\n{one}").settings["adapter"]["rank"] == 4


def test_a_string_that_quotes_broke_over_lines_is_whole_again():
    text = to_string(preset(adapter={"rank": 4}))
    broken = "\n".join(f"> {text[start : start + 17]}" for start in range(0, len(text), 17))
    assert from_string(f"as she said:\n{broken}\n\nbye").settings["adapter"]["rank"] == 4


@pytest.mark.parametrize("read", [load_job, lambda path: settle([file_layer(path)])])
def test_a_job_that_names_its_preset_is_refused_with_what_to_do_in_python(tmp_path, read):
    path = tmp_path / "x.toml"
    path.write_text('preset = "ink"\n[dataset]\nfolder = "."\n', encoding="utf-8")
    with pytest.raises(ConfigError) as told:
        read(path)
    assert "names its preset ('ink')" in told.value.problem
    assert "load_preset" in told.value.hint
    assert "preset_layer" in told.value.hint


def test_a_string_that_unpacks_to_gigabytes_is_refused():
    packed = base64.b64encode(zlib.compress(b" " * 50_000_000, 9)).decode().rstrip("=")
    checksum = hashlib.sha256(packed.encode()).hexdigest()[:8]
    with pytest.raises(ConfigError, match="unpacks to more"):
        from_string(f"sweetspot:1:{checksum}:{packed}")


PIECES = st.one_of(
    st.sampled_from([*SPECS, "preset", "about", "job", "about.name", "about.sentence"]),
    st.text(string.printable, max_size=12),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=40)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(PIECES, VALUES, max_size=6), st.booleans())
def test_whatever_a_preset_holds_is_taken_or_refused_in_words(pairs, whole):
    tree = {}
    for path, value in pairs.items():
        *sections, name = path.split(".")
        table = tree
        for section in sections:
            table = table.setdefault(section, {})
            if not isinstance(table, dict):
                break
        else:
            table[name] = value
    values = {"preset": 1, "about": {"name": "x"}, "job": tree} if whole else tree
    try:
        found = from_values(values, "fuzz", name="x")
    except UserError as error:
        told = str(error).replace("\n  try:", "")
    else:
        told = ""
        said = flat(values if "preset" not in values else values["job"])
        assert set(said) <= set(flat(found.settings))
    assert told.isprintable()


@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(st.text(max_size=300), st.binary(max_size=300).map(lambda b: b.decode("latin1"))))
def test_whatever_text_is_given_for_a_preset_there_is_no_traceback(text):
    for read in (lambda: parse_preset(text, "fuzz"), lambda: from_string(f"sweetspot:1:{text}")):
        with contextlib.suppress(UserError):
            assert isinstance(read(), Preset)


def test_layers_lie_over_one_another_and_tell_where_values_come_from():
    below = preset(adapter={"rank": 4, "alpha": 4.0}, schedule={"steps": 9})
    file = Layer("fox.toml", {"dataset": {"folder": "."}, "adapter": {"rank": 8}})
    found = settle([preset_layer(below), file, Layer("--set", {"schedule": {"steps": 3}})])
    came = {origin.path: (origin.value, origin.source) for origin in found.origins}
    assert came["adapter.rank"] == (8, "fox.toml")
    assert came["adapter.alpha"] == (4.0, "preset it")
    assert came["schedule.steps"] == (3, "--set")
    assert came["schedule.kind"] == ("cosine", "default")


def test_a_preset_for_another_family_is_named():
    below = preset(model={"kind": "sdxl"})
    job = Layer("fox.toml", {"dataset": {"folder": "."}, "model": {"kind": "flux"}})
    with pytest.raises(
        ConfigError, match=r"preset it is for the family 'sdxl'.*fox.toml asks.*'flux'"
    ):
        settle([preset_layer(below), job])


def test_path_of_this_test_is_not_in_any_preset():
    job = parse_job(nested(PRIVATE | {"runs": str(Path(__file__).parent)}))
    assert str(Path(__file__).parent) not in render_preset(of_job(job, About(name="x")))


@pytest.mark.parametrize("about", ["name = 'a/b'", "name = 'x'\ntags = 3"])
def test_what_it_wrongly_says_of_itself_is_refused_in_words(about):
    with pytest.raises(ConfigError, match=r"name|tags"):
        parse_preset(f"preset = 1\n[about]\n{about}\n", "x.toml")
