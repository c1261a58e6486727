"""A picture file: its upright size from the header, its pixels as plain RGB, its likeness.

The content decides the format, not the name. Nothing is repaired: a file that does not
decode to its last line is refused. It does not know datasets, sizes to train at, or torch.
"""

from __future__ import annotations

import contextlib
import struct
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from trainer.core.errors import DatasetError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "TIFF")
SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".bmp", ".tif", ".tiff"}
)

NEAR_BITS = 7
"""Fingerprints of pictures that look alike differ in at most this many of their 128 bits."""
NEAR_COLOUR = 16
"""And their mean red, green and blue by at most this, of 255."""
_NEIGHBOURS = 32

_FAULTS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)
"""What Pillow's readers raise on damaged files."""

_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_pillow_settings = threading.Lock()


def header(path: Path, *, max_megapixels: float) -> tuple[int, int]:
    """Width and height as the picture is looked at (after EXIF rotation), without decoding it.

    Raises:
        DatasetError: It is no picture we read, larger than allowed, or animated.
    """
    with _plain_faults(str(path)), path.open("rb") as file:
        return header_of(file, where=str(path), max_megapixels=max_megapixels)


def header_of(file: BinaryIO, *, where: str, max_megapixels: float) -> tuple[int, int]:
    """`header` of an open file; `where` names it in errors."""
    with _plain_faults(where):
        image, orientation = _open(file, where, max_megapixels)
        width, height = image.size
        return (height, width) if orientation >= 5 else (width, height)


def read(path: Path, *, background: str, max_megapixels: float) -> Image.Image:
    """The whole picture, upright, RGB, transparent parts laid on `background` (#rrggbb).

    Raises:
        DatasetError: It is no picture we read, larger than allowed, animated or damaged.
    """
    with _plain_faults(str(path)), path.open("rb") as file:
        return decode(file, where=str(path), background=background, max_megapixels=max_megapixels)


def decode(file: BinaryIO, *, where: str, background: str, max_megapixels: float) -> Image.Image:
    """`read` of an open file; `where` names it in errors."""
    with _plain_faults(where):
        image, orientation = _open(file, where, max_megapixels)
        image.load()
        flat = _flatten(image, background, where)
        turn = _UPRIGHT.get(orientation)
        return flat if turn is None else flat.transpose(turn)


def fingerprint(image: Image.Image) -> bytes:
    """What an RGB picture looks like in 19 bytes: dHash across, dHash down, mean colour."""
    import imagehash
    import numpy as np

    small = image.resize((64, 64), Image.Resampling.BOX, reducing_gap=2.0)
    across, down = imagehash.dhash(small), imagehash.dhash_vertical(small)
    bits = np.packbits(np.concatenate([across.hash.ravel(), down.hash.ravel()]))
    colour = np.asarray(small).reshape(-1, 3).mean(axis=0).round().astype(np.uint8)
    return bytes(bits) + bytes(colour)


def lookalikes(fingerprints: Sequence[bytes]) -> list[list[int]]:
    """Groups of indices of pictures that look the same, directly or by way of others.

    Two prints that differ in 7 bits agree in one of 8 bands of 16 bits. Sorted by a band,
    each is compared with the next 32 that share it: linear time, and only in a crowd of
    near-equals may a direct pair be missed.
    """
    import numpy as np

    prints = np.frombuffer(b"".join(fingerprints), np.uint8).reshape(-1, 19)
    bands = np.ascontiguousarray(prints[:, :16]).view(">u2")
    colours = prints[:, 16:].astype(np.int16)
    leader = np.arange(len(prints))
    for band in range(8):
        order = np.lexsort(np.roll(bands, -band, axis=1).T[::-1])
        for gap in range(1, _NEIGHBOURS + 1):
            a, b = order[:-gap], order[gap:]
            new = (bands[a, band] == bands[b, band]) & (leader[a] != leader[b])
            a, b = a[new], b[new]
            bits = np.bitwise_count(bands[a] ^ bands[b]).sum(axis=1)
            same_colour = abs(colours[a] - colours[b]).max(axis=1, initial=0) <= NEAR_COLOUR
            close = (bits <= NEAR_BITS) & same_colour
            leader = _joined(leader, a[close], b[close])
    order = np.argsort(leader, kind="stable")
    cuts = np.flatnonzero(np.diff(leader[order])) + 1
    return sorted(group.tolist() for group in np.split(order, cuts) if len(group) > 1)


