import contextlib
import io
import warnings

import numpy as np
import pytest
from PIL import Image, ImageFile

from tests.trainer.data.making import chunk, picture, png
from trainer.core.errors import DatasetError
from trainer.data.image import SUFFIXES, fingerprint, header, lookalikes, read


def seen(path, background="#ffffff", megapixels=100.0):
    return read(path, background=background, max_megapixels=megapixels)


def stored(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_format_that_is_named_is_read(tmp_path, suffix):
    kind = Image.registered_extensions()[suffix]
    path = tmp_path / f"a{suffix}"
    picture().save(path, kind, quality=95)
    assert header(path, max_megapixels=1) == (96, 64)
    assert seen(path).mode == "RGB"
    assert np.abs(np.asarray(seen(path), float) - np.asarray(picture(), float)).mean() < 8


@pytest.mark.parametrize("kind", ["GIF", "PPM", "ICO", "TGA"])
def test_other_formats_are_refused_whatever_the_file_is_called(tmp_path, kind):
    path = tmp_path / "a.png"
    picture().save(path, kind)
    with pytest.raises(DatasetError, match="not a picture"):
        seen(path)
    with pytest.raises(DatasetError, match="not a picture"):
        header(path, max_megapixels=1)


def test_postscript_in_a_png_is_never_run(tmp_path):
    path = stored(tmp_path / "a.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(DatasetError, match="not a picture"):
        seen(path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif", "tif"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_file_that_is_cut_off_is_refused(tmp_path, suffix, share):
    whole = tmp_path / f"whole.{suffix}"
    picture(size=(400, 300)).save(whole)
    content = whole.read_bytes()
    path = stored(tmp_path / f"half.{suffix}", content[: int(len(content) * share)])
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        with pytest.raises(DatasetError) as caught:
            seen(path)
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False
    assert caught.value.where == str(path)
    assert caught.value.hint


def test_an_empty_file_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="not a picture"):
        seen(stored(tmp_path / "a.png", b""))


def test_a_missing_file_is_a_plain_error(tmp_path):
    with pytest.raises(DatasetError, match="No such file"):
        seen(tmp_path / "a.png")


@pytest.mark.parametrize("side", [2000, 10_000, 60_000])
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path, side):
    path = stored(tmp_path / "a.png", png((side, side), 1, 0, b""))
    for look in (lambda: seen(path, megapixels=3.9), lambda: header(path, max_megapixels=3.9)):
        with pytest.raises(DatasetError, match=r"larger than 3\.9 megapixels"):
            look()


def test_a_limit_above_pillows_own_is_honoured(tmp_path):
    path = stored(tmp_path / "a.png", png((15_000, 15_000), 1, 0, b""))
    before = Image.MAX_IMAGE_PIXELS
    assert header(path, max_megapixels=300) == (15_000, 15_000)
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif", "tif"])
def test_pictures_stand_upright(tmp_path, orientation, suffix):
    upright = Image.new("RGB", (48, 24), "white")
    upright.paste("black", (0, 0, 24, 12))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    turned = upright.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    turned.save(path, exif=exif, quality=100)
    image = seen(path)
    assert header(path, max_megapixels=1) == image.size == (48, 24)
    assert np.abs(np.asarray(image, float) - np.asarray(upright, float)).mean() < 6


def test_exif_behind_the_pixels_of_a_png_counts(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    behind = chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    rows = b"".join(b"\0" + bytes(40) for _ in range(20))
    path = stored(tmp_path / "a.png", png((40, 20), 8, 0, rows, behind=behind))
    assert header(path, max_megapixels=1) == seen(path).size == (20, 40)


def test_damaged_exif_counts_as_none(tmp_path):
    path = tmp_path / "a.jpg"
    picture().save(path, exif=b"Exif\0\0II*\0\xff\xff\xff\xffrubbish")
    assert header(path, max_megapixels=1) == seen(path).size == (96, 64)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
@pytest.mark.parametrize("background", ["#ffffff", "#102030"])
def test_transparent_parts_show_the_background_and_not_what_hides_there(tmp_path, mode, background):
    image = Image.new("RGBA", (8, 8), (200, 0, 0, 0))
    path = tmp_path / "a.png"
    image.convert(mode).save(path)
    wanted = tuple(bytes.fromhex(background[1:]))
    assert seen(path, background).getpixel((3, 3)) == wanted


def test_half_transparent_is_half_background(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGBA", (2, 2), (0, 0, 0, 128)).save(path)
    assert seen(path, "#ffffff").getpixel((0, 0)) == (127, 127, 127)


@pytest.mark.parametrize(
    ("colour", "depth", "pixel", "key"),
    [
        (2, 8, b"\x0a\x14\x1e", b"\0\x0a\0\x14\0\x1e"),
        (0, 8, b"\x0a", b"\0\x0a"),
        (0, 16, b"\x01\x0a", b"\x01\x0a"),
    ],
)
def test_a_colour_declared_transparent_shows_the_background(tmp_path, colour, depth, pixel, key):
    rows = b"".join(b"\0" + pixel * 2 for _ in range(2))
    content = png((2, 2), depth, colour, rows, before=chunk(b"tRNS", key))
    path = stored(tmp_path / "a.png", content)
    assert seen(path, "#0a6414").getpixel((1, 1)) == (10, 100, 20)


def test_sixteen_bit_grey_keeps_its_shades(tmp_path):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None, :]
    for name in ("a.png", "a.tif"):
        Image.fromarray(ramp).save(tmp_path / name)
        shades = np.asarray(seen(tmp_path / name))[0]
        assert (shades == np.arange(256)[:, None]).all()


@pytest.mark.parametrize(
    ("kind", "white"), [("f4", 1.0), ("f4", 255.0), ("i4", 255), ("i4", 65535)]
)
def test_deep_tiffs_are_scaled_by_their_range(tmp_path, kind, white):
    path = tmp_path / "a.tif"
    Image.fromarray(np.array([[0, white / 2, white]]).astype(kind)).save(path)
    assert [p[0] for p in np.asarray(seen(path))[0]] in ([0, 127, 255], [0, 128, 255])


@pytest.mark.parametrize("values", [[-1.0, 1.0], [0.0, 1e6], [0.0, float("nan")]])
def test_grey_without_a_known_white_is_refused(tmp_path, values):
    path = tmp_path / "a.tif"
    Image.fromarray(np.array([values], dtype=np.float32)).save(path)
    with pytest.raises(DatasetError, match="white"):
        seen(path)


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK"])
def test_other_colour_modes_become_rgb(tmp_path, mode):
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.new("RGB", (8, 8), "white").convert(mode).save(path)
    image = seen(path)
    assert (image.mode, image.getpixel((4, 4))) == ("RGB", (255, 255, 255))


@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "avif"])
def test_several_frames_are_refused_and_one_is_fine(tmp_path, suffix):
    one, two = tmp_path / f"one.{suffix}", tmp_path / f"two.{suffix}"
    picture().save(one, save_all=True)
    picture().save(two, save_all=True, append_images=[picture(1)])
    assert seen(one).size == (96, 64)
    with pytest.raises(DatasetError, match="2 frames"):
        header(two, max_megapixels=1)


