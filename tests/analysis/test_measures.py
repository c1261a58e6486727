"""Metrics as a person asks for them."""

from __future__ import annotations

import pytest

from analysis.measures import asked_for
from trainer.core.errors import ConfigError


def test_settings_follow_a_colon_and_name_the_column_where_one_may_stand_twice():
    found = asked_for(
        ["ssim", "clip_i: weights=/models/my clip, the second", "pyiqa: name=niqe", "pyiqa"],
        weighed=["ssim", "pyiqa_niqe"],
    )
    assert list(found) == ["ssim", "clip_i", "pyiqa_niqe", "pyiqa_musiq"]
    assert found["clip_i"].weights == "/models/my clip, the second"
    assert found["pyiqa_niqe"].heading == "pyiqa niqe"


def test_several_settings_are_parted_by_semicolons():
    found = asked_for(["pyiqa: name=niqe; lower_is_better=true"])
    assert found["pyiqa_niqe"].lower_is_better is True


@pytest.mark.parametrize(
    ("entries", "weighed", "words"),
    [
        (["sim"], [], "no metric called 'sim'"),
        (["clip_i: wights=/models"], [], "no such setting"),
        (["clip_i: weights"], [], "clip_i: weights"),
        (["ssim", "ssim"], [], "twice"),
        (["ssim"], ["burn"], "no metric called 'burn' among those"),
    ],
)
def test_what_cannot_be_asked_is_refused(entries, weighed, words):
    with pytest.raises(ConfigError, match=words):
        asked_for(entries, weighed)
