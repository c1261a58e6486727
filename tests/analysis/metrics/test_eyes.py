"""Metrics that see through a network: likeness, memory, copies, diversity, leak."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.metrics.base import Company, Unscored, metrics
from analysis.metrics.memorised import copies
from trainer.data.image import read

DEMO = Path(__file__).parents[3] / "assets" / "demo"


def pictures_of(name):
    found = []
    for path in sorted((DEMO / name).glob("*.png")):
        image = read(path, background="#ffffff", max_megapixels=10).resize((128, 128))
        found.append(np.asarray(image))
    return found


def eye(pictures):
    """Small grey versions around their middle, rows of length 1."""
    rows = [
        np.asarray(Image.fromarray(p).convert("L").resize((16, 16)), dtype=float).ravel() - 128
        for p in pictures
    ]
    found = np.stack(rows)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def score(name, pictures, **company):
    return metrics[name].model_validate({}).score(pictures, Company(eye=eye, **company))


def test_the_references_themselves_are_likest_to_the_references():
    style, subject = pictures_of("style"), pictures_of("subject")
    own = score("fidelity", subject, held_out=subject)
    other = score("fidelity", style, held_out=subject)
    assert np.mean(own) > np.mean(other)
    assert score("fidelity", subject[:1], training=subject[:1]) == [pytest.approx(1)]


def test_held_out_pictures_count_before_those_that_trained():
    subject, style = pictures_of("subject"), pictures_of("style")
    both = score("fidelity", subject[:2], training=subject, held_out=style)
    assert both == score("fidelity", subject[:2], held_out=style)


def test_a_training_picture_is_more_memorised_than_a_held_out_one():
    subject = pictures_of("subject")
    seen, unseen = score(
        "memorised", [subject[0], subject[8]], training=subject[:6], held_out=subject[7:]
    )
    assert seen > unseen


def spoilt(picture):
    dice = np.random.default_rng(0)
    yield "itself", picture
    yield "noise", np.clip(picture + dice.normal(0, 12, picture.shape), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=40)
    yield "jpeg", np.asarray(Image.open(buffer))
    yield "shifted", np.roll(picture, (2, 2), (0, 1))
    yield "mirrored", np.ascontiguousarray(picture[:, ::-1])
    yield "blurred", np.asarray(Image.fromarray(picture).resize((40, 40)).resize((128, 128)))


@pytest.mark.parametrize("name", ["style", "subject"])
def test_a_copy_is_found_however_it_was_spoilt(name):
    training = pictures_of(name)
    for index in (0, 3, 5):
        for what, picture in spoilt(training[index]):
            (copy,) = copies([picture], training)
            assert copy is not None, f"{name} {index} {what}"
            if what != "shifted":
                assert copy.training == index, f"{name} {index} {what}"


def test_another_picture_of_the_same_kind_is_no_copy():
    style = pictures_of("style")
    for index, picture in enumerate(style):
        rest = style[:index] + style[index + 1 :]
        assert copies([picture], rest) == [None]
    subject = pictures_of("subject")
    flagged = sum(
        copies([p], subject[:i] + subject[i + 1 :]) != [None] for i, p in enumerate(subject)
    )
    assert flagged <= 2  # two of the nine show one expression on two backgrounds


def test_without_training_pictures_nothing_is_a_copy():
    assert copies(pictures_of("style")[:2], []) == [None, None]


def test_diversity_is_the_distance_to_the_other_seeds_of_the_group():
    style = pictures_of("style")
    values = score("diversity", [style[0], style[0], style[1]], groups=[1, 1, 2])
    assert values[:2] == [pytest.approx(0, abs=1e-9)] * 2
    assert isinstance(values[2], Unscored)
    apart = score("diversity", style[:2], groups=[1, 1])
    assert apart[0] == pytest.approx(apart[1])
    assert apart[0] > 0.1


def test_leak_is_how_far_a_picture_moved():
    style = pictures_of("style")
    same, other, lone = score("leak", [style[0]] * 3, controls=[style[0], style[1], None])
    assert same == pytest.approx(0, abs=1e-9)
    assert other > 0.3
    assert isinstance(lone, Unscored)


@pytest.mark.parametrize("name", list(metrics))
def test_every_metric_says_what_its_numbers_mean(name):
    kind = metrics[name]
    for text in (kind.title, kind.meaning, kind.distrust):
        assert len(text) > 3
    assert kind.meaning.endswith(".")
    assert kind.distrust.endswith(".")
    assert kind.axis in ("learned", "quality", "aside")
    assert kind.better in ("higher", "lower", "neither")
    assert kind.counts in ("all", "trigger", "plain")
