import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.trainer.data.making import dataset, picture, put
from trainer.core.errors import ConfigError
from trainer.data.bucket import Frame, Framing, apply, fit, framing, listing
from trainer.data.folder import scan

sides_ = st.integers(1, 6000)
rules_ = st.builds(
    Framing,
    resolution=st.sampled_from([256, 500, 512, 768, 1024]),
    step=st.sampled_from([8, 16, 64, 128]),
    buckets=st.booleans(),
    upscale=st.booleans(),
)


@given(sides_, sides_, rules_)
def test_a_cut_fits_the_model_and_lies_in_the_picture(width, height, rules):
    frame = rules.frame(width, height)
    if frame is None:
        assert min(width, height) < rules.step
        assert not rules.upscale
        return
    assert all(side % rules.step == 0 and side > 0 for side in frame.size)
    assert frame.size[0] * frame.size[1] <= rules.resolution**2
    for offset, side, whole in zip(frame.crop, frame.size, frame.scaled, strict=True):
        assert offset >= 0
        assert offset + side <= whole
        assert abs(2 * offset + side - whole) <= 1


@given(sides_, sides_, rules_)
def test_nothing_is_enlarged_unless_asked(width, height, rules):
    frame = rules.frame(width, height)
    if frame is not None and not rules.upscale:
        assert frame.scaled[0] <= width
        assert frame.scaled[1] <= height


@given(st.integers(1200, 6000), st.floats(0.34, 3), st.sampled_from([512, 768, 1024]))
def test_little_is_cropped_of_usual_shapes(width, shape, resolution):
    frame = Framing(resolution, 64).frame(width, max(1200, round(width * shape)))
    assert frame.kept > 0.85
    assert frame.size[0] * frame.size[1] > 0.7 * resolution**2


@given(sides_, sides_, rules_)
def test_the_shape_is_kept_while_resizing(width, height, rules):
    frame = rules.frame(width, height)
    if frame is not None:
        across, down = frame.scaled[0] / width, frame.scaled[1] / height
        slack = 1 / min(frame.scaled[0], frame.scaled[1])
        assert abs(across / down - 1) < 2 * slack + 1e-9


@given(sides_, sides_)
def test_without_buckets_all_is_square(width, height):
    frame = Framing(512, 64, buckets=False, upscale=True).frame(width, height)
    assert frame.size == (512, 512)


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ((1024, 1024), (512, 512)),
        ((2000, 3000), (384, 640)),
        ((500, 500), (448, 448)),
        ((300, 200), (256, 192)),
        ((64, 64), (64, 64)),
    ],
)
def test_known_buckets(size, wanted):
    assert Framing(512, 64).frame(*size).size == wanted


def test_a_step_larger_than_the_resolution_is_refused():
    with pytest.raises(ConfigError, match="multiples of 128 px"):
        Framing(64, 128)


def test_the_step_suits_both_the_job_and_the_model(tmp_path):
    assert framing(dataset(tmp_path, bucket_step=24), resolution=512, size_step=16).step == 48


def test_small_pictures_are_told_of_and_lone_shapes_are_kept(tmp_path):
    put(tmp_path / "small.png", size=(30, 90), caption="x")
    put(tmp_path / "lone.png", size=(64, 300), caption="x")
    put(tmp_path / "usual.png", size=(300, 300), caption="x")
    framed, small = fit(scan(dataset(tmp_path)).pictures, Framing(256, 64))
    assert [one.picture.name for one in framed] == ["lone.png", "usual.png"]
    assert "30 x 90 px" in small[0].what
    assert "dataset.upscale" in small[0].hint


def test_a_cut_is_a_tensor_from_minus_one_to_one():
    image = Image.new("RGB", (64, 32), "white")
    image.paste("black", (0, 0, 32, 32))
    frame = Frame((64, 32), (64, 32), (0, 0))
    pixels = apply(image, frame)
    assert pixels.shape == (3, 32, 64)
    assert pixels.dtype == torch.float32
    assert (pixels[:, :, :32] == -1).all()
    assert (pixels[:, :, 32:] == 1).all()
    assert torch.equal(apply(image, frame, flip=True), pixels.flip(2))


def test_a_cut_is_the_middle_of_the_resized_picture():
    frame = Framing(64, 64).frame(400, 200)
    assert frame == Frame((64, 64), (128, 64), (32, 0))
    image = picture(size=(400, 200))
    middle = image.resize((128, 64), Image.Resampling.LANCZOS).crop((32, 0, 96, 64))
    wanted = np.asarray(middle, np.float32).transpose(2, 0, 1) / 127.5 - 1
    assert np.abs(apply(image, frame).numpy() - wanted).mean() < 0.01


def test_a_listing_shows_cut_and_words_of_every_picture(tmp_path):
    put(tmp_path / "a.png", size=(400, 200), caption="a dog")
    framed, _ = fit(scan(dataset(tmp_path)).pictures, Framing(64, 64))
    (listed,) = listing(framed, lambda p: p.caption.upper())
    assert (listed.name, listed.size, listed.crop, listed.kept, listed.caption) == (
        ("a.png", (64, 64), (32, 0), 0.5, "A DOG")
    )
