import numpy as np
import pytest

from analysis.metrics.base import Company, Unscored, metrics

diversity = metrics["diversity"].model_validate({})


def painted(*angles):
    """Pictures that `eye` sees at these angles, degrees."""
    return [np.full((8, 8, 3), angle, np.uint8) for angle in angles]


def eye(pictures):
    angles = np.radians([float(picture[0, 0, 0]) for picture in pictures])
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_it_is_the_mean_distance_to_the_others_of_the_group():
    found = diversity.score(painted(0, 60, 90), Company(groups=[4, 4, 4], eye=eye))
    cosine = {angle: np.cos(np.radians(angle)) for angle in (30, 60, 90)}
    assert found == pytest.approx(
        [
            1 - (cosine[60] + cosine[90]) / 2,
            1 - (cosine[60] + cosine[30]) / 2,
            1 - (cosine[90] + cosine[30]) / 2,
        ]
    )


def test_groups_may_be_mixed_and_do_not_touch_one_another():
    mixed = diversity.score(painted(0, 10, 60, 20), Company(groups=[1, 2, 1, 2], eye=eye))
    first = diversity.score(painted(0, 60), Company(groups=[1, 1], eye=eye))
    second = diversity.score(painted(10, 20), Company(groups=[2, 2], eye=eye))
    assert mixed == pytest.approx([first[0], second[0], first[1], second[1]])


def test_the_same_picture_from_every_seed_has_none():
    assert diversity.score(painted(30, 30, 30), Company(groups=[0] * 3, eye=eye)) == pytest.approx(
        [0, 0, 0], abs=1e-12
    )


def test_a_picture_alone_in_its_group_has_a_reason():
    (value,) = diversity.score(painted(0), Company(groups=[0], eye=eye))
    assert isinstance(value, Unscored)
    assert value.status == "alone"


def test_no_pictures_have_no_numbers():
    assert diversity.score([], Company(eye=eye)) == []
