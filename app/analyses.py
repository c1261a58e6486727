"""Analyses as pages show them: which there are, how far one is, what one came to.

It draws nothing and starts nothing; every word on a verdict is the report's own.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.core import events
from trainer.core.errors import UserError
from trainer.job.run import Run

if TYPE_CHECKING:
    from analysis.folder_work import FolderWork
    from analysis.report_file import Told
    from analysis.sweep import Sweep

NEXT = "Next: "
"""How the verdict's sentences on what to try begin."""
_PHASES = 400
"""The last tellings of progress that are handed on."""


def verdict_in_short(folder: Path) -> dict[str, Any]:
    """What a card shows of a finished analysis: state, choice and a picture of it.

    Empty where there is no report that can be read.
    """
    path = folder / "report.json"
    try:
        stat = path.stat()
    except OSError:
        return {}
    return _in_short(path, stat.st_mtime_ns)


@functools.lru_cache(maxsize=512)
def _in_short(path: Path, changed: int) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        verdict = told["verdict"]
        choice = verdict["choice"]
        at = (choice["epoch"], choice["strength"]) if choice else (0, 0.0)
        cells = told["cells"] if choice else told["controls"]
        shown = [
            cell["picture"]
            for cell in cells
            if cell["picture"] and (cell.get("epoch", 0), cell.get("strength", 0.0)) == at
        ]
        return {
            "state": verdict["state"],
            "headline": verdict["headline"],
            "choice": choice,
            "picture": str(path.parent / shown[0]) if shown else "",
            "title": told["title"],
            "kind": told["source"]["kind"],
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # half-written, or of another version: the page of the analysis tells which


def outline(sweep: Sweep) -> dict[str, Any]:
    """What is asked of a sweep, so that its grid can be drawn before its pictures are there.

    Raises:
        ConfigError: sweep.toml cannot be read.
    """
    config = sweep.config
    dataset = config.dataset.folder if config.dataset is not None else None
    return {
        "kind": "run" if config.run is not None else "loras",
        "title": config.run.name if config.run is not None else config.name,
        "epochs": _epochs(config.run),
        "strengths": list(config.analysis.strengths),
        "asked": config.analysis.model_dump(mode="json"),
        "dataset": str(dataset) if dataset is not None else "",
        "races": bool(config.analysis.minutes or config.analysis.renders),
    }


def outline_of_pictures(work: FolderWork) -> dict[str, Any]:
    """The same of finished pictures, whose grid is known when they are scored.

    Raises:
        ConfigError: pictures.toml cannot be read.
    """
    asked = work.config
    return {
        "kind": "pictures",
        "title": asked.folder.name,
        "epochs": [],
        "strengths": [],
        "asked": asked.model_dump(mode="json"),
        "dataset": str(asked.dataset or ""),
        "races": False,
    }


def _epochs(run: Path | None) -> list[int]:
    """Epochs of which the run has a file, as its events tell; empty when they do not."""
    if run is None:
        return []
    saved: dict[int, Path] = {}
    for told in events.read(Run(run).events_path):
        if isinstance(told.event, events.Saved):
            saved[told.event.epoch] = run / told.event.path
    return sorted(epoch for epoch, path in saved.items() if path.is_file())


def news(told: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Events of a sweep as its page takes them in: pictures as short rows, problems in words.

    Args:
        told: Events as `app.ui.tails.since` gives them.
    """
    prompts: dict[str, int] = {}
    found: dict[str, Any] = {"cells": [], "phases": [], "warned": [], "facts": None, "ended": None}
    for event in told:
        match event["kind"]:
            case "Rendered":
                number = prompts.setdefault(event["prompt"], len(prompts))
                found["cells"].append(
                    [event["epoch"], event["strength"], number, event["seed"], event["path"]]
                )
            case "Preparing":
                found["phases"].append(
                    [event["time"], event["phase"], event["done"], event["total"]]
                )
                found["ended"] = None
            case "Warned":
                found["warned"].append(event["message"])
            case "Planned":
                found["facts"], found["warned"] = event["facts"], []
            case "Ended":
                found["ended"] = {k: event[k] for k in ("status", "problem", "where", "hint")}
    found["phases"] = found["phases"][-_PHASES:]
    return {**found, "prompts": list(prompts)}


def told_of(folder: Path) -> dict[str, Any]:
    """report.json, and what is said of it in words.

    Raises:
        RunError: It is missing, damaged or of another version.
    """
    from analysis.report_file import read
    from analysis.report_view import example_of

    told = read(folder)
    return {
        **told,
        "folder": str(folder),
        "words": in_words(told, told["verdict"]["sentences"]),
        "example": example_of(told),
    }


def in_words(told: Told, sentences: Sequence[str]) -> dict[str, Any]:
    """What the verdict says beyond its headline, sorted by what a person asks."""
    from analysis.report_faults import faults, ruled_out
    from analysis.report_view import bars, facts, safe

    return {
        "why": [one for one in sentences if not one.startswith(NEXT)],
        "next": [one.removeprefix(NEXT) for one in sentences if one.startswith(NEXT)],
        "facts": facts(told),
        "bars": bars(told),
        "safe": safe(told),
        "ruled": ruled_out(told),
        "faults": faults(told, {}),
    }


def by_rule(folder: Path, rule: str, weights: Sequence[str]) -> dict[str, Any]:
    """The verdict that another rule comes to on the same pictures; nothing is written.

    Raises:
        UserError: The rule or a weight cannot be used, or there is no report.
    """
    from analysis.report_file import read
    from analysis.reranking import reranked
    from trainer.core import toml
    from trainer.job.choosing import AnalysisConfig

    values = {"rule": rule, "weights": list(weights)}
    weighed = toml.parse(AnalysisConfig, values).weight_of
    told = read(folder)
    told["verdict"] = reranked(told, rule, weighed)  # type: ignore[typeddict-item]
    verdict = told["verdict"]
    return {"verdict": verdict, "words": in_words(told, verdict["sentences"])}


def log_of(folder: Path, most: int = 4000) -> str:
    """The end of what the worker printed."""
    path = folder / "worker.log"
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - most))
        return file.read().decode("utf-8", errors="replace")


def problem_of(error: UserError) -> dict[str, str]:
    """A problem in plain values."""
    return {"problem": error.problem, "where": error.where, "hint": error.hint}
