"""Asking for an analysis: the form, what it would cost, and starting it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Body

from app import analyses
from app.sweeps import quoted
from app.ui import forms
from trainer.core.errors import ConfigError, UserError
from trainer.job.choosing import AnalysisConfig

if TYPE_CHECKING:
    from analysis.sweep import Sweep
    from app.errands import Errands
    from app.ui.desk import Desk
    from trainer.job.config import JobConfig

_BASICS = ("strengths", "prompts", "plain_prompts", "seeds", "minutes", "rule", "metrics")
_NOT_ASKED = ("after_training",)
_NAMED = ("base", "family", "dataset", "held_out", "trigger", "class_word", "parts_from")
Asked = Annotated[dict[str, Any], Body()]


def routes(desk: Desk, errands: Errands) -> APIRouter:
    """The form of a sweep, its plan, and its start; and that of finished pictures."""
    router = APIRouter()

    @router.get("/form")
    def form(run: str = "", like: str = "") -> dict[str, Any]:
        return _form(desk, run, like)

    @router.post("/pictures")
    def pictures(asked: Asked) -> dict[str, str]:
        return {"work": _scored(desk, asked)}

    @router.post("/plan")
    def plan(asked: Asked) -> dict[str, Any]:
        return _without_problems(asked, lambda: {"facts": errands.run("plan", _given(desk, asked))})

    @router.post("/start")
    def start(asked: Asked) -> dict[str, Any]:
        return _without_problems(asked, lambda: {"work": _going(desk, asked, errands)})

    return router


def _without_problems(asked: dict[str, Any], work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What the work came to, or what is wrong with what is asked, for the form to show."""
    wrong = forms.problems(AnalysisConfig, forms.tree(asked.get("values") or {}))
    if wrong:
        return {"problems": wrong}
    try:
        return {**work(), "problems": []}
    except UserError as error:
        return {"problems": [_at_field(error)]}


def typed_path(text: str) -> Path:
    """A path that a person typed.

    Raises:
        ConfigError: It is none, or a network path.
    """
    named = text.strip().strip('"')
    if not named:
        raise ConfigError("no path was named", hint="type or paste one")
    if named.startswith(("\\\\", "//")):
        raise ConfigError(
            "network paths are not opened", where=named, hint="map it to a drive, or copy it"
        )
    return Path(named).expanduser().absolute()


def _form(desk: Desk, run: str, like: str) -> dict[str, Any]:
    """The settings of a sweep, with the values that a run gives them.

    Args:
        desk: Knows the runs.
        run: The run whose files are compared; empty for files from anywhere.
        like: A run that tells of those files what they were trained on and for.
    """
    specs = [spec for spec in forms.specs(AnalysisConfig) if spec["path"] not in _NOT_ASKED]
    for spec in specs:
        spec["advanced"] = spec["path"] not in _BASICS
    if not run:
        job = desk.run(like).job if like else None
        values = job.analysis.model_dump(mode="json") if job else {}
        return {"specs": specs, "values": values, "named": _named(job) if job else {}}
    found = desk.run(run)
    files = sorted(path.name for path in found.lora.glob("*.safetensors"))
    return {
        "specs": specs,
        "values": found.job.analysis.model_dump(mode="json"),
        "files": files,
        "analyses": [
            {"name": desk.name_of(one), **analyses.verdict_in_short(one.path)}
            for one in desk.analyses(found)
        ],
    }


def _named(job: JobConfig) -> dict[str, str]:
    """What a job says of its LoRA files."""
    return {
        "base": job.model.base,
        "family": job.model.kind,
        "dataset": str(job.dataset.folder),
        "trigger": job.dataset.trigger,
        "class_word": job.dataset.class_word,
        "held_out": str(job.validation.folder or ""),
        "parts_from": job.model.parts_from,
    }


def _at_field(error: UserError) -> dict[str, str]:
    """A problem, with the field that it is of as the form calls it."""
    told = analyses.problem_of(error)
    return {**told, "where": told["where"].removeprefix("analysis.")}


def _given(desk: Desk, asked: dict[str, Any]) -> dict[str, Any]:
    """What the errands "plan" and "make" take."""
    run = str(asked.get("run") or "")
    sources = (
        [desk.run(run).path] if run else [typed_path(line) for line in asked.get("loras") or []]
    )
    if not sources:
        raise ConfigError("no LoRA file was named", where="loras", hint="paste a path, one a line")
    named = {name: str((asked.get("named") or {}).get(name) or "").strip() for name in _NAMED}
    named["base"] = named["base"] or "demo"
    for name in ("dataset", "held_out"):
        named[name] = str(typed_path(named[name])) if named[name] else ""
    values = asked.get("values") or {}
    overrides = [f"analysis.{name}={_toml(value)}" for name, value in values.items()]
    return {
        "sources": [str(path) for path in sources],
        "named": {**named, "overrides": overrides},
        "runs": str(desk.runs),
    }


def _toml(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return quoted(value) or "[]"
    return json.dumps(value, ensure_ascii=False)


def _twin(desk: Desk, asked: dict[str, Any]) -> Sweep | None:
    """An analysis of the same run that asks for the same and is going on: a second click's."""
    if not asked.get("run"):
        return None
    wanted = forms.tree(asked.get("values") or {})
    for sweep in desk.analyses(desk.run(str(asked["run"]))):
        if sweep.status() in ("running", "waiting") and not (sweep.path / "report.json").exists():
            told = sweep.config.analysis.model_dump(mode="json")
            if all(told.get(name) == value for name, value in wanted.items()):
                return sweep
    return None


def _scored(desk: Desk, asked: dict[str, Any]) -> str:
    """Have finished pictures scored; their folders may be shown from now on.

    Raises:
        ConfigError: A folder cannot be read, or a value means nothing.
        DatasetError: Names do not tell what the pictures are.
    """
    from analysis.folder_work import FolderWork, PicturesConfig
    from trainer.core import toml

    told = {name: str(value).strip() for name, value in asked.items() if str(value).strip()}
    if "folder" not in told:
        raise ConfigError("no folder was named", where="folder", hint="type or paste its path")
    for name in ("folder", "control", "dataset", "held_out"):
        if name in told:
            told[name] = str(typed_path(told[name]))
    work = FolderWork.create(
        toml.parse(PicturesConfig, told), desk.runs / "sweeps", date.today().isoformat()
    )
    for name in ("folder", "control", "dataset"):
        place = Path(told[name]) if name in told else None
        if place is not None:
            desk.open_folder(str(place if place.is_dir() else place.parent))
    desk.start(work)
    return desk.name_of(work)


def _going(desk: Desk, asked: dict[str, Any], errands: Errands) -> str:
    """The name of the analysis that is asked for, started unless a twin of it goes on."""
    from analysis.sweep import Sweep

    twin = _twin(desk, asked)
    if twin is not None:
        return desk.name_of(twin)
    sweep = Sweep.open(Path(errands.run("make", _given(desk, asked))))
    desk.start(sweep)
    return desk.name_of(sweep)
