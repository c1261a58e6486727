import io

import numpy as np
import pytest
from PIL import Image, ImageFilter
from skimage.metrics import structural_similarity

from analysis.metrics.base import Company, Unscored, metrics
from analysis.metrics.measure_match import luma, matched


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Noise with the spectrum of photos, coloured: `(H, W, 3)`, uint8."""
    random = np.random.default_rng(seed)
    down, right = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)
    fall = 1 / np.maximum(np.hypot(down, right), 1 / max(height, width)) ** 1.2
    waves = np.fft.fft2(random.normal(size=(3, height, width))) * fall
    planes = np.fft.ifft2(waves).real
    planes = planes[:1] + 0.3 * planes[1:2] * np.array([1, -1, 0.5])[:, None, None] + planes * 0.1
    spread = 45 / planes.std()
    return np.clip(128 + spread * planes, 0, 255).astype(np.uint8).transpose(1, 2, 0)


def noisy(picture):
    noise = np.random.default_rng(1).normal(0, 15, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def blurred(picture):
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(2)))


def compressed(picture):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=15)
    return np.asarray(Image.open(file))


def moved(picture):
    return np.roll(picture, (2, 3), axis=(0, 1))


def paler(picture):
    return (100 + picture // 10).astype(np.uint8)


def ssim(picture, control):
    (value,) = metrics["ssim"]().score([picture], Company(controls=[control]))
    return value


@pytest.mark.parametrize("size", [(128, 128), (97, 211), (11, 11), (12, 300), (300, 2048)])
@pytest.mark.parametrize("spoil", [noisy, blurred, compressed, moved, paler])
def test_it_is_scikit_images_with_the_settings_of_wang_2004(spoil, size):
    before = photo(*size)
    after = spoil(before)
    told = structural_similarity(
        luma(before),
        luma(after),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
    )
    assert ssim(after, before) == pytest.approx(told, abs=1e-9)


def test_a_picture_is_one_with_itself_and_less_with_another():
    assert ssim(photo(64, 64), photo(64, 64)) == pytest.approx(1, abs=1e-12)
    assert ssim(photo(64, 64), photo(64, 64, seed=1)) < 0.3


def test_which_of_the_two_is_the_control_does_not_matter():
    one, other = photo(64, 80), noisy(photo(64, 80))
    assert ssim(one, other) == pytest.approx(ssim(other, one), abs=1e-12)


def test_a_control_of_another_size_is_brought_to_the_pictures():
    picture = photo(64, 64)
    control = np.asarray(Image.fromarray(picture).resize((96, 80), Image.Resampling.BICUBIC))
    match = matched(control, picture)
    assert match.resized
    assert match.control.shape == picture.shape
    assert ssim(picture, control) == ssim(picture, match.control) > 0.9


def test_a_control_of_the_same_size_is_left_as_it_is():
    picture, control = photo(64, 64), photo(64, 64, seed=1)
    match = matched(control, picture)
    assert not match.resized
    assert match.control is control


BLACK = np.zeros((64, 64, 3), np.uint8)


@pytest.mark.parametrize(
    ("picture", "control", "status"),
    [
        (BLACK, photo(64, 64), "flat"),
        (photo(64, 64), BLACK, "flat"),
        (BLACK, BLACK, "flat"),
        (photo(10, 64), photo(10, 64), "too_small"),
        (photo(64, 1), photo(64, 64), "too_small"),
        (photo(64, 64), None, "missing"),
    ],
)
def test_what_cannot_be_compared_has_a_reason_and_no_number(picture, control, status):
    value = ssim(picture, control)
    assert isinstance(value, Unscored)
    assert value.status == status
    assert value.reason
