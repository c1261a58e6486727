"""Any metric of pyiqa by its name; for those who have that package."""

from __future__ import annotations

import contextlib
import difflib
import math
import os
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
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
from analysis.metrics.measure_match import matched
from trainer.core.device import best_device
from trainer.core.errors import ConfigError, is_out_of_memory
from trainer.core.schema import Knob

_SETS = frozenset({"fid", "sfid", "fid_dinov2", "inception_score"})
"""Metrics of sets of pictures: they have no number for one."""
_FAULTS: tuple[type[Exception], ...] = (OSError, ValueError, RuntimeError, LookupError, TypeError)
_FAULTS += (ImportError, AttributeError, AssertionError)
"""What its networks raise for want of files or packages, and for pictures they cannot take."""


@metrics.add
class Pyiqa(MetricConfig):
    """A metric of pyiqa, turned so that higher is better.

    It stands aside: scales differ from metric to metric, so no margin says what is worse.
    """

    kind: Literal["pyiqa"] = "pyiqa"

    name: Annotated[str, Knob(advanced=True, why="Agrees well with people on photos.")] = "musiq"
    """The metric as pyiqa calls it: `musiq`, `niqe`, `clipiqa+`, `topiq_nr`, ... Those that compare
    are given the base model's picture. pyiqa may be used for non-commercial ends only (PolyForm
    Noncommercial and S-Lab licences), and fetches the weights of its metrics by itself."""

    lower_is_better: Annotated[bool | None, Knob(advanced=True)] = None
    """Whether lower numbers of this metric are better; they are then told with a minus sign.
    Empty: as pyiqa says."""

    title: ClassVar[str] = "pyiqa"
    axis: ClassVar[Axis] = "aside"
    better: ClassVar[Better] = "higher"
    needs: ClassVar[frozenset[Need]] = frozenset({"control"})
    meaning: ClassVar[str] = (
        "What the chosen metric of pyiqa says (musiq unless told), turned so that higher is "
        "better: where lower would be, there is a minus before it."
    )
    distrust: ClassVar[str] = (
        "Most were made to judge damaged photos, not generated pictures or drawings, and sizes "
        "cannot be compared with one another."
    )

    @property
    def column(self) -> str:
        return f"{self.kind}_{self.name}"

    @property
    def heading(self) -> str:
        return f"{self.title} {self.name}"

    def absent(self) -> str:
        return "" if find_spec("pyiqa") else "the package pyiqa is not installed"

    def score(self, pictures: Sequence[Picture], company: Company) -> list[Value]:
        if not pictures:
            return []
        metric = _loaded(self.name)
        turned = metric.lower_better if self.lower_is_better is None else self.lower_is_better
        controls = company.controls or [None] * len(pictures)
        return [
            _score(metric, -1 if turned else 1, *pair)
            for pair in zip(pictures, controls, strict=True)
        ]


def _score(metric: Any, sign: int, picture: Picture, control: Picture | None) -> Value:
    shown = [_pixels(picture)]
    if metric.metric_mode == "FR":
        if control is None:
            return Unscored("missing", "there is no picture of the base model to compare with")
        shown.append(_pixels(matched(control, picture).control))
    try:
        value = float(metric(*shown))
    except _FAULTS as error:
        if is_out_of_memory(error):
            raise
        return Unscored("refused", f"pyiqa cannot score it: {_first_line(error)}")
    if not math.isfinite(value):
        return Unscored("undefined", f"pyiqa says {value}")
    return sign * value


def _pixels(picture: Picture) -> Any:
    """`(H, W, 3)`, 0 to 255 -> `(1, 3, H, W)`, 0 to 1."""
    import torch

    planes = np.ascontiguousarray(picture.transpose(2, 0, 1)[None])
    return torch.from_numpy(planes).float() / 255


@cache
def _loaded(name: str) -> Any:
    """The metric, on the best device.

    Raises:
        ConfigError: There is none of that name, or it cannot be had here.
    """
    import pyiqa
    import torch

    known = pyiqa.list_models()
    if name not in known or name in _SETS:
        near = difflib.get_close_matches(name, [n for n in known if n not in _SETS], n=1)
        raise ConfigError(
            f"pyiqa has no metric {name!r} for single pictures",
            where="metrics.pyiqa.name",
            hint=repr(near[0]) if near else "`pyiqa.list_models()` names them",
        )
    no_tensors = torch.serialization.pickle.UnpicklingError
    try:
        with _tensors_only(), contextlib.redirect_stdout(sys.stderr):
            return pyiqa.create_metric(name, device=torch.device(best_device()))
    except (*_FAULTS, EOFError, no_tensors) as error:
        if is_out_of_memory(error):
            raise
        raise ConfigError(
            f"pyiqa cannot make its metric {name!r} here: {_first_line(error)}",
            where="metrics.pyiqa.name",
            hint="it may need its weights fetched first, or another package",
        ) from error


@contextlib.contextmanager
def _tensors_only() -> Iterator[None]:
    """Inside, torch reads nothing but tensors from the pickles that pyiqa fetches."""
    before = os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD")
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    try:
        yield
    finally:
        os.environ.pop("TORCH_FORCE_WEIGHTS_ONLY_LOAD")
        if before is not None:
            os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = before


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
