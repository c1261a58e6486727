"""Folders of pictures, and a home of this test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.dataset.glance import Headers, View, glance
from app.dataset.lens import Lens


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SWEETSPOT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def lens():
    """`lens(folder, trigger="sks")`: the folder as a run with these settings sees it."""

    def make(folder: Path, **dataset) -> Lens:
        return Lens.model_validate({"resolution": 64, "dataset": {"folder": folder, **dataset}})

    return make


@pytest.fixture
def seen(lens):
    """`seen(folder)`: the folder, looked at."""

    def look(folder: Path, **dataset) -> View:
        return glance(lens(folder, **dataset), Headers())

    return look
