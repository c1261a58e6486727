"""What a person sets once: folders, device, network, look, and the token of the model hub."""

from __future__ import annotations

import platform
import threading
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Body

from app import effect, machine, tokens
from app.home import home
from app.settings import FILE, AppSettings, load_settings, save_settings
from app.ui import forms
from app.ui.page import Page, page
from trainer.core.errors import ConfigError, UserError

if TYPE_CHECKING:
    from app.ui.desk import Desk

Values = Annotated[dict[str, Any], Body()]
_LISTED = "opened"
"""Drawn as a list of its own."""


class Devices:
    """What the machine has, looked at once; a look that failed is taken again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: list[dict[str, Any]] | None = None

    def found(self) -> list[dict[str, Any]]:
        """Every device.

        Raises:
            ResourceError: They cannot be told.
        """
        with self._lock:
            if self._found is None:
                self._found = machine.look()
            return self._found


_devices = Devices()


@page
class SettingsPage(Page):
    """Settings of the app; jobs have their own."""

    key = "settings"
    title = "Settings"
    lede = "For this computer, and for every job that does not say otherwise."
    place = 80
    icon = (
        '<circle cx="12" cy="12" r="3.2"/>'
        '<path d="M12 3v3M12 18v3M3 12h3M18 12h3M5.6 5.6l2.1 2.1M16.3 16.3l2.1 2.1'
        'M18.4 5.6l-2.1 2.1M7.7 16.3l-2.1 2.1"/>'
    )

    def build(self, desk: Desk) -> APIRouter:
        router = APIRouter()

        @router.get("/all")
        def everything() -> dict[str, Any]:
            return _everything(desk)

        @router.get("/devices")
        def there() -> list[dict[str, Any]]:
            return _devices.found()

        @router.post("/save")
        def save(values: Values) -> dict[str, Any]:
            return _save(values)

        @router.post("/theme")
        def theme(values: Values) -> dict[str, str]:
            return {"theme": save_settings({"theme": values.get("theme")}).theme}

        @router.post("/close")
        def close(values: Values) -> list[str]:
            desk.close_folder(str(values.get("folder", "")))
            return list(desk.settings.opened)

        @router.post("/token")
        def token(values: Values) -> dict[str, str]:
            tokens.keep(str(values.get("token", "")))
            return tokens.state()

        @router.post("/token/forget")
        def forget() -> dict[str, str]:
            tokens.forget()
            return tokens.state()

        return router


def _everything(desk: Desk) -> dict[str, Any]:
    problem = ""
    try:
        settings = load_settings()
    except ConfigError as error:
        settings, problem = AppSettings(), str(error)
    return {
        "specs": [spec for spec in forms.specs(AppSettings) if spec["path"] != _LISTED],
        "values": settings.model_dump(mode="json", exclude={_LISTED}),
        "opened": list(settings.opened),
        "problem": problem,
        "fixed": [name for name in ("offline", "device", "precision") if effect.fixed(name)],
        "offline": effect.offline(),
        "token": tokens.state(),
        "facts": {
            "Version": metadata.version("sweetspot"),
            "Python": platform.python_version(),
            "Runs, sweeps and the queue": str(desk.runs),
            "These settings": str(home() / FILE),
            "Presets of yours": str(home() / "presets"),
            "Thumbnails": str(home() / "thumbs"),
        },
    }


def _save(values: dict[str, Any]) -> dict[str, Any]:
    """Save what is right as a whole, or tell what is wrong with it."""
    problems = forms.problems(AppSettings, forms.tree(values))
    if not problems:
        problems = [*_runs_problem(values), *_device_problem(values)]
    if problems:
        return {"problems": problems}
    settings = save_settings(values)
    effect.take(settings)
    return {"problems": [], "values": settings.model_dump(mode="json", exclude={_LISTED})}


def _runs_problem(values: dict[str, Any]) -> list[dict[str, str]]:
    import tempfile

    runs = AppSettings(runs=values.get("runs", "runs")).runs.expanduser().absolute()
    try:
        runs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=runs):
            return []
    except OSError as error:
        told = f"nothing can be written to {runs}: {error.strerror}"
        return [{"where": "runs", "problem": told, "hint": "a folder of yours"}]


def _device_problem(values: dict[str, Any]) -> list[dict[str, str]]:
    """Whether this machine has the device, and the device the precision."""
    device, precision = values.get("device", "auto"), values.get("precision", "auto")
    if device == "auto":
        return []
    try:
        there = {each["name"]: each for each in _devices.found()}
    except UserError as error:
        return [{**forms.told(ConfigError(error.problem, hint=error.hint)), "where": "device"}]
    if device not in there:
        told = f"this machine has no device {device!r}"
        return [{"where": "device", "problem": told, "hint": f"auto, {', '.join(there)}"}]
    if precision not in ("auto", *there[device]["precisions"]):
        told = f"{device} does not train in {precision}"
        hint = ", ".join(there[device]["precisions"])
        return [{"where": "precision", "problem": told, "hint": hint}]
    return []
