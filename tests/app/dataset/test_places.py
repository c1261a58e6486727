"""Folders are listed; nothing else is, and nothing on the network is asked for."""

from __future__ import annotations

import pytest

from app.dataset.places import place
from trainer.core.errors import ConfigError


def test_folders_are_listed_and_pictures_counted(tmp_path):
    for name in ("b", "A", ".hidden"):
        (tmp_path / name).mkdir()
    (tmp_path / "x.PNG").touch()
    (tmp_path / "secret.pem").touch()
    (tmp_path / "link").symlink_to("/")
    found = place(str(tmp_path))
    assert [name for name, _ in found.folders] == ["A", "b"]
    assert found.pictures == 1
    assert found.above == str(tmp_path.parent)


@pytest.mark.parametrize("path", ["//server/share", r"\\server\share", '"//server/share"'])
def test_network_paths_are_refused(path):
    with pytest.raises(ConfigError, match="network"):
        place(path)


@pytest.mark.parametrize("path", ["/no/such/folder", "/etc/passwd", "a\0b"])
def test_what_is_no_folder_is_told(path):
    with pytest.raises(ConfigError, match="no such folder"):
        place(path)
