"""LoRAs to choose from: those of runs, the verdict's first, and files from anywhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.generate.asked import Ground, ground_of, lora_path, run_of
from app.generate.recipe import Told
from trainer.core.errors import UserError
from trainer.core.files import hash_file
from trainer.job.run import Run, runs_in

MOST = 40
"""Runs that are listed at once; more words find the others."""
_EPOCH = re.compile(r"-e(\d+)$")
_PROMPTS = 8


@dataclass(frozen=True, slots=True)
class Kept:
    """A LoRA file of a run.

    Attributes:
        strength: The verdict's, where this is the epoch that it chose.
    """

    path: Path
    label: str
    epoch: int
    strength: float | None = None


@dataclass(frozen=True, slots=True)
class Rack:
    """A run's LoRA files, the chosen one first, else the latest."""

    run: str
    files: list[Kept]
    headline: str = ""


@dataclass(frozen=True, slots=True)
class About:
    """What is known of one LoRA file.

    Attributes:
        run: The name of its run, where it lies in one.
        prompts: What it is usually asked for.
        family: The models that it was made for.
        strength: The verdict's.
    """

    path: Path
    run: str
    family: str
    rank: int
    epoch: int
    strength: float | None
    ground: Ground
    prompts: list[str] = field(default_factory=list)


def racks(runs: Path, words: str = "") -> list[Rack]:
    """Runs that have LoRA files and the words in their names, newest first."""
    wanted = words.lower().split()
    found: list[Rack] = []
    for run in runs_in(runs):
        if all(word in run.name.lower() for word in wanted) and run.lora_files:
            found.append(_rack(run))
        if len(found) == MOST:
            break
    return found


def about(text: str, runs: Path) -> About:
    """What is known of the LoRA file of this path.

    Raises:
        UserError: It cannot be used.
    """
    from trainer.weights.files import read

    path = lora_path(text)
    file = read(path)
    run = run_of(path, runs)
    chosen = _chosen(run) if run else None
    return About(
        path=path,
        run=run.name if run else "",
        family=file.family,
        rank=max(file.ranks.values(), default=0),
        epoch=_epoch(path),
        strength=chosen[1] if chosen and chosen[0] == _epoch(path) else None,
        ground=ground_of("", [path], runs),
        prompts=_prompts(run) if run else [],
    )


def bases(runs: Path) -> list[str]:
    """Base models that runs stand on, those of the newest first; the demo's last."""
    found = []
    for run in runs_in(runs)[:MOST]:
        try:
            found.append(run.job.model.base)
        except (UserError, OSError):
            continue
    return list(dict.fromkeys([*found, "demo"]))


def files_of(told: Told, runs: Path) -> list[tuple[str, Path | None, float]]:
    """Name, file and strength of each LoRA that a picture tells of; no file where it is not here.

    A file counts when its name fits, or an analysis knows its hash, and its hash is the told one.
    """
    return [(name, _file_of(name, digest, runs), strength) for name, digest, strength in told.loras]


def _file_of(name: str, digest: str, runs: Path) -> Path | None:
    found = list(runs_in(runs))
    stems = {Path(name).stem} if name else set()
    if not name:
        stems = {Path(file).stem for run in found for file in _analysed(run, digest)}
    files = (path for run in found for path in run.lora_files if path.stem in stems)
    return next((path for path in files if digest in ("", hash_file(path))), None)


def _analysed(run: Run, digest: str) -> Iterator[str]:
    """Names of the files with this hash that analyses of the run know."""
    for report in _reports(run):
        for checkpoint in report.get("checkpoints", ()):
            if checkpoint.get("digest") == digest:
                yield checkpoint["file"]


def _rack(run: Run) -> Rack:
    report = next(_reports(run), {})
    chosen = _chosen(run)
    files = [
        Kept(path, _label(path), _epoch(path), _strength(path, chosen))
        for path in reversed(run.lora_files)
    ]
    files.sort(key=lambda kept: kept.strength is None)
    return Rack(run.name, files, str(report.get("verdict", {}).get("headline", "")))


def _strength(path: Path, chosen: tuple[int, float] | None) -> float | None:
    return chosen[1] if chosen is not None and chosen[0] == _epoch(path) else None


def _chosen(run: Run) -> tuple[int, float] | None:
    """Epoch and strength of the newest verdict that has one."""
    for report in _reports(run):
        choice = report.get("verdict", {}).get("choice")
        if choice:
            return int(choice["epoch"]), float(choice["strength"])
    return None


def _reports(run: Run) -> Iterator[dict[str, Any]]:
    """Of the run's analyses, newest first."""
    paths = run.path.glob("analysis/*/report.json")
    for path in sorted(paths, key=lambda each: each.stat().st_mtime, reverse=True):
        try:
            told = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(told, dict):
            yield told


def _prompts(run: Run) -> list[str]:
    """What the run's LoRAs are asked for: of its analysis, its samples, else its trigger."""
    report = next(_reports(run), {})
    said: Sequence[str] = [prompt["text"] for prompt in report.get("prompts", ())]
    job = run.job
    said = said or list(job.analysis.prompts) or list(job.samples.prompts)
    if not said and job.dataset.trigger:
        said = [f"a {job.dataset.trigger} {job.dataset.class_word}".strip()]
    return list(dict.fromkeys(said))[:_PROMPTS]


def _epoch(path: Path) -> int:
    match = _EPOCH.search(path.stem)
    return int(match[1]) if match else 0


def _label(path: Path) -> str:
    epoch = _epoch(path)
    return f"epoch {epoch}" if epoch else path.stem
