import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.metrics.base import Company, metrics
from analysis.metrics.memorised import copies
from trainer.data.image import read

DEMO = Path(__file__).parents[3] / "assets" / "demo"

memorised = metrics["memorised"].model_validate({})


def drawings(name):
    return [
        np.asarray(read(path, background="#ffffff", max_megapixels=10).resize((128, 128)))
        for path in sorted((DEMO / name).glob("*.png"))
    ]


def painted(*angles):
    """Pictures that `eye` sees at these angles, degrees."""
    return [np.full((8, 8, 3), angle, np.uint8) for angle in angles]


def eye(pictures):
    angles = np.radians([float(picture[0, 0, 0]) for picture in pictures])
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def cosine(degrees):
    return np.cos(np.radians(degrees))


# The metric


def test_it_is_how_much_nearer_the_nearest_training_picture_is_than_the_nearest_held_out():
    company = Company(training=painted(0, 100), held_out=painted(40, 70), eye=eye)
    found = memorised.score(painted(10, 100, 40), company)
    assert found == pytest.approx(
        [cosine(10) - cosine(30), 1 - cosine(30), cosine(40) - 1], abs=1e-9
    )


def test_without_held_out_pictures_training_pictures_are_compared_with_one_another():
    training = painted(0, 20, 90)  # nearest others: 20, 20 and 70 degrees away
    found = memorised.score(painted(0, 45), Company(training=training, eye=eye))
    assert found == pytest.approx([1 - cosine(20), cosine(25) - cosine(20)])


def test_no_pictures_have_no_numbers():
    assert memorised.score([], Company(training=painted(0), eye=eye)) == []
    assert copies([], painted(0)) == []


# Copies


@pytest.mark.parametrize("name", ["style", "subject"])
@pytest.mark.parametrize("px", [1, 2, 4])
@pytest.mark.parametrize("mirrored", [False, True], ids=["plain", "mirrored"])
def test_a_training_picture_that_was_moved_is_a_copy_of_that_picture(name, px, mirrored):
    training = drawings(name)
    for index, original in enumerate(training):
        turned = original[:, ::-1] if mirrored else original
        (copy,) = copies([np.roll(turned, (px, -px), (0, 1))], training)
        assert copy is not None
        assert copy.training == index
        assert copy.similarity > 0.95


@pytest.mark.parametrize("name", ["style", "subject"])
def test_a_training_picture_with_noise_or_as_a_jpeg_is_a_copy(name):
    training = drawings(name)
    dice = np.random.default_rng(0)
    for index, original in enumerate(training):
        noisy = np.clip(original + dice.normal(0, 12, original.shape), 0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(original).save(file, "JPEG", quality=40)
        found = copies([noisy, np.asarray(Image.open(file))], training)
        assert [copy.training for copy in found if copy] == [index, index]


def test_another_picture_of_the_style_is_no_copy():
    assert copies(drawings("style-held-out"), drawings("style")) == [None] * 8


def test_another_expression_of_the_subject_is_no_copy():
    subject = drawings("subject")
    twins = (0, 2)  # two smiles on white that differ in the eyes alone
    for index, picture in enumerate(subject):
        if index not in twins:
            assert copies([picture], subject[:index] + subject[index + 1 :]) == [None]


@pytest.mark.parametrize("count", [1, 2])
def test_few_training_pictures_ask_for_a_closer_copy(count):
    subject = drawings("subject")
    training, others = subject[1 : 1 + count], subject[1 + count :]
    assert copies(others, training) == [None] * len(others)
    assert [copy.training for copy in copies(training, training) if copy] == list(range(count))


def test_sizes_need_not_be_those_of_the_training_pictures():
    training = drawings("style")
    larger = np.asarray(Image.fromarray(training[4]).resize((300, 300), Image.Resampling.BICUBIC))
    (copy,) = copies([larger], training)
    assert copy is not None
    assert copy.training == 4


def test_one_call_after_another_finds_what_one_call_finds():
    style, subject = drawings("style"), drawings("subject")
    mixed = [style[3], subject[5], style[3][:, ::-1]]
    together = copies(mixed, style)
    assert [copies([one], style)[0] for one in mixed] == together
    assert copies([subject[5]], subject)[0].training == 5
    assert copies(mixed, list(style)) == together
