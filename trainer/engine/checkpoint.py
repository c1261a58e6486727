"""What a resumed run starts from: adapter, mean weights, optimizer, scaler, step.

Never the base model, never a pickle. A checkpoint is a folder `step-000123` that appears
whole or not at all, with the SHA-256 of each of its files in manifest.json. The last two are
kept, and a third is removed only after a newer one has been read back.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.core.device import PRECISION
from trainer.core.errors import RunError
from trainer.core.files import (
    folder_written_atomically,
    hash_file,
    require_space,
    sweep_temporaries,
)

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

logger = logging.getLogger(__name__)

FORMAT = 2
KEPT = 2


@dataclass(frozen=True, slots=True)
class State:
    """Everything that changes while training.

    Attributes:
        step: Optimizer steps taken.
        adapter: fp32 tensors by name (weights/attach.py).
        mean: The running mean of the adapter, when one is kept.
        optimizer: Its `state_dict`.
        scaler: The fp16 gradient scaler's `state_dict`, or nothing.
        identity: What must be the same for a resumed run: the plan's and model's hashes.
    """

    step: int
    adapter: dict[str, Tensor]
    mean: dict[str, Tensor]
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    identity: dict[str, str]


def save(folder: Path, state: State) -> Path:
    """Write the state as `folder/step-N`; keep it and the one before it.

    Raises:
        ResourceError: The disk is full, or cannot be written; what was there is untouched.
    """
    from safetensors.torch import save as to_bytes

    sweep_temporaries(folder)
    path = folder / f"step-{state.step:06d}"
    if _verifies(path):
        return path
    shutil.rmtree(path, ignore_errors=True)
    tensors, scalars = _flatten(state.optimizer)
    needed = 1.2 * sum(t.nbytes for t in (*tensors.values(), *state.adapter.values()))
    require_space(folder, int(needed), "a checkpoint")
    with folder_written_atomically(path) as temporary:
        (temporary / "adapter.safetensors").write_bytes(to_bytes(state.adapter))
        if state.mean:
            (temporary / "mean.safetensors").write_bytes(to_bytes(state.mean))
        (temporary / "optimizer.safetensors").write_bytes(to_bytes(tensors))
        facts = {
            "format": FORMAT,
            "step": state.step,
            "optimizer": scalars,
            "scaler": state.scaler,
            "identity": state.identity,
        }
        (temporary / "state.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
        manifest = {file.name: hash_file(file) for file in sorted(temporary.iterdir())}
        (temporary / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    if _verifies(path):
        for older in _kept(folder)[:-KEPT]:
            _remove(older)
    return path


def newest(folder: Path) -> Path | None:
    """The newest checkpoint whose files are all as they were written."""
    sweep_temporaries(folder)
    return next((path for path in reversed(_kept(folder)) if _verifies(path)), None)


def step_of(path: Path) -> int:
    """The steps that were taken when this checkpoint was written."""
    return int(path.name.removeprefix("step-"))


def load(path: Path, identity: dict[str, str]) -> State:
    """Read a checkpoint.

    Raises:
        RunError: It was written by another Sweetspot, or for other pictures, another model or
            another job than `identity` says.
    """
    from safetensors.torch import load as from_bytes

    facts = json.loads((path / "state.json").read_text(encoding="utf-8"))
    if facts["format"] != FORMAT:
        newer = facts["format"] > FORMAT
        raise RunError(
            f"this checkpoint was written by {'a newer' if newer else 'an older'} Sweetspot",
            where=str(path),
            hint="update" if newer else "start a new run",
        )
    changed = [what for what, value in identity.items() if facts["identity"].get(what) != value]
    number_format = facts["identity"].get(PRECISION)
    if changed == [PRECISION]:
        raise RunError(
            f"this run computes in {number_format}, and here {identity[PRECISION]} was chosen",
            where=str(path),
            hint=f"resume it with `--set compute.precision={number_format}`, or start a new run",
        )
    if changed:
        raise RunError(
            f"the {' and the '.join(changed)} changed since this run began, so it cannot "
            "continue exactly",
            where=str(path),
            hint="put back what was there, or start a new run",
        )
    mean = path / "mean.safetensors"
    return State(
        step=facts["step"],
        adapter=from_bytes((path / "adapter.safetensors").read_bytes()),
        mean=from_bytes(mean.read_bytes()) if mean.exists() else {},
        optimizer=_unflatten(
            from_bytes((path / "optimizer.safetensors").read_bytes()), facts["optimizer"]
        ),
        scaler=facts["scaler"],
        identity=facts["identity"],
    )


def restore_optimizer(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Give the optimizer back what it remembered; its parameter groups must be the same.

    Raises:
        RunError: They are not.
    """
    try:
        optimizer.load_state_dict(state)
    except (ValueError, KeyError) as error:
        raise RunError(
            f"the optimizer's state does not fit: {error}", hint="start a new run"
        ) from error


def _kept(folder: Path) -> list[Path]:
    found = [p for p in folder.glob("step-*") if re.fullmatch(r"step-\d+", p.name)]
    return sorted(found, key=step_of)


def _verifies(path: Path) -> bool:
    try:
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        return all(hash_file(path / name) == value for name, value in manifest.items())
    except (OSError, json.JSONDecodeError):
        return False


def _remove(path: Path) -> None:
    """Rename first, so that a kill in the middle never leaves half a checkpoint by its name."""
    trash = path.with_name(f"{path.name}.tmp-old")
    try:
        path.rename(trash)
    except PermissionError as error:  # on Windows, while another has it open
        logger.warning("an old checkpoint stays for now: %s", error)
        return
    shutil.rmtree(trash, ignore_errors=True)


def _flatten(state: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimizer's `state_dict` as tensors by name, and the rest as JSON can hold it."""
    import torch

    tensors: dict[str, Tensor] = {}
    plain: dict[str, dict[str, Any]] = {}
    for index, values in state["state"].items():
        for name, value in _leaves(values):
            if isinstance(value, torch.Tensor):
                tensors[f"{index}.{name}"] = value.detach().cpu().contiguous().clone()
            else:
                plain.setdefault(str(index), {})[name] = value
    return tensors, {"state": plain, "param_groups": _plain(state["param_groups"])}


def _leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested values by dotted name; bitsandbytes nests what it quantised."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _plant(values: dict[str, Any], name: str, value: Any) -> None:
    *branches, leaf = name.split(".")
    for branch in branches:
        values = values.setdefault(branch, {})
    values[leaf] = value


def _plain(groups: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {k: list(v) if isinstance(v, tuple) else v for k, v in group.items()} for group in groups
    ]


def _unflatten(tensors: dict[str, Tensor], plain: dict[str, Any]) -> dict[str, Any]:
    state: dict[int, dict[str, Any]] = {}
    for index, values in plain["state"].items():
        for name, value in values.items():
            _plant(state.setdefault(int(index), {}), name, value)
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        _plant(state.setdefault(int(index), {}), key, tensor)
    groups = [
        {k: tuple(v) if k == "betas" else v for k, v in group.items()}
        for group in plain["param_groups"]
    ]
    return {"state": state, "param_groups": groups}
