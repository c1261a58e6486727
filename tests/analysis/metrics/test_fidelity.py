import numpy as np
import pytest

from analysis.metrics.base import Company, metrics

fidelity = metrics["fidelity"].model_validate({})


def painted(*angles):
    """Pictures that `eye` sees at these angles, degrees."""
    return [np.full((8, 8, 3), angle, np.uint8) for angle in angles]


def eye(pictures):
    angles = np.radians([float(picture[0, 0, 0]) for picture in pictures])
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_it_is_the_mean_cosine_in_the_order_of_the_pictures():
    found = fidelity.score(painted(90, 0, 45), Company(training=painted(0, 90), eye=eye))
    assert found == pytest.approx([0.5, 0.5, np.sqrt(0.5)])


def test_a_copy_of_one_reference_does_not_beat_a_picture_that_is_like_them_all():
    references = painted(0, 60, 120)
    copy, like_all = fidelity.score(painted(0, 60), Company(training=references, eye=eye))
    assert like_all > copy


def test_more_references_of_the_same_do_not_raise_it():
    few, many = painted(0, 60), painted(0, 60) * 10
    shown = painted(20)
    assert fidelity.score(shown, Company(held_out=few, eye=eye)) == pytest.approx(
        fidelity.score(shown, Company(held_out=many, eye=eye))
    )


def test_no_pictures_have_no_numbers():
    def blind(pictures):
        raise AssertionError("there is nothing to see")

    assert fidelity.score([], Company(training=painted(0), eye=blind)) == []
