"""Analyses as the page works with them: which there are, what they ask, what is done with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter

from app import analyses
from app.sweeps import quoted
from app.ui.asking import typed_path
from app.ui.now import row
from trainer.core.errors import RunError
from trainer.job.run import Run, runs_in

if TYPE_CHECKING:
    from analysis.sweep import Sweep
    from app.errands import Errands
    from app.ui.desk import Desk
    from trainer.core.work import WorkFolder

_SHOWN = 24
"""Analyses and runs of one answer; the page asks for more."""


def routes(desk: Desk) -> APIRouter:
    """Runs and analyses to choose from."""
    router = APIRouter()

    @router.get("/list")
    def listed(skip: int = 0) -> dict[str, Any]:
        works = _newest(desk)
        some = works[skip : skip + _SHOWN]
        return {"analyses": [_card(desk, work) for work in some], "count": len(works)}

    @router.get("/runs")
    def runs(words: str = "") -> dict[str, Any]:
        found = [run for run in runs_in(desk.runs) if words.lower() in run.name.lower()]
        rows = [_choice(desk, run) for run in found[:_SHOWN]]
        return {"runs": rows, "count": len(found), "folder": str(desk.runs)}

    return router


def outline(work: WorkFolder) -> dict[str, Any]:
    """What is asked of an analysis.

    Raises:
        RunError: It is a run.
        ConfigError: What is asked cannot be read.
    """
    from analysis.folder_work import FolderWork

    if isinstance(work, FolderWork):
        return analyses.outline_of_pictures(work)
    return analyses.outline(_as_sweep(work))


def training_folder(work: WorkFolder) -> Path | None:
    """Where the pictures are that were trained on; None when nothing tells."""
    from analysis.folder_work import FolderWork

    if isinstance(work, FolderWork):
        return work.config.dataset
    dataset = _as_sweep(work).config.dataset
    return dataset.folder.resolve() if dataset is not None else None


def judge_again(desk: Desk, work: WorkFolder, rule: str, weights: list[str]) -> None:
    """Have an analysis that is there judged by another rule; what is rendered is not again.

    Raises:
        ConfigError: The rule or a weight cannot be used.
        RunError: A process works on it.
    """
    sweep = _as_sweep(work)
    with sweep.lock():
        sweep.change([f'analysis.rule="{rule}"', f"analysis.weights={quoted(weights) or '[]'}"])
    desk.start(sweep)


def keep(work: WorkFolder, told: dict[str, Any], errands: Errands) -> dict[str, Any]:
    """Copy the LoRA file of a setting out.

    Raises:
        UserError: It cannot be copied there.
    """
    place = typed_path(str(told.get("to", "")))
    if not place.suffix:
        place.mkdir(parents=True, exist_ok=True)
    given = {
        "sweep": str(work.path),
        "to": str(place),
        "setting": [int(told["epoch"]), float(told["strength"])],
        "bake": bool(told.get("bake")),
        "overwrite": bool(told.get("overwrite")),
    }
    found: dict[str, Any] = errands.run("keep", given)
    return found


def _as_sweep(work: WorkFolder) -> Sweep:
    from analysis.sweep import Sweep

    if not isinstance(work, Sweep):
        raise RunError("this is a run, and not an analysis", where=work.name)
    return work


def _newest(desk: Desk) -> list[WorkFolder]:
    """All analyses, the newest first."""
    found = [work for work in desk.works() if work.noun == "sweep"]
    return sorted(found, key=_made, reverse=True)


def _made(work: WorkFolder) -> float:
    times = [path.stat().st_mtime for path in work.path.glob("*.toml")]
    return max(times, default=0.0)


def _card(desk: Desk, work: WorkFolder) -> dict[str, Any]:
    short = analyses.verdict_in_short(work.path)
    return {**row(desk, work), "short": short, "made": _made(work)}


def _choice(desk: Desk, run: Run) -> dict[str, Any]:
    """A run as it can be chosen: how many files it has, and what was analysed already."""
    told = row(desk, run)
    files = sum(1 for _ in run.lora.glob("*.safetensors")) if run.lora.is_dir() else 0
    sample = told["sample"] and str(run.path / told["sample"])
    return {**told, "files": files, "picture": sample, "analyses": len(desk.analyses(run))}
