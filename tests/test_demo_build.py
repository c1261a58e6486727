"""The measure behind the demo base's figures: how a drawn picture is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

BUILD = Path(__file__).resolve().parents[1] / "assets" / "demo" / "build"


@pytest.fixture
def foreground(monkeypatch):
    monkeypatch.syspath_prepend(str(BUILD))
    from naming import foreground

    return foreground


def drawing():
    """A red disc of 40 px in the middle of white, `(3, 128, 128)` in [-1, 1]."""
    rows, columns = torch.meshgrid(torch.arange(128), torch.arange(128), indexing="ij")
    disc = (rows - 64) ** 2 + (columns - 64) ** 2 < 20**2
    picture = torch.ones(3, 128, 128)
    picture[1:, disc] = -1
    return picture


def test_a_stain_in_a_corner_does_not_shrink_what_is_cut_out(foreground):
    clean, stained = drawing(), drawing()
    stained[:, 4:8, 118:122] = 0.2
    assert torch.equal(foreground(stained), foreground(clean))


def test_the_drawing_is_brought_to_one_size_wherever_it_stands(foreground):
    moved = drawing().roll((12, -9), dims=(1, 2))
    assert (foreground(moved) - foreground(drawing())).abs().max() < 1e-5


def test_parts_that_stand_apart_stay(foreground):
    apart = drawing()
    apart[:2, 60:70, 100:110] = -1
    blue = (foreground(apart)[0] < 0) & (foreground(apart)[2] > 0)
    assert blue.any()


def test_an_empty_picture_has_no_foreground(foreground):
    assert torch.equal(foreground(torch.full((3, 128, 128), 0.3)), torch.ones(3, 128, 128))
