"""A base model as files: where it lies, whether it is whole, and reading its parts.

Only safetensors are read. A pickle (`.ckpt`, `.bin`, `.pt`) can run code when it is opened,
and so can a `.py` file beside a model; both are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from trainer.core.errors import ModelError, is_out_of_memory
from trainer.core.files import hash_file, hash_text
from trainer.families import hub
from trainer.families.base import families

if TYPE_CHECKING:
    from trainer.core.device import Plan

CLASSES = {
    "unet": ("diffusers.UNet2DConditionModel",),
    "vae": ("diffusers.AutoencoderKL",),
    "text_encoder": ("transformers.CLIPTextModel",),
    "text_encoder_2": ("transformers.CLIPTextModelWithProjection",),
    "tokenizer": ("transformers.CLIPTokenizer", "transformers.CLIPTokenizerFast"),
    "tokenizer_2": ("transformers.CLIPTokenizer", "transformers.CLIPTokenizerFast"),
}
"""What the parts of a model may be; a scheduler may be any of Diffusers'."""
_UNUSED = ("safety_checker", "feature_extractor", "image_encoder")
_UNREADABLE: tuple[type[Exception], ...] = (OSError, ValueError, RuntimeError, LookupError)
_UNREADABLE += (ImportError, AttributeError, SafetensorError)
"""What libraries raise for model files that are missing, cut short or of another kind."""

DEMO = Path(__file__).parents[2] / "assets" / "demo" / "sd"
_PICKLES = {".ckpt", ".bin", ".pt", ".pth", ".pkl"}


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A base model in Diffusers format on this machine's disk."""

    path: Path
    parts: dict[str, Any]
    """model_index.json: part name -> [library, class]."""

    @classmethod
    def find(cls, base: str, *, pipeline: str) -> ModelFolder:
        """Resolve `demo`, a folder or a hub name, and check that it is whole.

        Raises:
            ModelError: It is absent, a pickle, damaged, or made for another pipeline.
        """
        path = DEMO if base == "demo" else Path(base).expanduser()
        if path.suffix.lower() in _PICKLES:
            raise ModelError(
                f"{path.suffix} files are pickles, which can run code when opened",
                where=str(path),
                hint="a .safetensors version of the model, as a folder in Diffusers format",
            )
        if not path.exists():
            path = hub.snapshot(base)
        index = path / "model_index.json"
        if not index.is_file():
            raise ModelError(
                "this is no model folder: model_index.json is missing",
                where=str(path),
                hint="the folder that holds unet/, vae/ and text_encoder/",
            )
        folder = cls(path, _read_json(index))
        folder._check(pipeline)
        return folder

    def _check(self, pipeline: str) -> None:
        made_for = self.parts.get("_class_name")
        if made_for != pipeline:
            fitting = [kind for kind in families if families[kind].pipeline == made_for]
            other = f"model.kind = {fitting[0]!r}" if fitting else "another `model.kind`"
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
        for name, entry in self.parts.items():
            if isinstance(entry, list) and name not in _UNUSED:
                self._check_part(name, [str(word) for word in entry])

    def _check_part(self, name: str, entry: list[str]) -> None:
        asked = ".".join(entry)
        plain = name == "scheduler" and re.fullmatch(r"diffusers\.\w+Scheduler", asked)
        if plain or asked in CLASSES.get(name, ()):
            return
        raise ModelError(
            f"its part {name!r} is a {asked!r}, which this family does not know",
            where=str(self.path / "model_index.json"),
            hint="a model of this family, or another `model.kind`",
        )

    def part(self, name: str, plan: Plan) -> Any:
        """One network of the model, frozen, in the plan's format, on its device.

        Raises:
            ModelError: A file or a tensor is missing, or damaged.
        """
        import torch

        network = self._read(name, lambda cls: _load(cls, self.path, name, plan.dtype))
        network.requires_grad_(False).eval()
        bad = [n for n, p in network.named_parameters() if not torch.isfinite(p).all()]
        if bad:
            raise ModelError(
                f"{len(bad)} tensors hold NaN or infinite values, the first is {bad[0]!r}",
                where=str(self.path / name),
                hint="download the model again",
            )
        return network.to(plan.device)

    def empty(self, name: str) -> Any:
        """One network of the model without weights (on torch's meta device), in bf16."""
        import torch
        import transformers

        def build(cls: Any) -> Any:
            worded = issubclass(cls, transformers.PreTrainedModel)
            read = cls.config_class.from_pretrained if worded else cls.load_config
            config = read(self.path / name, local_files_only=True)
            with torch.device("meta"):
                network = cls(config) if worded else cls.from_config(config)
            return network.to(torch.bfloat16).requires_grad_(requires_grad=False)

        return self._read(name, build)

    def tokenizer(self, name: str, *, tokens: int, length: int) -> Any:
        """A tokenizer of the model, for a text encoder of so many tokens and places.

        Raises:
            ModelError: Its vocabulary is missing, or not that of the text encoder.
        """
        tokenizer = self._read(name, lambda cls: _load_tokenizer(cls, self.path / name))
        numbers = tokenizer.get_vocab().values()
        if max(numbers) >= tokens or 2 * len(numbers) < tokens:
            raise ModelError(
                f"its {len(numbers)} tokens, numbered up to {max(numbers)}, do not fit the "
                f"text encoder, which knows {tokens}",
                where=str(self.path / name),
                hint="the tokenizer that the model was published with",
            )
        tokenizer.model_max_length = min(tokenizer.model_max_length, length)
        return tokenizer

    def scheduler(self) -> Any:
        """The scheduler that the model was published with."""
        return self._read("scheduler", lambda cls: cls.from_pretrained(self.path / "scheduler"))

    def fingerprint(self, name: str) -> str:
        """A hash of the part's weights, words and settings, for cache keys and metadata."""
        kinds = (".safetensors", ".json", ".txt")
        files = sorted(f for f in (self.path / name).iterdir() if f.suffix in kinds)
        return hash_text(*(f"{f.name}={hash_file(f)}" for f in files))

    def _read(self, name: str, load: Callable[[Any], Any]) -> Any:
        import importlib

        entry = self.parts.get(name)
        if not isinstance(entry, list) or not (self.path / name).is_dir():
            raise ModelError(
                f"the model has no part {name!r}",
                where=str(self.path),
                hint="download the model again; a part may be missing",
            )
        try:
            return load(getattr(importlib.import_module(entry[0]), entry[1]))
        except _UNREADABLE as error:
            if is_out_of_memory(error):
                raise
            raise _in_plain_words(error, self.path / name) from error


