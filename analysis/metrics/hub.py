"""Weights of other people's networks: in a folder or on the hub, whole and safe to open.

Only safetensors are read, and no code from a model's folder. It knows no network.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path
from typing import Any

from trainer.core.errors import ModelError, is_out_of_memory

_NAME = re.compile(r"(?=.{3,96}$)(?!.*(?:--|\.\.))\w(?:[\w.-]*\w)?/\w(?:[\w.-]*\w)?", re.ASCII)
"""owner/name, as the hub allows it."""
_WHOLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_TOKENIZER = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json")
_FILES = ("config.json", _WHOLE, _INDEX, "model-*.safetensors", *_TOKENIZER)
_PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl"}


def why_not(weights: str, types: Collection[str], *, reads: bool = False) -> str:
    """Why these weights cannot be had, in one sentence; empty when they can.

    Nothing is loaded; where they are not on this machine, the hub is asked for the list of files.

    Args:
        weights: A folder, or a model's name on the hub.
        types: What the model's config.json may call it; empty when it needs none.
        reads: Whether a tokenizer is needed.
    """
    folder = _on_disk(weights)
    if folder is None:
        return _not_on_hub(weights) if _NAME.fullmatch(weights) else f"there is no folder {weights}"
    names = {file.name for file in folder.iterdir()}
    fault = _fault(names if types else names | {"config.json"}, reads=reads)
    if not fault and types:
        kind = _told(folder / "config.json").get("model_type", "nothing")
        fault = "" if kind in types else f"it holds {kind!r}, and {sorted(types)[0]!r} is needed"
    return f"{weights}: {fault}" if fault else ""


def located(weights: str) -> Path:
    """The folder that holds the weights, fetched from the hub when they are not here yet.

    Raises:
        ModelError: They cannot be had.
    """
    folder = _on_disk(weights)
    if folder is not None:
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(weights, allow_patterns=list(_FILES)))
    except (OSError, HFValidationError) as error:
        raise ModelError(
            f"there is no folder {weights!r}, and it cannot be had from the hub either",
            where="metrics",
            hint="a folder with the model's files, or leave out the metrics that need it",
        ) from error


def whole(kind: Any, folder: Path, types: Collection[str]) -> Any:
    """A network with all its tensors, frozen, in fp32, on the CPU.

    Args:
        kind: The transformers class that reads it.
        folder: Where it lies.
        types: What it may call itself.

    Raises:
        ModelError: It is damaged, or another network.
    """
    import torch

    network, told = opened(
        lambda place: kind.from_pretrained(
            place,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        ),
        folder,
    )
    absent = sorted(told["missing_keys"])
    found = network.config.model_type
    if absent or found not in types:
        what = f"it lacks the tensor {absent[0]!r}" if absent else f"it holds {found!r}"
        raise _unusable(folder, what)
    return network.requires_grad_(False).eval()


def tensors(folder: Path, prefix: str) -> dict[str, Any]:
    """The tensors of a folder's `model.safetensors` whose names start so, without that start.

    Raises:
        ModelError: The file is damaged.
    """
    from safetensors import safe_open

    def read(file: Path) -> dict[str, Any]:
        with safe_open(file, "pt") as content:
            names = [name for name in content.keys() if name.startswith(prefix)]  # noqa: SIM118
            return {name.removeprefix(prefix): content.get_tensor(name) for name in names}

    return opened(read, folder / _WHOLE)  # type: ignore[no-any-return]


def opened(load: Callable[[Path], Any], place: Path) -> Any:
    """What `load` makes of a place.

    Raises:
        ModelError: It cannot be read.
    """
    from safetensors import SafetensorError

    try:
        return load(place)
    except (OSError, ValueError, RuntimeError, LookupError, TypeError, SafetensorError) as error:
        if is_out_of_memory(error):
            raise
        said = str(error).strip() or type(error).__name__
        raise _unusable(place, f"it cannot be read: {said.splitlines()[0]}") from error


def _on_disk(weights: str) -> Path | None:
    """The folder, or the hub's copy on this disk when it has weights; None when there is none."""
    folder = Path(weights).expanduser()
    if folder.is_dir():
        return folder
    if not _NAME.fullmatch(weights):
        return None
    from huggingface_hub import try_to_load_from_cache

    kept = try_to_load_from_cache(weights, "config.json")
    if not isinstance(kept, str):
        return None
    copy = Path(kept).parent
    return None if _fault({file.name for file in copy.iterdir()}) else copy


@cache
def _not_on_hub(name: str) -> str:
    """Why the hub does not have these weights for us; asked once a process."""
    from huggingface_hub import is_offline_mode, snapshot_download

    if is_offline_mode():
        return f"{name} is not on this machine, and the hub is not asked (HF_HUB_OFFLINE)"
    try:
        files = snapshot_download(name, allow_patterns=list(_FILES), dry_run=True)
    except OSError:
        return f"{name} is not on this machine, and the hub does not have it or cannot be reached"
    fault = _fault({file.filename for file in files})
    return f"{name}: {fault}" if fault else ""


def _fault(names: Collection[str], *, reads: bool = False) -> str:
    """What is wrong with a folder of these files, in words that follow its name."""
    if "config.json" not in names:
        return "it has no config.json"
    if _WHOLE not in names and _INDEX not in names:
        pickled = any(Path(name).suffix in _PICKLES for name in names)
        why = ", only a pickle, which can run code when opened" if pickled else ""
        return f"it has no {_WHOLE}{why}"
    if reads and "tokenizer.json" not in names and not {"vocab.json", "merges.txt"} <= set(names):
        return "it has no tokenizer"
    return ""


def _told(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _unusable(place: Path, what: str) -> ModelError:
    return ModelError(
        f"this network cannot be used; {what}",
        where=str(place),
        hint="fetch its files again, or leave out the metrics that need it",
    )
