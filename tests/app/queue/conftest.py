"""Queues whose jobs are quick stand-ins."""

from __future__ import annotations

import pytest

from tests.app.queue import stand_in
from tests.app.queue.yard import ROOT, Yard


@pytest.fixture
def yard(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    made = Yard(tmp_path)
    yield made
    made.close()


@pytest.fixture
def stand_ins(monkeypatch):
    """Workers in this process start stand-ins too."""
    monkeypatch.setattr("trainer.job.run.Run.worker", stand_in.__name__)
