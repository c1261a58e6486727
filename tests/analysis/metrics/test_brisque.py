import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from analysis.metrics import brisque
from analysis.metrics.base import Company, Unscored, metrics
from analysis.metrics.measure_scene import halved, scene
from tests.analysis.metrics.test_ssim import blurred, compressed, noisy, photo

GOLDHILL = """
    2.572 0.351036942735 0.812 0.0513817851787 0.0990384326074 0.15345482192 0.799
    0.0470539645484 0.10510177186 0.156099896027 0.815 -0.0349804084094 0.143155895466
    0.106262034811 0.834 -0.0369801064333 0.140333646496 0.10216126586 2.743 0.310780569164
    0.818 0.107698020535 0.0551298625232 0.156724511126 0.81 0.0476984319676 0.0806306441245
    0.126393024436 0.846 -0.0265697733244 0.111462298744 0.0867441464116 0.858 -0.029807971765
    0.110953107665 0.0836077858927"""
I01 = """
    2.709 0.435091722893 0.865 0.122194163831 0.119834920346 0.276565400922 0.887
    0.0264101469022 0.169069896809 0.202270580344 0.872 -0.00856010987492 0.188870329472
    0.178110512926 0.883 -0.096360969894 0.244607343293 0.125097285398 2.784 0.420488916009
    0.826 0.106836908663 0.128744758686 0.268459219671 0.874 -0.017788804862 0.196959684572
    0.174486805198 0.891 -0.0677971682943 0.219509544133 0.136639458828 0.897 -0.112939686068
    0.249197409756 0.112094181326"""


def features(text):
    return np.array(text.split(), dtype=np.float64)


def drawing():
    """Shapes in one colour each on white, 256 px."""
    image = Image.new("RGB", (256, 256), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((40, 40, 180, 200), fill="#d03020", outline="black", width=3)
    draw.line((10, 250, 240, 20), fill="#2040a0", width=5)
    return np.asarray(image)


def by_piq(picture):
    with brisque.piq_offline():
        return brisque.by_piq(picture)


@pytest.mark.parametrize(
    ("statistics", "matlab"), [(GOLDHILL, 8.425548118925917), (I01, 10.259409019043119)]
)
def test_the_shipped_weights_hit_the_values_that_piq_publishes_from_matlab(statistics, matlab):
    """The features are those of the two photos that piq tests with; we may not ship the photos."""
    assert brisque.regressed(features(statistics)) == pytest.approx(matlab, abs=1e-3)


@pytest.mark.parametrize("size", [(128, 128), (64, 98), (66, 402)])
@pytest.mark.parametrize("spoil", [np.array, noisy, blurred])
def test_it_is_piqs_in_float64(spoil, size):
    picture = spoil(photo(*size))
    assert brisque.measured(picture).plain == pytest.approx(by_piq(picture), abs=1e-6)


@pytest.mark.parametrize("spoil", [np.array, noisy, compressed])
def test_a_mirror_image_has_its_originals_scores_the_other_way_round(spoil):
    picture = spoil(photo(128, 160))
    here, there = brisque.measured(picture), brisque.measured(picture[:, ::-1])
    assert there.mirrored == pytest.approx(here.plain, abs=1e-6)
    assert there.score == pytest.approx(here.score, abs=1e-6)


def test_the_mirror_images_score_is_what_piq_says_of_the_mirror_image():
    picture = photo(128, 160, seed=3)
    mirrored = by_piq(np.ascontiguousarray(picture[:, ::-1]))
    found = brisque.measured(picture)
    assert found.mirrored == pytest.approx(mirrored, abs=1e-6)
    assert found.score == pytest.approx((by_piq(picture) + mirrored) / 2, abs=1e-6)


def test_the_half_scale_is_piqs():
    from piq.functional import imresize

    plane = np.random.default_rng(0).uniform(0, 255, (70, 94))
    told = imresize(torch.from_numpy(plane)[None, None], sizes=(35, 47))[0, 0].numpy()
    assert np.abs(halved(plane) - told).max() < 1e-4  # piq's grid is in float32


def test_noise_and_compression_raise_it():
    picture = photo(256, 256)
    clean = brisque.measured(picture).score
    assert brisque.measured(compressed(picture)).score > clean + 5
    assert brisque.measured(blurred(picture)).score > clean + 5


@pytest.mark.parametrize(("rows", "columns"), [(129, 128), (128, 161), (129, 161)])
def test_odd_sides_are_cropped_to_even_ones(rows, columns):
    picture = photo(rows, columns)
    cropped = picture[: rows // 2 * 2, : columns // 2 * 2]
    assert brisque.measured(picture) == brisque.measured(cropped)


def test_rounding_noise_of_even_areas_does_not_count():
    """piq counts the signs of differences of 1e-14 there; ours are zero."""
    picture = drawing()
    found = brisque.measured(picture)
    assert found.even > 0.7
    assert found.plain == pytest.approx(brisque.measured(np.rot90(picture, 2)).plain, abs=1e-6)
    assert abs(found.plain - by_piq(picture)) > 1


def test_a_photo_has_no_even_areas():
    assert scene(photo(64, 64)).even == 0


@pytest.mark.parametrize(
    ("picture", "status"),
    [
        (np.zeros((128, 128, 3), np.uint8), "flat"),
        (np.full((128, 128, 3), 255, np.uint8), "flat"),
        (np.full((128, 128, 3), (10, 200, 30), np.uint8), "flat"),
        (photo(63, 128), "too_small"),
        (photo(128, 8), "too_small"),
        (photo(1, 1), "too_small"),
    ],
)
def test_what_has_no_statistics_has_a_reason_and_no_number(picture, status):
    (value,) = metrics["brisque"]().score([picture], Company())
    assert isinstance(value, Unscored)
    assert value.status == status


@pytest.mark.parametrize("odd", [1, 2, 1000])
def test_a_nearly_constant_picture_never_gives_nan(odd):
    picture = np.full((64, 64, 3), 128, np.uint8)
    picture.reshape(-1, 3)[:odd] = 0
    (value,) = metrics["brisque"]().score([picture], Company())
    assert isinstance(value, Unscored) or np.isfinite(value)


def test_piq_can_be_asked_instead():
    picture = photo(96, 96)
    ours, theirs = (
        metrics["brisque"](by=by).score([picture, np.zeros_like(picture)], Company())
        for by in ("sweetspot", "piq")
    )
    assert theirs[0] == pytest.approx(ours[0], abs=1e-6)
    assert theirs[1].status == "flat"


def test_piq_finds_the_weights_without_a_network_and_leaves_the_hub_folder_alone(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    before = torch.hub.get_dir()
    with brisque.piq_offline():
        scores = {brisque.by_piq(photo(64, 64)) for _ in range(3)}
    assert len(scores) == 1
    assert torch.hub.get_dir() == before
    assert not (tmp_path / "home").exists()
