"""The lock of a folder, and processes that were started twice for one work."""

from __future__ import annotations

import pytest

from trainer.core.errors import RunError
from trainer.core.events import Ended, Kept, write_to
from trainer.core.work import SEEN, WorkFolder


@pytest.fixture
def folder(tmp_path):
    return WorkFolder(tmp_path)


def started(monkeypatch, folder):
    """As if this process had been started for the folder now."""
    monkeypatch.setenv(SEEN, f"{folder.told} {folder.path}")


def test_work_that_another_process_ended_while_this_one_loaded_is_not_done_again(
    folder, monkeypatch
):
    emit = write_to(folder.events_path)
    emit(Kept(1))
    started(monkeypatch, folder)
    emit(Kept(2))
    emit(Ended("completed", step=2))
    with pytest.raises(RunError, match="another process has ended this work meanwhile"):
        folder.lock_to_work()
    assert not folder.busy()


@pytest.mark.parametrize("before", [[Kept(1)], [Kept(1), Ended("stopped", step=1)]])
def test_work_that_stood_before_this_process_was_started_goes_on(folder, monkeypatch, before):
    emit = write_to(folder.events_path)
    for event in before:
        emit(event)
    started(monkeypatch, folder)
    folder.lock_to_work().release()


def test_work_that_was_cut_off_meanwhile_goes_on(folder, monkeypatch):
    started(monkeypatch, folder)
    emit = write_to(folder.events_path)
    emit(Ended("stopped", step=1))
    emit(Kept(2))
    folder.lock_to_work().release()


def test_what_another_folder_s_process_was_told_says_nothing_of_this_one(
    folder, monkeypatch, tmp_path_factory
):
    started(monkeypatch, WorkFolder(tmp_path_factory.mktemp("other")))
    write_to(folder.events_path)(Ended("completed", step=1))
    folder.lock_to_work().release()