def test_a_photo_with_a_preview_behind_it_is_a_photo(tmp_path):
    path = tmp_path / "a.jpg"
    picture().save(path, "MPO", save_all=True, append_images=[picture(1)])
    assert seen(path).size == (96, 64)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP"])
def test_random_damage_is_a_dataset_error_or_a_picture_and_nothing_else(tmp_path, kind):
    content = io.BytesIO()
    picture().save(content, kind)
    random = np.random.default_rng(1)
    path = tmp_path / "a.png"
    for _ in range(60):
        damaged = bytearray(content.getvalue())
        for place in random.integers(0, min(len(damaged), 400), 3):
            damaged[place] = random.integers(0, 256)
        path.write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.suppress(DatasetError):
                assert seen(path, megapixels=1).mode == "RGB"


def test_resaved_and_resized_pictures_look_alike_and_others_do_not(tmp_path):
    picture(1, (400, 300)).save(tmp_path / "a.jpg", quality=60)
    prints = [
        fingerprint(picture(1, (400, 300))),
        fingerprint(picture(2, (400, 300))),
        fingerprint(seen(tmp_path / "a.jpg").resize((200, 150))),
        fingerprint(Image.new("RGB", (50, 50), "red")),
        fingerprint(Image.new("RGB", (50, 50), "blue")),
    ]
    assert lookalikes(prints) == [[0, 2]]


def test_lookalikes_agree_with_comparing_all_pairs():
    random = np.random.default_rng(0)
    prints = random.integers(0, 256, (300, 19), dtype=np.uint8)
    prints[:, 16:] = 100
    for copy in range(150):
        prints[copy + 150] = prints[copy]
        for bit in random.choice(128, random.integers(0, 12), replace=False):
            prints[copy + 150, bit // 8] ^= 1 << (bit % 8)
    bits = np.unpackbits(prints[:, :16], axis=1).astype(int)
    distance = (bits[:, None] != bits[None]).sum(-1)
    linked = np.linalg.matrix_power((distance <= 7).astype(float), 8) > 0
    wanted = {tuple(np.flatnonzero(row).tolist()) for row in linked if row.sum() > 1}
    assert {tuple(group) for group in lookalikes([p.tobytes() for p in prints])} == wanted


def test_few_or_no_pictures_have_lookalikes_too():
    assert lookalikes([]) == []
    assert lookalikes([bytes(19)]) == []
    assert lookalikes([bytes(19), bytes(19), b"\xff" * 19]) == [[0, 1]]
