"""A base model as files: where it lies, whether it is whole, and reading its parts.

Only safetensors are read. A pickle (`.ckpt`, `.bin`, `.pt`) can run code when it is opened,
and so can a `.py` file beside a model; both are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from trainer.core.errors import ModelError, is_out_of_memory
from trainer.core.files import hash_file, hash_text
from trainer.families import hub
from trainer.families.base import families
from trainer.families.files import ModelFiles
from trainer.families.reading import on_meta, read_network, read_tokenizer
from trainer.families.shards import STEMS, find_shards

if TYPE_CHECKING:
    from trainer.core.device import Bits, Plan

_UNUSED = ("safety_checker", "feature_extractor", "image_encoder")
_UNREADABLE: tuple[type[Exception], ...] = (OSError, ValueError, RuntimeError, LookupError)
_UNREADABLE += (ImportError, AttributeError, SafetensorError)
"""What libraries raise for model files that are missing, cut short or of another kind."""

DEMOS = Path(__file__).parents[2] / "assets" / "demo"
"""Models that ship with Sweetspot, each in a folder of its family's name."""
_PICKLES = {".ckpt", ".bin", ".pt", ".pth", ".pkl"}


@dataclass(frozen=True)
class ModelFolder(ModelFiles):
    """A base model in Diffusers format on this machine's disk."""

    path: Path
    parts: dict[str, Any]
    """model_index.json: part name -> [library, class]."""

    @classmethod
    def find(cls, base: str, *, pipeline: str, parts: Iterable[str] | None = None) -> ModelFolder:
        """Resolve `demo`, a folder or a hub name, and check that it is whole.

        Args:
            base: Which.
            pipeline: What loads it.
            parts: Those that `model.parts_from` is asked for; None where it is the base itself,
                which has all that the family has, or settings alone.

        Raises:
            ModelError: It is absent, a pickle, damaged, cut short, or made for another pipeline.
        """
        path = _demo(pipeline) if base == "demo" else Path(base).expanduser()
        _refuse_pickle(path)
        every = families[_family(pipeline)].parts
        where: hub.Asked = "model.base" if parts is None else "model.parts_from"
        wanted = list(every if parts is None else parts)
        if not path.exists():
            path = hub.snapshot(base, wanted, where=where)
        index = path / "model_index.json"
        if not index.is_file():
            other = ", or a .safetensors file" if parts is None else ""
            raise ModelError(
                "this is no model folder: model_index.json is missing",
                where=str(path),
                hint=f"the folder that holds unet/, vae/ and text_encoder/{other}",
            )
        folder = cls(path, _read_json(index))
        folder._check(pipeline)
        folder._check_weights(wanted, needed=parts is not None)
        return folder

    @classmethod
    def kind_of(cls, base: str) -> str:
        """The family that loads a model in Diffusers format, by its pipeline's name.

        Raises:
            ModelError: It is absent, damaged, or of no family.
        """
        path = Path(base).expanduser()
        _refuse_pickle(path)
        if not path.exists():
            path = hub.index_of(base)
        index = path / "model_index.json" if path.is_dir() else path
        made_for = _read_json(index).get("_class_name") if index.is_file() else None
        kind = next((kind for kind in families if families[kind].pipeline == made_for), None)
        if kind is None:
            raise ModelError(
                f"the model is made for {made_for!r}, which no family loads"
                if made_for
                else "this is no model folder: model_index.json is missing",
                where=str(path),
                hint="a model of one of the families " + ", ".join(families),
            )
        return kind

    def _check(self, pipeline: str) -> None:
        made_for = self.parts.get("_class_name")
        if made_for != pipeline:
            right = next((kind for kind in families if families[kind].pipeline == made_for), None)
            other = f"model.kind = {right!r}" if right else "another `model.kind`"
            raise ModelError(
                f"the model is made for {made_for!r}, and this family loads {pipeline!r}",
                where=str(self.path),
                hint=f"a model of this family, or {other}",
            )
        code = next(iter(sorted(self.path.rglob("*.py"))), None)
        if code is not None:
            raise ModelError(
                "the model comes with program code, which is not run",
                where=str(code),
                hint="a version of the model that holds weights and settings only",
            )
        known = families[_family(pipeline)].parts
        for name in self.parts:
            if self.has(name) and name not in _UNUSED:
                self._check_part(name, known.get(name, ()))

    def has(self, name: str) -> bool:
        """Whether the model says that it has this part; one that it does without is `null`."""
        entry = self.parts.get(name)
        return isinstance(entry, list) and None not in entry

    def _check_part(self, name: str, known: tuple[str, ...]) -> None:
        asked = ".".join(map(str, self.parts[name]))
        plain = name == "scheduler" and re.fullmatch(r"diffusers\.\w+Scheduler", asked)
        if plain or asked in known:
            return
        raise ModelError(
            f"its part {name!r} is a {asked!r}, which this family does not know",
            where=str(self.path / "model_index.json"),
            hint="a model of this family, or another `model.kind`",
        )

    def _check_weights(self, parts: Iterable[str], *, needed: bool) -> None:
        """Check by the headers of their files that the weights of these parts are whole.

        Args:
            parts: Of the family; the model may do without some.
            needed: Whether it may not be a folder of settings alone, which can be planned with.
        """
        networks = [name for name in parts if "tokenizer" not in name and self.has(name)]
        for name in networks:
            self._require(name)
        found = {name: find_shards(self.path / name) for name in networks}
        needed = needed or any(found.values())
        for name, shards in found.items():
            if shards is None:
                _refuse_without_weights(self.path / name, needed=needed)
            else:
                shards.require_whole()

    def told_in(self, name: str) -> str:
        files = {"scheduler": "scheduler/scheduler_config.json"}
        inside = files.get(name, name if "tokenizer" in name else f"{name}/config.json")
        return str(self.path / inside)

    def written(self, name: str) -> dict[str, Any]:
        """The settings of a network as its config.json has them; none where there is no such."""
        path = self.path / name / "config.json"
        return _read_json(path) if self.has(name) and path.is_file() else {}

    def _network(self, name: str, plan: Plan, bits: Bits, waiting: float) -> Any:
        path = self.path / name
        return self._read(name, lambda cls: read_network(cls, path, plan, bits, waiting=waiting))

    def empty(self, name: str) -> Any:
        import torch

        def build(cls: Any) -> Any:
            network = on_meta(cls, self.path / name)
            return network.to(torch.bfloat16).requires_grad_(requires_grad=False)

        return self._read(name, build)

    def _tokenizer(self, name: str) -> Any:
        return self._read(name, lambda cls: read_tokenizer(cls, self.path / name))

    def scheduler(self) -> Any:
        return self._read("scheduler", lambda cls: cls.from_pretrained(self.path / "scheduler"))

    def fingerprint(self, name: str) -> str:
        self._require(name)
        kinds = (".json", ".txt", ".model")
        settings = [f for f in (self.path / name).iterdir() if f.suffix in kinds]
        shards = find_shards(self.path / name)
        files = sorted([*settings, *(shards.files if shards else ())])
        return hash_text(*(f"{f.name}={hash_file(f)}" for f in files))

    def _require(self, name: str) -> None:
        if not self.has(name) or not (self.path / name).is_dir():
            raise ModelError(
                f"the model has no part {name!r}",
                where=str(self.path),
                hint="download the model again; a part may be missing",
            )

    def _read(self, name: str, load: Callable[[Any], Any]) -> Any:
        import importlib

        self._require(name)
        try:
            library, kind = self.parts[name]
            return load(getattr(importlib.import_module(library), kind))
        except _UNREADABLE as error:
            if is_out_of_memory(error):
                raise
            raise _in_plain_words(error, self.path / name) from error