def _load(cls: Any, path: Path, name: str, dtype: Any) -> Any:
    import diffusers

    if issubclass(cls, diffusers.ModelMixin):
        network = _load_piecewise(cls, path / name, dtype)
        if network is not None:
            return network
    network, told = cls.from_pretrained(
        path / name,
        torch_dtype=dtype,
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
    )
    absent = sorted(told["missing_keys"])
    if absent:
        files = list((path / name).glob("*.safetensors"))
        raise ModelError(
            f"{len(absent)} tensors are missing, the first is {absent[0]!r}",
            where=str(files[0] if len(files) == 1 else path / name),
            hint="download the model again",
        )
    return network


def _load_piecewise(cls: Any, path: Path, dtype: Any) -> Any | None:
    """Read one tensor at a time, so that file and network are never in memory both.

    `from_pretrained` maps the whole file: reading 3.4 GB of fp32 for a 1.7 GB network in bf16
    takes 5.6 GB. None where it must be used: shards, old names, parts that stay in fp32.
    """
    import torch
    from safetensors import safe_open

    file = path / "diffusion_pytorch_model.safetensors"
    if not file.is_file() or cls._keep_in_fp32_modules:
        return None
    with torch.device("meta"):
        network = cls.from_config(cls.load_config(path, local_files_only=True))
    with safe_open(file, "pt") as content:
        names = set(content.keys())
    if names != network.state_dict().keys():
        return None
    state = {}
    for name in names:
        with safe_open(file, "pt") as content:
            state[name] = content.get_tensor(name).to(dtype, copy=True)
    network.load_state_dict(state, assign=True)
    whole = all(not t.is_meta for t in (*network.parameters(), *network.buffers()))
    return network if whole else None


def _load_tokenizer(cls: Any, path: Path) -> Any:
    """Without a vocabulary the library makes one of two tokens, and all captions are equal."""
    absent = [name for name in ("vocab.json", "merges.txt") if not (path / name).is_file()]
    if absent and not (path / "tokenizer.json").is_file():
        raise ModelError(
            f"the tokenizer has no {' and no '.join(absent)}, and no tokenizer.json",
            where=str(path),
            hint="download the model again, with all files of the tokenizer",
        )
    return cls.from_pretrained(path, local_files_only=True)


def _in_plain_words(error: Exception, where: Path) -> ModelError:
    pickles = [f.name for f in where.iterdir() if f.suffix in _PICKLES]
    if pickles and not any(where.glob("*.safetensors")):
        return ModelError(
            f"its weights are a pickle ({pickles[0]}), which can run code when opened",
            where=str(where),
            hint="a version of the model with .safetensors files",
        )
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
