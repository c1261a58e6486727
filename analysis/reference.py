"""What a sweep compares with: the pictures that were trained on, held out, and of the class.

Also the base model's own eye, which sees what is in a picture without another network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from analysis.judgements.base import Shelf, Shown
from trainer.core.draws import chance
from trainer.core.errors import DatasetError
from trainer.core.events import Emit, Warned
from trainer.data.bucket import cover, fit, framing
from trainer.data.folder import Picture, scan
from trainer.data.gather import hold_out
from trainer.data.image import read
from trainer.job.pictures import DatasetConfig
from trainer.job.run import Run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analysis.sweep import SweepConfig
    from trainer.families.base import LoadedModel

    Pixels = NDArray[np.uint8]

MOST = 48
"""Pictures of each kind that are compared with; of more, so many are drawn."""


def shelf(config: SweepConfig, model: LoadedModel, size: tuple[int, int], emit: Emit) -> Shelf:
    """The pictures to compare with, cut to the size of the sweep.

    What is not there any more is told, and done without.

    Args:
        config: Names the run or the folders.
        model: For the sizes that pictures are framed to.
        size: (width, height), px.
        emit: Told of what is missing or left out.
    """
    dataset = config.dataset
    if config.run is not None:
        training, held_out = _of_run(config.run, config, model, emit)
    else:
        training = _there(dataset.folder if dataset else None, dataset, "training", emit)
        held_out = _there(config.held_out, dataset, "held-out", emit)
    classes = _there(config.classes, dataset, "class", emit)
    return Shelf(
        _shown(training, size, dataset, emit),
        _shown(held_out, size, dataset, emit),
        _shown(classes, size, dataset, emit),
    )


def _of_run(
    path: Path, config: SweepConfig, model: LoadedModel, emit: Emit
) -> tuple[list[Picture], list[Picture]]:
    """The pictures that a run was trained on, and those that it held out."""
    job = Run.open(path).job
    if config.held_out is not None and not job.validation.share:
        held = job.validation.model_copy(update={"folder": config.held_out})
        job = job.model_copy(update={"validation": held})
    rules = framing(job.dataset, resolution=job.model.resolution, size_step=model.size_step)
    try:
        framed, _ = fit(scan(job.dataset).pictures, rules)
    except DatasetError as error:
        _missing("training and held-out", error, emit)
        return [], []
    try:
        training, held_out = hold_out(job, framed, rules, emit)
    except DatasetError as error:
        _missing("held-out", error, emit)
        training, held_out = framed, []
    return [f.picture for f in training], [f.picture for f in held_out]


def _there(
    folder: Path | None, dataset: DatasetConfig | None, what: str, emit: Emit
) -> list[Picture]:
    """A folder's pictures; what is not there is told and done without."""
    if folder is None:
        return []
    try:
        return _scanned(folder, dataset)
    except DatasetError as error:
        _missing(what, error, emit)
        return []


def _missing(what: str, error: DatasetError, emit: Emit) -> None:
    emit(Warned(f"no {what} pictures to compare with: {error.problem} ({error.where})"))


def pictures_in(folder: Path, size: tuple[int, int], emit: Emit) -> list[Shown]:
    """A folder's pictures, cut to the size (width, height) of those they are compared with.

    Their captions are not asked for.

    Raises:
        DatasetError: The folder has none.
    """
    uncaptioned = DatasetConfig(folder=folder, class_word="picture")
    return _shown(scan(uncaptioned).pictures, size, None, emit)


def _scanned(folder: Path, dataset: DatasetConfig | None) -> list[Picture]:
    like = dataset or DatasetConfig(folder=folder)
    return scan(like.model_copy(update={"folder": folder})).pictures


def _shown(
    pictures: Sequence[Picture],
    size: tuple[int, int],
    dataset: DatasetConfig | None,
    emit: Emit,
) -> list[Shown]:
    some = list(pictures)
    if len(some) > MOST:
        some = sorted(chance(0, "references").sample(some, MOST), key=lambda p: p.name)
        emit(Warned(f"of {len(pictures)} pictures to compare with, {MOST} are taken"))
    background = dataset.background if dataset else "#ffffff"
    shown = []
    for picture in some:
        try:
            image = read(picture.path, background=background, max_megapixels=400)
        except DatasetError as error:
            emit(Warned(f"{picture.name}: {error.problem}; it is not compared with"))
            continue
        frame = cover(*image.size, size).told(image.size)
        shown.append(Shown(picture.name, cut(image, size), picture.caption, frame))
    return shown


def cut(image: Image.Image, size: tuple[int, int]) -> Pixels:
    """The middle of a picture at this size (width, height): `(H, W, 3)`."""
    return np.asarray(ImageOps.fit(image, size, Image.Resampling.LANCZOS))


class ModelEye:
    """What the base model's denoiser sees in pictures, measured from what it usually sees.

    Features are taken from `usual` pictures' mean, so that 0 means unrelated, and a picture that
    was looked at once is remembered.
    """

    def __init__(self, model: LoadedModel, usual: Sequence[Pixels], together: int) -> None:
        self._model, self._together = model, together
        self._known: dict[bytes, NDArray[np.float64]] = {}
        self._centre: Any = 0.0
        if usual:
            self._centre = self._look(usual).mean(axis=0)

    def __call__(self, pictures: Sequence[Pixels]) -> NDArray[np.float64]:
        """`(N, D)`, rows of length 1."""
        seen = self._look(pictures) - self._centre
        lengths = np.linalg.norm(seen, axis=1, keepdims=True)
        return np.asarray(seen / np.maximum(lengths, 1e-12))

    def _look(self, pictures: Sequence[Pixels]) -> NDArray[np.float64]:
        keys = [_key(picture) for picture in pictures]
        new = {k: p for k, p in zip(keys, pictures, strict=True) if k not in self._known}
        names = sorted(new, key=lambda k: new[k].shape)
        for start in range(0, len(names), self._together):
            some = names[start : start + self._together]
            shape = new[some[0]].shape
            alike = [k for k in some if new[k].shape == shape]
            others = [k for k in some if new[k].shape != shape]
            self._remember(alike, new)
            for key in others:
                self._remember([key], new)
        return np.stack([self._known[k] for k in keys])

    def _remember(self, keys: Sequence[bytes], pictures: dict[bytes, Pixels]) -> None:
        import torch

        with torch.no_grad():
            latents = encoded(self._model, [pictures[k] for k in keys])
            features = self._model.see(latents).double().numpy()
        self._known.update(zip(keys, features, strict=True))


def encoded(model: LoadedModel, pictures: Sequence[Pixels]) -> Any:
    """The mean of each picture's scaled latents, `(N, C, h, w)`, fp32, on the CPU."""
    import torch

    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        return model.encode_images(pixels)[:, 0].cpu()


def _key(picture: Pixels) -> bytes:
    return hashlib.sha256(str(picture.shape).encode() + picture.tobytes()).digest()
