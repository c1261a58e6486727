"""Captions by a model that looks at pictures, from weights that a person has in a folder.

Which kind of model it is, the folder's files say. Nothing is fetched, and no code that lies
beside weights is run.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from app.dataset.places import local
from trainer.core import toml
from trainer.core.errors import AdapterError, ConfigError, DatasetError
from trainer.core.events import Emit, Preparing, Warned
from trainer.core.schema import Config, Folder, Knob
from trainer.data import image
from trainer.data.caption import one_line

if TYPE_CHECKING:
    from PIL.Image import Image

    from app.dataset.work import CaptionWork


class CaptioningConfig(Config):
    """How pictures are described."""

    weights: Annotated[Folder, Knob(label="Folder of weights")]
    """A folder on this computer with BLIP, Florence-2 or a WD14-style tagger, as downloaded from
    the Hugging Face hub: config.json and .safetensors, or model.onnx and selected_tags.csv."""

    prefix: str = ""
    """Put before each caption, such as the trigger word and a comma."""

    detail: Literal["short", "detailed", "long"] = "detailed"
    """How much Florence-2 says. BLIP writes a sentence, and taggers write tags, whatever it is."""

    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.35
    """How sure a tagger must be of a tag. Lower writes more tags, and more wrong ones."""

    most_tokens: Annotated[int, Field(ge=5, le=500), Knob(label="Longest caption")] = 75
    """In tokens; CLIP reads 75."""


class Captioner(ABC):
    """A model that describes a picture."""

    title: ClassVar[str]

    @abstractmethod
    def __init__(self, config: CaptioningConfig, device: str) -> None: ...

    @abstractmethod
    def describe(self, picture: Image) -> str:
        """Words for an upright RGB picture."""


def parse(values: dict[str, Any]) -> CaptioningConfig:
    """What a form holds.

    Raises:
        ConfigError: A value is impossible, or the folder holds no weights that are known.
    """
    config = toml.parse(CaptioningConfig, values)
    config = config.model_copy(update={"weights": local(str(config.weights))})
    recognise(config.weights)
    return config


def recognise(folder: Path) -> type[Captioner]:
    """What kind of model the weights are of.

    Raises:
        ConfigError: Of none that is known, or what it needs is not installed.
    """
    from app.dataset import captioners

    if (folder / "model.onnx").is_file() and (folder / "selected_tags.csv").is_file():
        captioners.require("onnxruntime", "taggers")
        return captioners.Tagger
    kind = _model_type(folder)
    if kind not in captioners.BY_TYPE:
        what = f"the model there is {kind!r}" if kind else "there is no model in this folder"
        raise ConfigError(
            f"{what}, and BLIP, Florence-2 and WD14-style taggers are known",
            where="weights",
            hint="name the folder that holds config.json and .safetensors, or model.onnx",
        )
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ConfigError(
            "the weights are not .safetensors, and other files are not opened for safety",
            where="weights",
            hint="download the .safetensors version",
        )
    for file in files:
        _require_whole(file)
    return captioners.BY_TYPE[kind]


def _require_whole(file: Path) -> None:
    from trainer.weights.files import read_header

    try:
        read_header(file)
    except AdapterError as error:
        raise ConfigError(
            f"the weights in {file.name} are damaged: {error.problem}",
            where="weights",
            hint="download them again",
        ) from None


def _model_type(folder: Path) -> str:
    try:
        told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(told.get("model_type", "unknown")) if isinstance(told, dict) else "unknown"


def describe(work: CaptionWork, emit: Emit, stop: Callable[[], bool]) -> bool:
    """Describe the pictures of a task that have no result yet; whether all have one now.

    Raises:
        ConfigError: The weights are gone, or none that are known.
    """
    task = work.task()
    config = toml.parse(CaptioningConfig, task["settings"]["captioning"])
    folder, names = Path(task["folder"]), task["names"]
    known = {result["name"] for result in work.found()}
    emit(Preparing("load", 0, 0))
    captioner = recognise(config.weights)(config, _device(task["settings"]["device"]))
    for done, name in enumerate(names):
        if stop():
            return False
        emit(Preparing("captions", done, len(names)))
        if name not in known:
            _describe_one(work, captioner, folder, name, config.prefix, emit)
    emit(Preparing("captions", len(names), len(names)))
    return True


def _describe_one(
    work: CaptionWork, captioner: Captioner, folder: Path, name: str, prefix: str, emit: Emit
) -> None:
    try:
        picture = image.read(folder / name, background="#ffffff", max_megapixels=100)
    except DatasetError as error:
        work.tell({"name": name, "problem": error.problem})
        emit(Warned(f"{name}: {error.problem}"))
        return
    work.tell({"name": name, "caption": one_line(f"{prefix}{captioner.describe(picture)}")})


def _device(asked: str) -> str:
    from trainer.core.device import best_device

    return best_device() if asked == "auto" else asked
