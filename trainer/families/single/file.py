"""A checkpoint in one file as a base model: its parts, and where those come from that it lacks."""

from __future__ import annotations

import hashlib
import importlib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trainer.core.errors import ModelError
from trainer.core.files import hash_text
from trainer.families.files import ModelFiles
from trainer.families.folder import ModelFolder
from trainer.families.reading import built_on_meta
from trainer.families.single.header import Header
from trainer.families.single.measured import customary, fits, measure
from trainer.families.single.pending import Pending
from trainer.families.single.published import clip_tokenizer, words_hash
from trainer.families.single.reading import read_pieces, require_fit
from trainer.families.single.refused import require_floats
from trainer.families.single.sorting import Sorted, sort

if TYPE_CHECKING:
    from trainer.core.device import Bits, Plan
    from trainer.families.base import ModelConfig


class SingleFile(ModelFiles):
    """A checkpoint in one .safetensors file, of a known family.

    What it lacks comes from a folder (`model.parts_from`) and from the published settings that
    ship with Sweetspot.
    """

    def __init__(
        self,
        header: Header,
        family: type[ModelConfig],
        published: Mapping[str, Any],
        rest: ModelFolder | None = None,
        noise: Mapping[str, Any] | None = None,
    ) -> None:
        """Sort the file's tensors; nothing but its header is read.

        Args:
            header: The file's.
            family: Its family's settings, which say what parts there are and how they are spelled.
            published: What the model was published with, part by part.
            rest: Where missing parts come from.
            noise: What the file itself says of its scheduler.

        Raises:
            ModelError: A part is missing in both, or tensors are not of the family.
        """
        self.path, self._published, self._rest = header.path, published, rest
        self._noise = dict(noise or {})
        self._sorted: Sorted = sort(header, family.single)
        self.notes = self._sorted.notes
        require_floats(header, [p.name for s in self._sorted.parts.values() for p in s.values()])
        self._hashes: dict[str, str] = {}
        self._header = header
        told = {name: value for name, value in published.items() if not isinstance(value, dict)}
        classes = {name: first.split(".") for name, (first, *_) in family.parts.items()}
        self.parts = {**told, **classes}
        self._akin = rest is not None and self._is_akin(rest, family)
        if rest is not None and self._akin:
            self.parts |= _flags(rest)
        self._require_all(family)

    def _is_akin(self, rest: ModelFolder, family: type[ModelConfig]) -> bool:
        """Whether the other folder's denoiser is like the file's: then its schedule holds too."""
        denoiser = next(iter(family.single))
        told = rest.written(denoiser)
        return bool(told) and denoiser in self._sorted.parts and self._fits(denoiser, told)

    def _fits(self, name: str, told: dict[str, Any]) -> bool:
        found = self._measured(name)
        if name in self._sorted.cut:
            del found["num_hidden_layers"]
        return fits(told, found)

    def _require_all(self, family: type[ModelConfig]) -> None:
        absent = [name for name in family.parts if not self.has(name)]
        if not absent:
            return
        names = ", ".join(absent)
        here = "model.parts_from has not got them either" if self._rest else "nothing else has them"
        raise ModelError(
            f"the checkpoint holds no {names}, and {here}",
            where=str(self.path),
            hint="model.parts_from = a folder in Diffusers format of a model of the same family, "
            f"which has {', '.join(f'{name}/' for name in absent)}",
        )

    def has(self, name: str) -> bool:
        ours = name in self._sorted.parts or (name in self._published and _is_light(name))
        return ours or (self._rest is not None and self._rest.has(name))

    def told_in(self, name: str) -> str:
        folder = self._elsewhere(name)
        return folder.told_in(name) if folder else f"{self.path} ({name})"

    def _elsewhere(self, name: str) -> ModelFolder | None:
        """Where a part is read from that is not in the file."""
        if name in self._sorted.parts or self._rest is None or not self._rest.has(name):
            return None
        light = name == "scheduler" or (_is_light(name) and name in self._published)
        return None if light and not self._akin else self._rest

    def _class(self, name: str) -> Any:
        library, kind = self.parts[name]
        return getattr(importlib.import_module(library), kind)

    def _measured(self, name: str) -> dict[str, Any]:
        kind, pieces = self.parts[name][1], self._sorted.parts[name]
        try:
            return measure(kind, {piece: tensor.shape for piece, tensor in pieces.items()})
        except (KeyError, IndexError, ValueError) as error:
            raise ModelError(
                f"its {kind} is not whole: the tensors that tell its size are missing ({error})",
                where=str(self.path),
                hint="download the model again, or another version of it",
            ) from error

    def _settings(self, name: str) -> dict[str, Any]:
        """Of a network in the file: as measured, then as the other folder has it, or published."""
        kind, found = self.parts[name][1], self._measured(name)
        plain = dict(self._published.get(name, {}))
        told = {} if self._rest is None else self._rest.written(name)
        if told and self._fits(name, told):
            known = {**plain, **told}
        else:
            known = {**plain, **customary(kind, {**plain, **found})}
        if name in self._sorted.cut:
            found["num_hidden_layers"] = self._layers(known, found)
        return {**known, **found}

    def _layers(self, known: Mapping[str, Any], found: Mapping[str, Any]) -> int:
        """OpenCLIP's last layer is in files and is not used."""
        return min(int(known["num_hidden_layers"]), int(found["num_hidden_layers"]))

    def _pieces(self, name: str, settings: Mapping[str, Any]) -> Mapping[str, Pending]:
        pieces = self._sorted.parts[name]
        if name not in self._sorted.cut:
            return pieces
        last = rf"(text_model\.)?encoder\.layers\.{settings['num_hidden_layers']}\..*"
        return {piece: p for piece, p in pieces.items() if not re.fullmatch(last, piece)}

    def _built(self, name: str) -> tuple[Any, Mapping[str, Pending]]:
        """A network of the file on torch's meta device, and its tensors, checked."""
        settings = self._settings(name)
        try:
            network = built_on_meta(self._class(name), settings)
        except (ValueError, TypeError, KeyError, RuntimeError) as error:
            raise ModelError(
                f"its {name} cannot be built: {error}",
                where=self.told_in(name),
                hint="a model as it was published, or model.parts_from with its own settings",
            ) from error
        pieces = self._pieces(name, settings)
        require_fit(network, pieces)
        return network, pieces

    def empty(self, name: str) -> Any:
        import torch

        folder = self._elsewhere(name)
        if folder is not None:
            return folder.empty(name)
        network, _ = self._built(name)
        return network.to(torch.bfloat16).requires_grad_(requires_grad=False)

    def _network(self, name: str, plan: Plan, bits: Bits, waiting: float) -> Any:
        folder = self._elsewhere(name)
        if folder is not None:
            return folder._network(name, plan, bits, waiting)
        network, pieces = self._built(name)
        return read_pieces(network, pieces, plan, bits, waiting=waiting)

    def _tokenizer(self, name: str) -> Any:
        folder = self._elsewhere(name)
        return folder._tokenizer(name) if folder else clip_tokenizer(self._published[name])

    def scheduler(self) -> Any:
        folder = self._elsewhere("scheduler")
        if folder is not None:
            made = folder.scheduler()
            return type(made).from_config(made.config, **self._noise) if self._noise else made
        import diffusers

        told = self._published["scheduler"]
        return getattr(diffusers, told["_class_name"]).from_config({**told, **self._noise})

    def fingerprint(self, name: str) -> str:
        folder = self._elsewhere(name)
        if name == "scheduler":
            told = json.dumps(self._noise, sort_keys=True)
            written = json.dumps(self._published[name], sort_keys=True)
            return hash_text(folder.fingerprint(name) if folder else written, told)
        if folder is not None:
            return folder.fingerprint(name)
        if name not in self._sorted.parts:
            return words_hash(self._published[name])
        if name not in self._hashes:
            settings = json.dumps(self._settings(name), sort_keys=True, default=str)
            self._hashes[name] = hash_text(self._bytes_hash(name), settings)
        return self._hashes[name]

    def _bytes_hash(self, name: str) -> str:
        """Of the tensors of a part, as they lie in the file."""
        digest = hashlib.sha256()
        names = sorted({piece.name for piece in self._sorted.parts[name].values()})
        with self.path.open("rb") as file:
            for tensor in names:
                entry = self._header.tensors[tensor]
                digest.update(f"{tensor}:{entry.dtype}:{entry.shape}:".encode())
                file.seek(entry.start)
                left = entry.end - entry.start
                while left:
                    read = file.read(min(left, 1 << 20))
                    digest.update(read)
                    left -= len(read)
        return digest.hexdigest()


def _is_light(name: str) -> bool:
    """Whether a part has no weights, so that its published settings are all of it."""
    return name == "scheduler" or name.startswith("tokenizer")


def _flags(folder: ModelFolder) -> dict[str, Any]:
    """What a folder's pipeline is told besides its parts."""
    told = folder.parts.items()
    return {k: v for k, v in told if not isinstance(v, list) and not k.startswith("_")}
