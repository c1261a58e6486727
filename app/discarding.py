"""Putting a run away, and back: nothing is deleted, its folder moves to `trash` beside the runs."""

from __future__ import annotations

from pathlib import Path

from trainer.core.errors import ResourceError, RunError
from trainer.job.run import Run

TRASH = "trash"


def discard(run: Run) -> Path:
    """Move a run, with its analyses, out of the list of runs; where it lies now.

    Raises:
        RunError: A process works on it, or on an analysis of it.
        ResourceError: The folder cannot be moved.
    """
    from analysis.sweep import Sweep

    sweeps = [Sweep(path.parent) for path in run.path.glob("analysis/*/sweep.toml")]
    for work in (run, *sweeps):
        if work.status() == "running" or work.busy():
            raise RunError(
                f"a process works on this {work.noun}", where=str(work.path), hint="stop it first"
            )
    return _move(run.path, run.path.parent / TRASH)


def restore(runs: Path, name: str) -> Run:
    """Move a run back from the trash.

    Raises:
        RunError: There is no such run in the trash.
        ResourceError: The folder cannot be moved.
    """
    trash = runs / TRASH
    path = trash / name
    if path.parent != trash or name not in {found.name for found in trash.glob("*/")}:
        raise RunError("there is no such run in the trash", where=name)
    return Run(_move(path, runs))


def _move(path: Path, folder: Path) -> Path:
    number, place = 1, folder / path.name
    while place.exists():
        number += 1
        place = folder / f"{path.name}-{number}"
    try:
        folder.mkdir(exist_ok=True)
        path.rename(place)
    except OSError as error:
        raise ResourceError(
            f"the folder cannot be moved: {error.strerror or error}",
            where=str(path),
            hint="close programs that have a file of it open",
        ) from None
    return place
