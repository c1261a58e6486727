"""The one way from what a person writes in `model` to a model's files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.core.errors import ModelError
from trainer.families import hub
from trainer.families.base import ModelConfig, families
from trainer.families.files import ModelFiles
from trainer.families.folder import ModelFolder
from trainer.families.hub import Download
from trainer.families.single.file import SingleFile
from trainer.families.single.header import Header, read_header
from trainer.families.single.published import published
from trainer.families.single.recognise import (
    Content,
    Recognised,
    recognise_first,
    recognise_last,
)
from trainer.families.single.refused import require_plain

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENDS = (".safetensors", ".gguf", ".sft")
_VELOCITY = "stable-diffusion-v2-768-v"


def find_model(config: ModelConfig) -> ModelFiles:
    """The files of the model that the settings name, checked as far as headers tell.

    Raises:
        ModelError: It is absent, a pickle, damaged, quantised, of another family, or lacks parts.
    """
    path = one_file(config.base)
    if path is None:
        return ModelFolder.find(config.base, pipeline=config.pipeline)
    found = look(path)
    _require_kind(found, config)
    rest = None
    if config.parts_from:
        _require_folder(config.parts_from)
        wanted = _lacking(found.header, config)
        rest = ModelFolder.find(config.parts_from, pipeline=config.pipeline, parts=wanted)
    told = _noise(found.header)
    settings = published(_variant(found.what, told, config))
    return SingleFile(found.header, type(config), settings, rest, told)


def downloads(config: ModelConfig) -> Iterator[Download]:
    """What would be fetched from the hub for these settings, one after the other.

    Raises:
        ModelError: It cannot be had.
    """
    if _is_remote(config.base):
        if hub.kept(config.base, config.parts) is None:
            yield hub.ask(config.base, config.parts)
        if not config.base.endswith(_ENDS):
            return
    if _is_remote(config.parts_from) and (path := one_file(config.base)) is not None:
        _require_folder(config.parts_from)
        wanted = _lacking(read_header(path), config)
        if hub.kept(config.parts_from, wanted) is None:
            yield hub.ask(config.parts_from, wanted, where="model.parts_from")


def _require_folder(parts_from: str) -> None:
    """Refuse one file, here or in a repository, where only a folder will do."""
    path = Path(parts_from).expanduser()
    if path.suffix.lower() in _ENDS and not path.is_dir():
        raise ModelError(
            f"{parts_from!r} names a single file, and parts are taken from folders only",
            where="model.parts_from",
            hint=hub.INSTEAD["model.parts_from"],
        )


def _is_remote(base: str) -> bool:
    return hub.is_name(base) and not Path(base).expanduser().exists()


def _lacking(header: Header, config: ModelConfig) -> list[str]:
    """The parts that a file does not hold."""
    held = {
        part for part, ways in config.single.items() if any(w.occurs(header.tensors) for w in ways)
    }
    return [part for part in config.parts if part not in held]


def one_file(base: str) -> Path | None:
    """The file that `base` names, here or in a hub repository; None where it names no file.

    Raises:
        ModelError: It is in a repository, and cannot be fetched.
    """
    path = Path(base).expanduser()
    if path.suffix.lower() not in _ENDS or path.is_dir():
        return None
    if path.is_file():
        return path
    if path.suffix == ".safetensors" and hub.is_name(base) and base.count("/") > 1:
        return hub.snapshot(base, ())
    raise ModelError(
        "there is no such file",
        where=base,
        hint="a .safetensors checkpoint, or owner/name/file.safetensors of a hub repository",
    )


def config_of(base: str, kind: str = "", parts_from: str = "") -> ModelConfig:
    """The usual settings for a model, whose family is looked up where it is not said.

    Raises:
        ModelError: The family cannot be told, or is none that is trained here.
    """
    asked = {"base": base, "parts_from": parts_from}
    return families[kind or kind_of(base)].model_validate(asked)


def kind_of(base: str) -> str:
    """The family of a model, told from its tensors or its pipeline.

    Raises:
        ModelError: It is absent, or of no family that is trained here.
    """
    if base == "demo":
        return families.default
    path = one_file(base)
    if path is None:
        return ModelFolder.kind_of(base)
    found = look(path)
    if found.kind is None or not found.what.variant:
        raise ModelError(f"this is {found.what.name}", where=str(path), hint=found.what.hint)
    return found.kind


@dataclass(frozen=True, slots=True)
class Found:
    """What a file is.

    Attributes:
        header: The file's.
        what: What it holds.
        kind: The family that knows it; None where none does.
    """

    header: Header
    what: Recognised
    kind: str | None


def look(path: Path) -> Found:
    """What a file holds.

    Raises:
        ModelError: It is no safetensors file, damaged, or holds quantised weights.
    """
    header = read_header(path)
    require_plain(header)
    content = Content.of(header)
    first = recognise_first(content)
    if first is not None:
        return Found(header, first, None)
    for kind in families:
        what = families[kind].recognise(content)
        if what is not None:
            return Found(header, what, kind)
    return Found(header, recognise_last(content), None)


def _require_kind(found: Found, config: ModelConfig) -> None:
    where, name = str(found.header.path), found.what.name
    if found.kind is None:
        raise ModelError(f"this is {name}", where=where, hint=found.what.hint)
    if found.what.variant and found.kind != config.kind:
        raise ModelError(
            f"this is a checkpoint of {name}, and model.kind is {config.kind!r}",
            where=where,
            hint=f"model.kind = {found.kind!r}",
        )
    if not found.what.variant:
        raise ModelError(
            f"this is {name} in one file, which is not read", where=where, hint=found.what.hint
        )


def _variant(found: Recognised, told: Mapping[str, Any], config: ModelConfig) -> str:
    """Which published settings are the file's: of Stable Diffusion 2.x there are two.

    Raises:
        ModelError: Nothing says what a Stable Diffusion 2.x answers.
    """
    if found.variant != "sd2":
        return found.variant
    answers = told.get("prediction_type")
    if answers is None and config.prediction_asked != "auto":
        answers = config.prediction_asked
    if answers is None:
        raise ModelError(
            "whether this checkpoint of Stable Diffusion 2.x answers the noise or the velocity is "
            "not in the file",
            where=str(config.base),
            hint="model.noise.prediction = 'v_prediction' (models for 768 px), or 'epsilon' (512)",
        )
    return "sd2-v" if answers == "v_prediction" else "sd2"


def _noise(header: Header) -> dict[str, Any]:
    """What a file says of its scheduler: in its header, or by tensors that are marks alone."""
    told: dict[str, Any] = {}
    written = header.metadata.get("modelspec.prediction_type")
    made = header.metadata.get("modelspec.architecture", "")
    if "v_pred" in header.tensors or written == "v" or made.startswith(_VELOCITY):
        told["prediction_type"] = "v_prediction"
    elif written == "epsilon":
        told["prediction_type"] = "epsilon"
    if "ztsnr" in header.tensors:
        told["rescale_betas_zero_snr"] = True
    return told
