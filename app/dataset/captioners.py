"""Models that describe pictures, one class each; their libraries are imported when one is made."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from app.dataset.captioning import Captioner, CaptioningConfig
from trainer.core.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from PIL.Image import Image

_BEAMS = 3
_CHARACTERS = "4"
_GENERAL = "0"
_SURE_OF_CHARACTERS = 0.85
_FACE = 3
"""Tags this short or shorter, such as ^_^, keep their underscores."""


def require(module: str, what: str) -> None:
    """Refuse to go on without a library.

    Raises:
        ConfigError: It is not installed.
    """
    if importlib.util.find_spec(module) is None:
        raise ConfigError(
            f"{what} need the package {module}, which is not installed",
            where="weights",
            hint=f"install {module}, or use BLIP or Florence-2 weights",
        )


class _Speaker(Captioner):
    """A model of Transformers that writes words."""

    model_class: ClassVar[str]

    def __init__(self, config: CaptioningConfig, device: str) -> None:
        require("transformers", self.title)
        import transformers
        from safetensors import SafetensorError

        unreadable = (OSError, ValueError, RuntimeError, LookupError, TypeError, ImportError)
        kind = getattr(transformers, self.model_class, None)
        if kind is None:
            raise ConfigError(f"the installed Transformers has no {self.title}", where="weights")
        safe = {"local_files_only": True, "trust_remote_code": False}
        try:
            self._processor: Any = transformers.AutoProcessor.from_pretrained(
                config.weights, **safe
            )
            model: Any = kind.from_pretrained(config.weights, use_safetensors=True, **safe)
        except (*unreadable, AttributeError, SafetensorError) as error:
            said = str(error).strip().partition("\n")[0]
            raise ModelError(
                f"the {self.title} weights cannot be read: {said}",
                where=str(config.weights),
                hint="download the whole folder again, in Transformers' own format",
            ) from error
        self._model = model.to(device).eval()
        self._device = device
        self._config = config

    def _write(self, inputs: Any) -> Any:
        import torch

        with torch.inference_mode():
            return self._model.generate(
                **inputs.to(self._device),
                max_new_tokens=self._config.most_tokens,
                num_beams=_BEAMS,
                do_sample=False,
            )


class Blip(_Speaker):
    """A sentence (arXiv:2201.12086)."""

    title = "BLIP"
    model_class = "BlipForConditionalGeneration"

    def describe(self, picture: Image) -> str:
        written = self._write(self._processor(images=picture, return_tensors="pt"))
        return str(self._processor.decode(written[0], skip_special_tokens=True)).strip()


class Florence(_Speaker):
    """A sentence or a paragraph (arXiv:2311.06242)."""

    title = "Florence-2"
    model_class = "Florence2ForConditionalGeneration"
    tasks: ClassVar[dict[str, str]] = {
        "short": "<CAPTION>",
        "detailed": "<DETAILED_CAPTION>",
        "long": "<MORE_DETAILED_CAPTION>",
    }

    def describe(self, picture: Image) -> str:
        task = self.tasks[self._config.detail]
        asked = self._processor(text=task, images=picture, return_tensors="pt")
        written = self._write(asked)
        text = self._processor.batch_decode(written, skip_special_tokens=False)[0]
        told = self._processor.post_process_generation(
            text, task=task, image_size=(picture.width, picture.height)
        )
        return str(told[task]).replace("<pad>", "").strip()


class Tagger(Captioner):
    """Tags, as the WD14 taggers write them: `model.onnx` and `selected_tags.csv`."""

    title = "taggers"

    def __init__(self, config: CaptioningConfig, device: str) -> None:
        require("onnxruntime", self.title)
        import onnxruntime

        wanted = ["CUDAExecutionProvider"] if device.startswith("cuda") else []
        there = [name for name in wanted if name in onnxruntime.get_available_providers()]
        try:
            self._session = onnxruntime.InferenceSession(
                str(config.weights / "model.onnx"), providers=[*there, "CPUExecutionProvider"]
            )
        except _onnx_faults() as error:
            raise ModelError(
                f"the tagger cannot be read: {error}", where=str(config.weights)
            ) from error
        self._tags = read_tags(config.weights / "selected_tags.csv")
        self._threshold = config.threshold

    def describe(self, picture: Image) -> str:
        entry = self._session.get_inputs()[0]
        side = entry.shape[1] if isinstance(entry.shape[1], int) else 448
        (answers,) = self._session.run(None, {entry.name: squared(picture, side)})[:1]
        return tags_of(answers[0].tolist(), self._tags, self._threshold)


BY_TYPE: dict[str, type[Captioner]] = {"blip": Blip, "florence2": Florence}
"""By `model_type` in config.json."""


def _onnx_faults() -> tuple[type[Exception], ...]:
    """What onnxruntime raises on a damaged file; its kinds have no base of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoSuchFile")
    return tuple(getattr(state, name) for name in (*names, "NotImplemented", "RuntimeException"))


def squared(picture: Image, side: int) -> Any:
    """The picture on white, as these taggers take it: `(1, side, side, 3)`, fp32, BGR, 0..255."""
    import numpy as np
    from PIL import Image as Pillow

    longest = max(picture.size)
    canvas = Pillow.new("RGB", (longest, longest), (255, 255, 255))
    canvas.paste(picture, ((longest - picture.width) // 2, (longest - picture.height) // 2))
    small = canvas.resize((side, side), Pillow.Resampling.BICUBIC)
    return np.asarray(small, dtype=np.float32)[None, :, :, ::-1].copy()


def read_tags(path: Path) -> list[tuple[str, str]]:
    """Each tag and its category, in the order of the model's answers.

    Raises:
        ModelError: The file has no such columns.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"name", "category"} <= set(rows[0]):
        raise ModelError("the list of tags has no columns name and category", where=str(path))
    return [(row["name"], row["category"]) for row in rows]


def tags_of(sure: Sequence[float], tags: Sequence[tuple[str, str]], threshold: float) -> str:
    """The tags that the tagger is sure of, surest first; ratings are left out."""
    needed = {_GENERAL: threshold, _CHARACTERS: max(threshold, _SURE_OF_CHARACTERS)}
    found = [
        (share, name)
        for share, (name, category) in zip(sure, tags, strict=True)
        if share >= needed.get(category, 2)
    ]
    words = [name for _, name in sorted(found, key=lambda one: -one[0])]
    return ", ".join(w if len(w) <= _FACE else w.replace("_", " ") for w in words)
