"""Pictures and captions go through the model's encoders once; training reads what came out.

An item's key holds everything that decides it: the picture's bytes, the cut, the words, and
in the namespace the encoder's weights. On a CPU each is encoded alone. Elsewhere a few go
together, always the same few for the same dataset, so that a run that was killed while
encoding ends up with the tensors of one that was not.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.core.device import pictures_together
from trainer.core.errors import DatasetError
from trainer.core.files import hash_text, require_space
from trainer.data.bucket import Frame, Framed, apply
from trainer.data.cache import Cache
from trainer.data.folder import Picture, Progress, paced
from trainer.data.image import decode

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from trainer.families.base import LoadedModel
    from trainer.job.pictures import DatasetConfig

FORMAT = "2"
"""Raised when the same picture, cut and model would give another tensor than before."""

_BATCH = 4
_NAMES = hash_text("names of conditioning", FORMAT)


@dataclass(frozen=True, slots=True)
class Latents:
    """Encoded pictures on disk."""

    cache: Cache
    background: str

    def of(self, picture: Picture, frame: Frame, *, flip: bool = False) -> Tensor:
        """Mean and deviation of the picture's latents, `(2, C, h, w)`, fp32."""
        return self.cache.get(self.key(Framed(picture, frame), flip))

    def key(self, one: Framed, flip: bool) -> str:
        """Names the latents of one cut of one picture, one way round."""
        cut = f"{one.frame.size}{one.frame.scaled}{one.frame.crop}"
        return hash_text("latents", FORMAT, one.picture.digest, cut, self.background, str(flip))

    def lack(self, some: Sequence[Framed], flips: bool) -> bool:
        """Whether any of these is still to be encoded."""
        return any(
            self.key(o, flip) not in self.cache for o in some for flip in _orientations(flips)
        )


@dataclass(frozen=True, slots=True)
class Captions:
    """Encoded captions on disk."""

    cache: Cache
    names: tuple[str, ...]

    def of(self, caption: str) -> dict[str, Tensor]:
        """The caption's conditioning, without the batch dimension."""
        return {name: self.cache.get(_caption_key(caption, name)) for name in self.names}


def cache_latents(
    model: LoadedModel,
    framed: Sequence[Framed],
    config: DatasetConfig,
    folder: Path,
    progress: Progress = lambda done, total: None,
) -> Latents:
    """Encode what is missing of the pictures, in both orientations when they may be flipped.

    Raises:
        DatasetError: A picture is damaged, has changed since it was scanned, or its latents
            are not finite numbers.
        ResourceError: The disk is full.
    """
    cache = Cache(folder, _namespace("latents", model.image_key))
    latents = Latents(cache, config.background.lower())
    largest = max((math.prod(one.frame.size) for one in framed), default=1)
    together = pictures_together(model.plan.device, largest)
    batches = [some for some in _batches(framed, together) if latents.lack(some, config.flip)]
    left = sum(map(len, batches))
    done, first = len(framed) - left, True
    tell = paced(progress)
    for some, images in _decoded(batches, config, threads=_together(model)):
        if latents.lack(some, config.flip):
            _encode_pictures(model, some, images, latents, config.flip)
            if first:
                _require_room(cache, encoded=len(some), left=left - len(some))
                first = False
        done += len(some)
        tell(done, len(framed))
    cache.flush()
    return latents


def cache_captions(
    model: LoadedModel,
    captions: Sequence[str],
    folder: Path,
    progress: Progress = lambda done, total: None,
) -> Captions:
    """Encode what is missing of the captions; each different one once.

    Raises:
        DatasetError: A caption's embedding is not finite numbers.
        ResourceError: The disk is full.
    """
    cache = Cache(folder, _namespace("captions", model.text_key))
    unique = list(dict.fromkeys(captions))
    together = _together(model)
    tell = paced(progress)
    for start in range(0, len(unique), together):
        some = tuple(unique[start : start + together])
        if not all(_has_caption(cache, caption) for caption in some):
            _encode_captions(model, some, cache)
            if not start:
                _require_room(cache, encoded=len(some), left=len(unique) - len(some))
        tell(start + len(some), len(unique))
    cache.flush()
    return Captions(cache, _names(cache))


def _together(model: LoadedModel) -> int:
    """Captions encoded together, and pictures decoded ahead.

    On a CPU, one: each is then the same whatever else is encoded.
    """
    return 1 if model.plan.device == "cpu" else _BATCH


