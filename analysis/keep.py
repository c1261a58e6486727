"""Keeps the chosen LoRA file: a copy of it, with the verdict in its header.

It knows report.json, and nothing of how the choice was made.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.findings import NAME
from analysis.report_file import read
from analysis.sweep import Sweep
from analysis.table import Setting
from trainer.core.errors import AdapterError, RunError
from trainer.core.files import hash_file
from trainer.weights.bake import bake


@dataclass(frozen=True, slots=True)
class Kept:
    """What was kept.

    Attributes:
        strength: What to use the file at.
    """

    path: Path
    setting: Setting
    strength: float


def keep(
    sweep: Sweep, to: Path | None, *, chosen: Setting | None, into_alpha: bool, overwrite: bool
) -> Kept:
    """Copy the chosen epoch's file out of the run.

    Args:
        sweep: An analysis that has ended.
        to: A file, or a folder that is there; the current folder when None.
        chosen: Another epoch and strength than the verdict's.
        into_alpha: Multiply the strength into the file, so that it is used at 1.
        overwrite: Replace a file that is there.

    Raises:
        RunError: There is no report, no choice, or no such epoch.
        AdapterError: The file changed since it was analysed, or the place is taken.
    """
    told = read_report(sweep.path)
    setting = chosen or _choice(told, sweep.path)
    checkpoint = _checkpoint(told, setting.epoch, sweep.path)
    source = _source(sweep, checkpoint)
    path = _place(to, source)
    header = {
        "sweetspot.verdict": json.dumps(_summary(told, setting), ensure_ascii=False),
        "sweetspot.strength": f"{1.0 if into_alpha else setting.strength:g}",
    }
    strength = setting.strength if into_alpha else 1.0
    bake(source, path, strength, header, overwrite=overwrite)
    return Kept(path, setting, 1.0 if into_alpha else setting.strength)


def read_report(folder: Path) -> dict[str, Any]:
    """An analysis's report.json.

    Raises:
        RunError: There is none, it is damaged, or of another version.
    """
    if not (folder / NAME).exists():
        raise RunError(
            "the analysis has no report yet",
            where=str(folder),
            hint=f"`sweetspot analyse --resume {folder}`",
        )
    return dict(read(folder))


def _choice(told: dict[str, Any], folder: Path) -> Setting:
    choice = told["verdict"]["choice"]
    if choice is None:
        raise RunError(
            f"the analysis chose nothing ({told['verdict']['state']})",
            where=str(folder),
            hint="--epoch and --strength name one yourself",
        )
    return Setting(int(choice["epoch"]), float(choice["strength"]))


def _checkpoint(told: dict[str, Any], epoch: int, folder: Path) -> dict[str, Any]:
    for checkpoint in told["checkpoints"]:
        if checkpoint["epoch"] == epoch:
            found: dict[str, Any] = checkpoint
            return found
    known = ", ".join(str(c["epoch"]) for c in told["checkpoints"])
    raise RunError(f"there is no epoch {epoch}; there are {known}", where=str(folder))


def _source(sweep: Sweep, checkpoint: dict[str, Any]) -> Path:
    """The LoRA file of a checkpoint, where it was when it was analysed."""
    config = sweep.config
    places = [config.run / "lora"] if config.run else []
    files: list[Path] = [
        *(place / checkpoint["file"] for place in places),
        *map(Path, config.loras),
    ]
    named = [path for path in files if path.name == checkpoint["file"] and path.is_file()]
    for path in named:
        if checkpoint.get("digest") in (None, hash_file(path)):
            return path
    if named:
        raise AdapterError(
            "the LoRA file changed since it was analysed",
            where=str(named[0]),
            hint="put the old one back, or analyse again",
        )
    raise AdapterError(
        f"the LoRA file {checkpoint['file']!r} is no longer where it was analysed",
        where=str(files[0].parent if files else sweep.path),
        hint="put it back, or analyse again",
    )


def _place(to: Path | None, source: Path) -> Path:
    folder = Path.cwd() if to is None else to
    return folder / source.name if folder.is_dir() else folder


def _summary(told: dict[str, Any], setting: Setting) -> dict[str, Any]:
    verdict = told["verdict"]
    return {
        "epoch": setting.epoch,
        "strength": setting.strength,
        "rule": verdict["rule"],
        "state": verdict["state"],
        "headline": verdict["headline"],
        "made": told["made"],
    }