def _joined(leader: NDArray[Any], a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Each index's leader once the groups of `a[i]` and `b[i]` are one, for all i."""
    if not len(a):
        return leader
    leads = leader.tolist()

    def lead(index: int) -> int:
        while leads[index] != index:
            leads[index] = index = leads[leads[index]]
        return index

    for one, other in zip(a.tolist(), b.tolist(), strict=True):
        leads[lead(other)] = lead(one)
    import numpy as np

    return np.array([lead(index) for index in range(len(leads))])


def _open(file: BinaryIO, where: str, max_megapixels: float) -> tuple[ImageFile.ImageFile, int]:
    """The picture, not yet decoded, and EXIF's orientation, 1 (as stored) to 8.

    Pillow's limit and Python's warning filters belong to the whole process, hence the lock.
    """
    pixels = int(max_megapixels * 1e6)
    with _pillow_settings, warnings.catch_warnings():
        # A damaged EXIF block counts as none, as in every viewer; a bomb does not pass.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, pixels
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        try:
            image = Image.open(file, formats=FORMATS)
            _refuse_unusual(image, where, max_megapixels)
            return image, _orientation(image, file)
        except _BOMBS as bomb:
            raise _too_large(where, max_megapixels) from bomb
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _refuse_unusual(image: ImageFile.ImageFile, where: str, max_megapixels: float) -> None:
    """Refuse bombs and animations. An MPO is a photo with a preview or depth map behind it."""
    if image.width * image.height > int(max_megapixels * 1e6):
        raise _too_large(where, max_megapixels)
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise DatasetError(
            f"it holds {frames} frames or pages, and a picture has one",
            where=where,
            hint="save the frame you want as a PNG or JPEG file",
        )


def _too_large(where: str, max_megapixels: float) -> DatasetError:
    return DatasetError(
        f"it is larger than {max_megapixels:g} megapixels",
        where=where,
        hint="make it smaller, or raise dataset.max_megapixels if you trust the file",
    )


def _orientation(image: ImageFile.ImageFile, file: BinaryIO) -> int:
    if image.format == "TIFF":
        return 1  # Pillow turns these by itself.
    ahead = image.format == "PNG" and not _says_more_behind_pixels(file)
    exif = Image.Image.getexif(image) if ahead else image.getexif()
    value = exif.get(ExifTags.Base.Orientation, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _says_more_behind_pixels(png: BinaryIO) -> bool:
    """Whether text or EXIF follows the pixels: Pillow then has to decode them to reach it."""
    place = png.tell()
    png.seek(8)
    behind = found = False
    while not found and len(start := png.read(8)) == 8:
        length, kind = struct.unpack(">I4s", start)
        behind = behind or kind == b"IDAT"
        found = behind and kind in (b"eXIf", b"iTXt", b"tEXt", b"zTXt")
        png.seek(length + 4, 1)
    png.seek(place)
    return found


def _flatten(image: ImageFile.ImageFile, background: str, where: str) -> Image.Image:
    """Any colour mode as RGB, laid on `background` where it is transparent."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _from_deep_grey(image, background, where)
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", seen.size, background), seen).convert("RGB")
    return image.convert("RGB")


def _from_deep_grey(image: ImageFile.ImageFile, background: str, where: str) -> Image.Image:
    import numpy as np

    values = np.asarray(image)
    white = 65535.0 if image.mode.startswith("I;16") else _white_of(values, image.mode, where)
    grey = Image.fromarray(np.round(values * (255.0 / white)).astype(np.uint8)).convert("RGB")
    hidden = image.info.get("transparency")
    if isinstance(hidden, int):
        grey.paste(background, mask=Image.fromarray((values == hidden).astype(np.uint8) * 255))
    return grey


def _white_of(values: NDArray[Any], mode: str, where: str) -> float:
    """The smallest usual white that no value exceeds: such files do not say which is theirs."""
    low, high = float(values.min()), float(values.max())
    for white in (1.0, 255.0) if mode == "F" else (255.0, 65535.0):
        if low >= 0 and high <= white:
            return white
    raise DatasetError(
        f"its grey values run from {low:g} to {high:g}, and nothing says which is white",
        where=where,
        hint="save it with 8 or 16 bits a channel",
    )


@contextlib.contextmanager
def _plain_faults(where: str) -> Iterator[None]:
    try:
        yield
    except UnidentifiedImageError as error:
        raise DatasetError(
            "it is not a picture in a format that is read here",
            where=where,
            hint=f"save it as one of {', '.join(FORMATS)}",
        ) from error
    except _FAULTS as error:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DatasetError(
            f"it cannot be read ({said})",
            where=where,
            hint="replace the file by a whole one, or take it out of the folder",
        ) from error