def _namespace(what: str, key: str) -> str:
    return f"{what}-{hash_text(what, FORMAT, key)[:16]}"


def _batches(framed: Sequence[Framed], together: int) -> Iterator[list[Framed]]:
    """Pictures of one training size together, in order; the same for the same pictures."""
    by_size: dict[tuple[int, int], list[Framed]] = defaultdict(list)
    for one in framed:
        by_size[one.frame.size].append(one)
    for some in by_size.values():
        for start in range(0, len(some), together):
            yield some[start : start + together]


def _decoded(
    batches: Sequence[list[Framed]], config: DatasetConfig, *, threads: int
) -> Iterator[tuple[list[Framed], list[Image]]]:
    """Batches with their pictures decoded a little ahead, never more than a few at once."""
    ahead: deque[tuple[list[Framed], Future[list[Image]]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        for some in batches:
            ahead.append((some, pool.submit(_decode, some, config)))
            if len(ahead) > threads:
                first, images = ahead.popleft()
                yield first, images.result()
        for first, images in ahead:
            yield first, images.result()


def _decode(some: Sequence[Framed], config: DatasetConfig) -> list[Image]:
    return [_decode_one(one.picture, config) for one in some]


def _decode_one(picture: Picture, config: DatasetConfig) -> Image:
    """The picture's pixels, from the very bytes that were hashed."""
    try:
        data = picture.path.read_bytes()
    except OSError as error:
        raise DatasetError(f"it cannot be read ({error})", where=str(picture.path)) from error
    if hashlib.sha256(data).hexdigest() != picture.digest:
        raise DatasetError(
            "it has changed since the folder was read",
            where=str(picture.path),
            hint="start again, and leave the folder alone meanwhile",
        )
    return decode(
        io.BytesIO(data),
        where=str(picture.path),
        background=config.background,
        max_megapixels=config.max_megapixels,
    )


def _encode_pictures(
    model: LoadedModel,
    some: Sequence[Framed],
    images: Sequence[Image],
    latents: Latents,
    flips: bool,
) -> None:
    import torch

    for flip in _orientations(flips):
        cuts = [apply(i, one.frame, flip=flip) for one, i in zip(some, images, strict=True)]
        with torch.inference_mode():
            encoded = model.encode_images(torch.stack(cuts)).float().cpu()
        for one, tensor in zip(some, encoded, strict=True):
            if not bool(torch.isfinite(tensor).all()):
                raise DatasetError(
                    f"the model encodes it to NaN or infinite numbers in {model.plan.precision}",
                    where=str(one.picture.path),
                    hint="set compute.precision to 'fp32', or take the picture out",
                )
            latents.cache.put(latents.key(one, flip), tensor)


def _orientations(flips: bool) -> tuple[bool, ...]:
    return (False, True) if flips else (False,)


def _encode_captions(model: LoadedModel, some: tuple[str, ...], cache: Cache) -> None:
    import torch

    with torch.inference_mode():
        encoded = {name: rows.cpu() for name, rows in model.encode_captions(some).items()}
    names = json.dumps(sorted(encoded)).encode()
    cache.put(_NAMES, torch.frombuffer(bytearray(names), dtype=torch.uint8))
    for name, rows in encoded.items():
        for caption, row in zip(some, rows, strict=True):
            if not bool(torch.isfinite(row).all()):
                raise DatasetError(
                    f"the model encodes the caption {caption!r} to numbers that are not finite",
                    hint="set compute.precision to 'fp32'",
                )
            cache.put(_caption_key(caption, name), row)


def _names(cache: Cache) -> tuple[str, ...]:
    """The denoiser's arguments that a caption's conditioning consists of."""
    if _NAMES not in cache:
        return ()
    names: list[str] = json.loads(bytes(cache.get(_NAMES).tolist()))
    return tuple(names)


def _has_caption(cache: Cache, caption: str) -> bool:
    return _NAMES in cache and all(_caption_key(caption, name) in cache for name in _names(cache))


def _caption_key(caption: str, name: str) -> str:
    return hash_text("caption", FORMAT, caption, name)


def _require_room(cache: Cache, *, encoded: int, left: int) -> None:
    """Refuse early when what is to come will not fit the disk."""
    room = cache.pending_bytes // encoded * left
    require_space(cache.folder, room, "what the encoders make of the dataset")
