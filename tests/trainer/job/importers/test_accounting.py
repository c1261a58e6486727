"""Whatever stands in a file, each key has its line and nothing breaks."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.trainer.job.importers import foreign
from trainer.core.errors import ConfigError
from trainer.job.file import merge, parse_job
from trainer.job.importers.base import import_config, importers, translate
from trainer.job.importers.reading import Source, leaves

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from(["", "None", "1", "0", "true", "1e-4", "512,768", "AdamW", "--x 1", "{}", "a"]),
    st.text(max_size=12),
)
VALUES = st.recursive(
    ODD,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
BASES = {
    "kohya_gui": foreign.KOHYA_GUI,
    "sd_scripts": {"optimizer_type": "AdamW", "network_dim": 4, "datasets": [{"subsets": []}]},
    "ai_toolkit": yaml.safe_load(foreign.AI_TOOLKIT),
    "onetrainer": foreign.ONETRAINER,
    "simpletuner": {**foreign.SIMPLETUNER, "data_backend_config": foreign.BACKENDS},
    "lora_file": foreign.HEADER,
}


def known(name):
    """Names that an importer has a rule for, by which random values meet their readers."""
    return sorted(importers()[name].table)


def put(tree, path, value):
    """A value where a rule's name says, with the first member where it says `*`."""
    *before, last = [part for part in path.split(".") if part != "**"] or ["x"]
    for part in before:
        if isinstance(tree, list):
            if not tree:
                tree.append({})
            tree = tree[0]
            continue
        if not isinstance(tree, dict):
            return
        if not isinstance(tree.get(part), dict | list):
            tree[part] = {}
        tree = tree[part]
    if isinstance(tree, dict):
        tree[last] = value
    elif isinstance(tree, list) and tree and isinstance(tree[0], dict):
        tree[0][last] = value


@st.composite
def foreign_trees(draw):
    name = draw(st.sampled_from(sorted(BASES)))
    tree = json.loads(json.dumps(BASES[name]))
    for path in draw(st.lists(st.sampled_from(known(name)), max_size=6)):
        start = "config.process.*." if name == "ai_toolkit" else ""
        start = "" if path.startswith(("config", "meta", "job")) else start
        path = f"ss_{path}" if name == "lora_file" else path
        put(tree, start + path, draw(VALUES))
    for key in draw(st.lists(st.text(max_size=10), max_size=3)):
        tree[key] = draw(VALUES)
    return name, tree


@settings(
    max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(made=foreign_trees())
def test_each_key_has_one_line_and_the_values_make_a_job(made):
    name, tree = made
    importer = importers()[name]
    form = "header" if name == "lora_file" else "JSON"
    source = Source(Path("nowhere") / "settings.json", tree, form)
    try:
        opened = list(leaves(importer.opened(source)))
        found = translate(importer, source)
    except ConfigError:
        return
    assert sum(found.counts.values()) == len(found.account) == len(opened)
    told = [line.key for line in found.account]
    assert sorted(told) == sorted(".".join(key) for key, _ in opened)
    assert all(line.told for line in found.account)
    dashes = "--" if name == "simpletuner" else ""
    for key in (".".join(key).removeprefix(dashes) for key, _ in leaves(tree)):
        assert any(one == key or one.startswith(f"{key}.") or key.startswith(one) for one in told)
    parse_job(merge({"dataset": {"folder": "x"}}, found.job_values))


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_in_words(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("bytes") / "settings"
    path.write_bytes(content)
    with pytest.raises(ConfigError):
        import_config(path)
