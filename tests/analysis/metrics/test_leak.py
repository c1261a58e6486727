from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import structural_similarity

from analysis.metrics.base import Company, Unscored, metrics
from trainer.data.image import read

DEMO = Path(__file__).parents[3] / "assets" / "demo" / "style"

leak = metrics["leak"].model_validate({})


def drawing(name):
    return np.asarray(read(DEMO / f"{name}.png", background="#ffffff", max_megapixels=10))


def test_it_is_one_less_the_ssim_of_wang_2004_on_brightness():
    picture, control = drawing("house"), drawing("cactus")
    told = structural_similarity(
        np.asarray(Image.fromarray(picture).convert("L")),
        np.asarray(Image.fromarray(control).convert("L")),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
    )
    assert leak.score([picture], Company(controls=[control])) == [pytest.approx(1 - told, abs=1e-9)]


def test_the_more_of_another_picture_leaks_in_the_higher_it_is():
    before, other = drawing("house").astype(float), drawing("cactus").astype(float)
    shown = [
        (before + share * (other - before)).astype(np.uint8) for share in (0, 0.1, 0.3, 0.6, 1)
    ]
    found = leak.score(shown, Company(controls=[drawing("house")] * len(shown)))
    assert found == sorted(found)
    assert found[0] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("picture", "control", "status"),
    [
        (drawing("house"), None, "missing"),
        (np.zeros((64, 64, 3), np.uint8), drawing("house"), "flat"),
        (drawing("house")[:8], drawing("house"), "too_small"),
    ],
)
def test_what_cannot_be_compared_has_a_reason(picture, control, status):
    (value,) = leak.score([picture], Company(controls=[control]))
    assert isinstance(value, Unscored)
    assert value.status == status
