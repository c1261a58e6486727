"""What holds for every model family that is found, and that nothing else knows one."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest

from trainer.families.base import families
from trainer.families.folder import _UNUSED
from trainer.weights.family import guess_family
from trainer.weights.layouts import Pair

ROOT = Path(__file__).resolve().parents[3]
EVERY = pytest.mark.parametrize("kind", list(families))


@EVERY
def test_what_its_folders_may_hold_is_what_its_pipeline_takes(kind):
    family = families[kind]
    for classes in family.parts.values():
        for name in classes:
            library, _, cls = name.partition(".")
            assert hasattr(importlib.import_module(library), cls), name
    diffusers = importlib.import_module("diffusers")
    takes = inspect.signature(getattr(diffusers, family.pipeline).__init__).parameters.values()
    parts = {p.name for p in takes if p.annotation not in (bool, bool | None)} - {"self", *_UNUSED}
    assert parts == {*family.parts, "scheduler"}


@EVERY
def test_every_part_that_learns_has_a_name_in_files(kind):
    named = {part.part for part in families[kind].naming.parts}
    texts = {name for name in families[kind].parts if name.startswith("text_encoder")}
    assert named == {"denoiser", *texts}


@EVERY
def test_its_header_is_known_as_its_own_and_as_no_other_family_s(kind):
    naming = families[kind].naming
    told = [mark.architecture for mark in naming.marks if mark.architecture]
    assert told
    for architecture in told:
        header = {"modelspec.architecture": f"{architecture}/lora"}
        found = guess_family(header, {"lora_te1_a": Pair("a", "b")}, {"a": (1, 8), "b": (8, 1)})
        assert found in naming.families
        assert sum(found in families[other].naming.families for other in families) == 1


@EVERY
def test_settings_of_the_other_way_to_learn_do_not_exist(kind):
    """Noise prediction and flow matching share no section, and each family has one of them."""
    sections = {"noise", "flow"} & set(families[kind].model_fields)
    assert len(sections) == 1


def test_nothing_that_ships_knows_a_family():
    """Adding one is a new file: no other imports it or names its kind.

    Importers name kinds, since each says which of another program's models are which of ours.
    """
    folder = ROOT / "trainer" / "families"
    plugins = {f for f in folder.glob("*.py") if "@families.add" in f.read_text(encoding="utf-8")}
    assert len(plugins) == len(list(families))
    modules = {f"trainer.families.{file.stem}" for file in plugins}
    kinds = set(families) - {"sd"}  # the default, by which a person who asks for nothing begins
    files = [f for room in ("trainer", "analysis", "app") for f in (ROOT / room).rglob("*.py")]

    def translates(file):
        return "names" in file.stem or file.parent.name == "importers"

    found = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in files
        if file not in plugins
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if (isinstance(node, ast.ImportFrom) and node.module in modules)
        or (isinstance(node, ast.Constant) and node.value in kinds and not translates(file))
    ]
    assert found == []
