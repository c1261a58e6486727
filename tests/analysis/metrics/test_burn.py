import numpy as np
import pytest
from PIL import Image, ImageEnhance

from analysis.metrics.base import Company, metrics
from tests.analysis.metrics.test_ssim import photo


def burn(picture):
    (value,) = metrics["burn"]().score([np.asarray(picture)], Company())
    return value


def soft_photo():
    """Coloured, with room at both ends of the scale."""
    strong = ImageEnhance.Color(Image.fromarray(photo(128, 128))).enhance(3)
    return Image.fromarray((40 + np.asarray(strong) * 0.68).astype(np.uint8))


def test_the_harder_the_contrast_the_more_is_burnt():
    picture = ImageEnhance.Contrast(soft_photo())
    shares = [burn(picture.enhance(factor)) for factor in (1.0, 1.5, 2.0, 3.0)]
    assert shares == sorted(shares)
    assert shares[0] < 0.01
    assert shares[-1] > 0.2


def test_the_stronger_the_colours_the_more_is_burnt():
    picture = ImageEnhance.Color(soft_photo())
    shares = [burn(picture.enhance(factor)) for factor in (1.0, 1.5, 2.0, 3.0)]
    assert shares == sorted(shares)
    assert shares[0] < 0.01
    assert shares[-1] > 0.15


@pytest.mark.parametrize("ground", ["white", "black", "#808080"])
def test_a_plain_ground_is_no_burn(ground):
    page = Image.new("RGB", (256, 256), ground)
    page.paste(soft_photo(), (64, 64))
    assert burn(page) == pytest.approx(burn(soft_photo()) / 4)


def test_it_is_the_share_of_clipped_pixels_that_have_a_colour():
    quarters = np.zeros((4, 4, 3), np.uint8)
    quarters[:2, :2] = (255, 80, 40)  # too light in one channel
    quarters[:2, 2:] = (180, 0, 30)  # too dark in one
    quarters[2:, :2] = (255, 255, 250)  # hardly a colour
    quarters[2:, 2:] = (200, 100, 40)  # whole
    assert burn(quarters) == 0.5


@pytest.mark.parametrize("factor", [0.5, 0.8])
def test_a_darker_picture_is_not_burnt(factor):
    darker = ImageEnhance.Brightness(soft_photo()).enhance(factor)
    assert burn(darker) <= burn(soft_photo()) + 0.01
