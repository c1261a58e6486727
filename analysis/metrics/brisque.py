"""BRISQUE: how unlike an undistorted photo a picture's texture is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from analysis.metrics.base import (
    Axis,
    Better,
    Company,
    MetricConfig,
    Picture,
    Unscored,
    Value,
    metrics,
)
from analysis.metrics.measure_match import flat, luma, too_small
from analysis.metrics.measure_scene import scene
from trainer.core.schema import Knob

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WEIGHTS = Path(__file__).parents[2] / "assets" / "metrics" / "brisque.safetensors"
"""LIVE's regression; assets/metrics/README.md has its notice."""
LEAST = 64
"""Shorter sides, in px, leave too few pixels for the statistics."""
_PIQ_FILE = "brisque_svm_weights.pt"


@dataclass(frozen=True, slots=True)
class Brisque:
    """What BRISQUE says of a picture.

    Attributes:
        score: The mean of the picture's and of its mirror image's.
        plain: The picture's own.
        mirrored: Its mirror image's.
        even: The share of pixels without any texture around them. Where it is large, as in
            drawings, the score says little.
    """

    score: float
    plain: float
    mirrored: float
    even: float


@metrics.add
class BrisqueConfig(MetricConfig):
    """BRISQUE with LIVE's weights, mean of the picture and its mirror image."""

    kind: Literal["brisque"] = "brisque"

    by: Annotated[
        Literal["sweetspot", "piq"], Knob(advanced=True, why="piq's scores in a tenth of the time.")
    ] = "sweetspot"
    """Whose program computes it. `piq` needs the package of that name and serves to compare;
    scores are equal but for pictures with even areas, where piq counts rounding noise."""

    title: ClassVar[str] = "BRISQUE"
    axis: ClassVar[Axis] = "quality"
    better: ClassVar[Better] = "lower"
    meaning: ClassVar[str] = (
        "Photos have about 0 to 30; blur, noise and compression raise it, up to about 100."
    )
    distrust: ClassVar[str] = (
        "It knows photos only: on drawings and other even areas a little noise lowers it by tens, "
        "it is blind to colours and content, and sizes cannot be compared with one another."
    )
    alone: ClassVar[bool] = True

    def absent(self) -> str:
        if self.by == "piq" and not (find_spec("piq") and find_spec("torch")):
            return "the package piq is not installed"
        return ""

    def score(self, pictures: Sequence[Picture], company: Company) -> list[Value]:
        judge = measured if self.by == "sweetspot" else measured_by_piq
        found = [judge(picture) for picture in pictures]
        return [one.score if isinstance(one, Brisque) else one for one in found]


def measured(picture: Picture) -> Brisque | Unscored:
    """BRISQUE of a picture, in float64, its sides cropped to even ones.

    Agrees with piq's float64 to 1e-6 where no pixel lies in an even area.
    """
    cropped = _even_sides(picture)
    refused = too_small(picture, LEAST) or flat(luma(cropped), "the picture")
    if refused:
        return refused
    found = scene(cropped)
    if found is None:
        return Unscored("flat", "it has too little texture for BRISQUE's statistics")
    plain, mirrored = regressed(found.features), regressed(found.mirrored)
    return Brisque((plain + mirrored) / 2, plain, mirrored, found.even)


def measured_by_piq(picture: Picture) -> Brisque | Unscored:
    """The same by piq's own, unmodified program, in float64 and without a network."""
    ours = measured(picture)
    if isinstance(ours, Unscored):
        return ours
    cropped = _even_sides(picture)
    with piq_offline():
        plain, mirrored = by_piq(cropped), by_piq(cropped[:, ::-1])
    return Brisque((plain + mirrored) / 2, plain, mirrored, ours.even)


def regressed(features: NDArray[np.float64]) -> float:
    """The support vector regression of LIVE's release: `(36,)` -> a score."""
    import numpy as np

    weights = _weights()
    low, high = weights["low"], weights["high"]
    scaled = -1 + 2 * (features - low) / (high - low)
    distances = ((weights["vectors"] - scaled) ** 2).sum(axis=1)
    kernel = np.exp(-weights["gamma"] * distances)
    return float(kernel @ weights["coefficients"] - weights["rho"].item())


def by_piq(picture: NDArray[Any], *, precision: Literal["fp32", "fp64"] = "fp64") -> float:
    """What `piq.brisque` says of a picture of even sides, `(H, W, 3)` or `(H, W)`, 0 to 255.

    To be called inside `piq_offline`.
    """
    import numpy as np
    import piq
    import torch

    planes = np.atleast_3d(picture).transpose(2, 0, 1).astype(float)
    pixels = torch.from_numpy(np.ascontiguousarray(planes))[None]
    if precision == "fp32":
        pixels = pixels.float()
    return float(piq.brisque(pixels, data_range=255.0))


@contextlib.contextmanager
def piq_offline() -> Iterator[None]:
    """Inside, piq finds the shipped weights where it would otherwise keep a download.

    That place is a temporary folder; the user's own torch hub folder is left alone. The
    setting belongs to the whole process.
    """
    import tempfile

    import torch

    before = torch.hub._hub_dir  # get_dir() would turn "as the environment says" into a path
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        file = Path(place, "checkpoints", _PIQ_FILE)
        file.parent.mkdir()
        weights = _weights()
        pair = (weights["coefficients"], weights["vectors"])
        torch.save(tuple(torch.from_numpy(part.copy()) for part in pair), file)
        torch.hub.set_dir(place)
        try:
            yield
        finally:
            torch.hub._hub_dir = before


@cache
def _weights() -> dict[str, NDArray[Any]]:
    from safetensors.numpy import load_file

    return dict(load_file(WEIGHTS))


def _even_sides(picture: Picture) -> Picture:
    """Without the last row or column where their number is odd."""
    height, width = picture.shape[:2]
    return picture[: height // 2 * 2, : width // 2 * 2]