def _family(pipeline: str) -> str:
    """The kind of the family whose models this pipeline loads."""
    return next(kind for kind in families if families[kind].pipeline == pipeline)


def _demo(pipeline: str) -> Path:
    kind = _family(pipeline)
    path = DEMOS / kind
    if not (path / "model_index.json").is_file():
        single = "a .safetensors file, " if families[kind].single else ""
        raise ModelError(
            "no model of this family ships with Sweetspot",
            where="model.base",
            hint=f"a folder in Diffusers format, {single}or the name of a hub repository",
        )
    return path


def _refuse_pickle(path: Path) -> None:
    if path.suffix.lower() not in _PICKLES or path.is_dir():
        return
    if not path.is_file():
        raise ModelError(
            "there is no such file",
            where=str(path),
            hint="a folder in Diffusers format, or a .safetensors file; pickles are not read",
        )
    raise ModelError(
        f"{path.suffix} files are pickles, which can run code when opened",
        where=str(path),
        hint="a .safetensors version of the model, as a folder in Diffusers format",
    )


def _refuse_without_weights(folder: Path, *, needed: bool) -> None:
    """Refuse a pickle in place of weights, and where they are needed, that there are none."""
    pickles = sorted(f.name for f in folder.iterdir() if f.suffix in _PICKLES)
    if pickles:
        raise ModelError(
            f"its weights are a pickle ({pickles[0]}), which can run code when opened",
            where=str(folder),
            hint="a version of the model with .safetensors files",
        )
    if needed:
        raise ModelError(
            "this part of the model has no weights: there is no "
            + " and no ".join(f"{stem}.safetensors" for stem in STEMS),
            where=str(folder),
            hint="download the model again; a file is missing",
        )


def _in_plain_words(error: Exception, where: Path) -> ModelError:
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return ModelError(
        f"this part of the model cannot be read: {first}",
        where=str(where),
        hint="download the model again; a file may be missing or cut short",
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelError(
            "this file is not JSON", where=str(path), hint="download the model again"
        ) from error
    return values
