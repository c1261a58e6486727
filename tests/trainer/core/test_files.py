import errno

import pytest

from trainer.core.draws import chance, generator, seed_of
from trainer.core.errors import ResourceError
from trainer.core.files import (
    folder_written_atomically,
    require_space,
    sweep_temporaries,
    write_atomically,
)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    import os

    path = tmp_path / "job.toml"
    write_atomically(path, "old")

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match="the disk is full"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    def write_half() -> None:
        with folder_written_atomically(tmp_path / "state") as temporary:
            (temporary / "one").write_text("1")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        write_half()
    assert not list(tmp_path.iterdir())
    with folder_written_atomically(tmp_path / "state") as temporary:
        (temporary / "one").write_text("1")
    assert [p.name for p in tmp_path.rglob("*")] == ["state", "one"]


def test_what_killed_writers_left_is_swept(tmp_path):
    (tmp_path / "a.tmp-1234").write_text("half")
    (tmp_path / "b.tmp-5678").mkdir()
    (tmp_path / "kept").write_text("")
    sweep_temporaries(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]


def test_too_little_space_is_said_in_gigabytes(tmp_path):
    with pytest.raises(ResourceError, match=r"a checkpoint needs 1000000\.00 GB"):
        require_space(tmp_path / "not" / "yet", 10**15, "a checkpoint")


def test_draws_depend_on_their_key_alone():
    assert seed_of(1, "noise", 2, 3) == seed_of(1, "noise", 2, 3)
    keys = [(1, "noise", 2, 3), (1, "noise", 23), (2, "noise", 2, 3), (1, "order", 2, 3)]
    assert len({seed_of(*key) for key in keys}) == len(keys)
    assert chance(1, "x").random() == chance(1, "x").random()
    assert generator(1, "x").initial_seed() == generator(1, "x").initial_seed()
