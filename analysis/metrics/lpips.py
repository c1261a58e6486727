"""LPIPS: how far a picture looks from the base model's own; for those who have VGG's weights."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from analysis.metrics.base import (
    Axis,
    Better,
    Company,
    MetricConfig,
    Need,
    Picture,
    Unscored,
    Value,
    metrics,
)
from analysis.metrics.hub import located, opened, tensors, why_not
from analysis.metrics.measure_match import matched, too_small
from analysis.metrics.networks import IMAGENET
from trainer.core.device import best_device
from trainer.core.errors import ModelError
from trainer.core.schema import Knob

LEAST = 16
"""Shorter sides, in px, leave nothing after VGG's four halvings."""
_VGG = "timm/vgg16.tv_in1k"
_LAYERS = ("3", "8", "15", "22", "29")
"""relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3."""
_CHANNELS = (64, 128, 256, 512, 512)


@metrics.add
class Lpips(MetricConfig):
    """Learned perceptual distance to the control (arXiv:1801.03924, version 0.1 with VGG16).

    piq computes it; the weights come as safetensors instead of the pickles that piq fetches.
    """

    kind: Literal["lpips"] = "lpips"

    weights: Annotated[
        str, Knob(advanced=True, private=True, why="torchvision's own, as safetensors, 550 MB.")
    ] = _VGG
    """torchvision's VGG16 as `model.safetensors`: a folder, or a name on the hub."""

    heads: Annotated[str, Knob(advanced=True, private=True)] = ""
    """The folder of a `model.safetensors` with the five linear layers. Empty: those that the
    package lpips brings."""

    title: ClassVar[str] = "LPIPS to the control"
    axis: ClassVar[Axis] = "aside"
    better: ClassVar[Better] = "neither"
    limits: ClassVar[tuple[float | None, float | None]] = (0, None)
    needs: ClassVar[frozenset[Need]] = frozenset({"control"})
    meaning: ClassVar[str] = (
        "0 is the base model's own picture; the higher, the further it looks from it, nearer to "
        "how people see it than SSIM."
    )
    distrust: ClassVar[str] = (
        "It is a distance and no merit: a broken picture is far too. Its scale changes with the "
        "size of the pictures."
    )

    def absent(self) -> str:
        if not find_spec("piq"):
            return "the package piq is not installed"
        if not self.heads and not find_spec("lpips"):
            return "the package lpips, which brings the linear layers, is not installed"
        return why_not(self.weights, ()) or (why_not(self.heads, ()) if self.heads else "")

    def score(self, pictures: Sequence[Picture], company: Company) -> list[Value]:
        if not pictures:
            return []
        distance = _loaded(self.weights, self.heads)
        return [_score(distance, *pair) for pair in zip(pictures, company.controls, strict=True)]


def _score(distance: Any, picture: Picture, control: Picture | None) -> Value:
    import torch

    if control is None:
        return Unscored("missing", "there is no picture of the base model to compare with")
    if refused := too_small(picture, LEAST):
        return refused
    with torch.inference_mode():
        return float(distance(_pixels(picture), _pixels(matched(control, picture).control)))


def _pixels(picture: Picture) -> Any:
    """`(H, W, 3)`, 0 to 255 -> `(1, 3, H, W)`, 0 to 1, on the device."""
    import torch

    planes = np.ascontiguousarray(picture.transpose(2, 0, 1)[None])
    return torch.from_numpy(planes).to(best_device()).float() / 255


@cache
def _loaded(weights: str, heads: str) -> Any:
    """LPIPS by piq with these weights, on the best device.

    Raises:
        ModelError: A tensor is missing or of another shape.
    """
    import piq
    import torch
    from torchvision.models import vgg  # type: ignore[import-untyped, unused-ignore]

    with torch.device("meta"):
        features = vgg.make_layers(vgg.cfgs["D"], batch_norm=False)
    folder = located(weights)
    state = tensors(folder, "features.")
    opened(lambda _: features.load_state_dict(state, assign=True), folder)
    features.requires_grad_(False).eval().to(best_device())
    lines = tensors(located(heads), "") if heads else _packaged()
    mean, deviation = (list(values) for values in IMAGENET)
    return piq.ContentLoss(
        features,
        layers=_LAYERS,
        weights=[_line(lines, number).to(best_device()) for number in range(len(_LAYERS))],
        normalize_features=True,
        reduction="none",
        mean=mean,
        std=deviation,
    )


def _packaged() -> dict[str, Any]:
    """The linear layers in the package lpips: a file of five tensors, read as such."""
    import torch

    spec = find_spec("lpips")
    assert spec is not None
    file = Path(str(spec.origin)).parent / "weights" / "v0.1" / "vgg.pth"
    return dict(opened(lambda f: torch.load(f, map_location="cpu", weights_only=True), file))


def _line(lines: dict[str, Any], number: int) -> Any:
    """What each channel of a layer counts: `(1, C, 1, 1)`."""
    name = f"lin{number}.model.1.weight"
    if name not in lines or tuple(lines[name].shape) != (1, _CHANNELS[number], 1, 1):
        raise ModelError(
            f"the linear layers of LPIPS lack {name!r}, or have it in another shape",
            where="metrics",
            hint="those of the package lpips, for VGG16",
        )
    return lines[name].float()
