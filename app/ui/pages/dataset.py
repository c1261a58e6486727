"""The pictures before they are trained on: their cuts, their words, and what is wrong with them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Body, Form, Response, UploadFile
from fastapi.responses import JSONResponse

from app.ui import forms
from app.ui.desk import SHIPPED
from app.ui.page import Page, page

if TYPE_CHECKING:
    from app.dataset.lens import Lens
    from app.dataset.looking import Look, Looks
    from app.dataset.work import CaptionWork, Work
    from app.ui.desk import Desk

Values = Annotated[dict[str, Any], Body()]
AUTOMATIC = 500
"""Pictures up to which damage and duplicates are looked for without being asked."""
DEMOS = {"style": "A style: 3D emoji", "subject": "A subject: one cat"}
_SHIPPED = (
    "These pictures ship with Sweetspot and stay as they are; make a copy to change captions."
)


@page
class DatasetPage(Page):
    """Choosing, looking, describing, checking."""

    key = "dataset"
    title = "Dataset"
    lede = "What training will see of each picture, and the words it will read with it."
    place = 10
    icon = (
        '<rect x="3" y="4" width="18" height="16" rx="2"/><circle cx="8.5" cy="9.5" r="1.6"/>'
        '<path d="M4 18l5.5-5 3.5 3 3-2.5 4 3.5"/>'
    )
    wide = True

    def build(self, desk: Desk) -> APIRouter:
        router = APIRouter()
        _add_looking(router, desk)
        _add_places(router, desk)
        _add_receiving(router, desk)
        _add_checks(router, desk)
        _add_captioning(router, desk)
        return router


def _lens(desk: Desk, asked: dict[str, Any]) -> Lens:
    """The folder and settings that a page asks with."""
    from app.dataset.lens import Lens
    from trainer.core import toml

    folder = str(desk.open_folder(str(asked.get("folder", ""))))
    values = {**asked.get("settings", {}), "dataset.folder": folder}
    return toml.parse(Lens, forms.tree(values))


def _locked(folder: Path) -> str:
    real = folder.resolve()
    return _SHIPPED if any(real.is_relative_to(root) for root in SHIPPED) else ""


def _preset_of(folder: Path) -> str:
    """What the demo's pictures are trained with; empty for others."""
    real = folder.resolve()
    return f"sd-{real.name}-demo" if real.parent == SHIPPED[0] and real.name in DEMOS else ""


def _add_looking(router: APIRouter, desk: Desk) -> None:
    from app.dataset.looking import Looks

    looks = Looks()
    _add_words(router, desk, looks)

    @router.get("/settings")
    def settings() -> dict[str, Any]:
        from app.dataset.captioning import CaptioningConfig
        from app.dataset.lens import Lens

        return {"lens": forms.specs(Lens), "captioning": forms.specs(CaptioningConfig)}

    @router.post("/view")
    def view(asked: Values) -> Response:
        from app.dataset.glance import View, signature

        lens = _lens(desk, asked)
        state = signature(lens.dataset.folder)
        found = looks.see(lens, _locked(lens.dataset.folder))
        if isinstance(found, View):
            vary = lens.dataset.captions_vary or lens.dataset.caption_dropout > 0
            told = {
                "view": asdict(found),
                "signature": state,
                "vary": vary,
                "shipped": bool(_locked(lens.dataset.folder)),
                "preset": _preset_of(lens.dataset.folder),
            }
            return JSONResponse(told)  # what FastAPI would check once more, card by card
        return JSONResponse({"looking": _pace(found)})

    @router.get("/state")
    def state(folder: str) -> dict[str, str]:
        from app.dataset.glance import signature
        from app.dataset.places import here

        return {"signature": signature(here(folder))}


def _add_words(router: APIRouter, desk: Desk, looks: Looks) -> None:
    @router.post("/words")
    def words(asked: Values) -> list[dict[str, str]]:
        from app.dataset.findings import of_words
        from app.dataset.glance import current

        lens = _lens(desk, asked)
        return list(of_words(current(lens, looks.headers).pictures, lens.dataset))

    @router.post("/say")
    def say(asked: Values) -> list[str]:
        from app.checks import said

        lens = _lens(desk, asked)
        how = {"seed": lens.seed, "epoch": lens.epoch}
        return [
            said(str(item["caption"]), lens.dataset, number=int(item["number"]), **how)
            for item in asked.get("items", [])
        ]

    @router.post("/save")
    def save(asked: Values) -> dict[str, Any]:
        from app.dataset.saving import Change, save
        from trainer.core.errors import DatasetError

        lens = _lens(desk, asked)
        if locked := _locked(lens.dataset.folder):
            raise DatasetError(locked, where=str(lens.dataset.folder))
        changes = [
            Change(str(one["name"]), str(one["text"]), str(one["was"]))
            for one in asked.get("changes", [])
        ]
        return asdict(save(lens, looks.headers, changes))


def _pace(look: Look) -> dict[str, Any]:
    took = time.monotonic() - look.began
    left = took / look.done * (look.total - look.done) if look.done else None
    return {"done": look.done, "total": look.total, "left": left}


def _add_places(router: APIRouter, desk: Desk) -> None:
    @router.get("/places")
    def places(path: str = "") -> dict[str, Any]:
        from app.dataset.places import place, starts

        return {**asdict(place(path)), "starts": starts(desk.settings.opened)}

    @router.get("/known")
    def known() -> dict[str, Any]:
        from app.dataset.receiving import default_place

        before = [path for path in reversed(desk.settings.opened) if Path(path).is_dir()]
        demos = [_demo(SHIPPED[0] / name, title) for name, title in DEMOS.items()]
        return {"opened": before[:12], "demos": demos, "place": str(default_place())}


def _demo(folder: Path, title: str) -> dict[str, Any]:
    pictures = sorted(str(path) for path in folder.glob("*.png"))
    return {"folder": str(folder), "title": title, "pictures": pictures[-4:]}


def _add_receiving(router: APIRouter, desk: Desk) -> None:
    @router.post("/new")
    def new(asked: Values) -> dict[str, str]:
        from app.dataset.receiving import new_folder

        made = new_folder(str(asked.get("name", "")), str(asked.get("place", "")))
        return {"folder": str(desk.open_folder(str(made)))}

    @router.post("/receive")
    def receive(
        files: list[UploadFile], folder: Annotated[str, Form()], names: Annotated[list[str], Form()]
    ) -> list[dict[str, str]]:
        from app.dataset.places import local
        from app.dataset.receiving import receive

        named = names if len(names) == len(files) else [file.filename or "" for file in files]
        pairs = zip(named, files, strict=True)
        made = local(folder)
        return [asdict(receive(made, name, file.file)) for name, file in pairs]

    @router.post("/copy")
    def copy(asked: Values) -> dict[str, str]:
        from app.dataset.receiving import copy_of

        folder = desk.open_folder(str(asked.get("folder", "")))
        made = copy_of(folder, str(asked.get("name", "")))
        return {"folder": str(desk.open_folder(str(made)))}


def _add_checks(router: APIRouter, desk: Desk) -> None:
    @router.post("/check")
    def check(asked: Values) -> dict[str, Any]:
        from app.dataset.work import CheckWork

        work = CheckWork.of(_lens(desk, asked).dataset)
        if asked.get("start") and work.status() not in ("running", "completed"):
            desk.ensure(work)
        told = _standing(desk, work)
        return {**told, "found": list(work.found()) if told["status"] == "completed" else []}

    @router.post("/check/stop")
    def stop(asked: Values) -> dict[str, Any]:
        from app.dataset.work import CheckWork

        work = CheckWork.of(_lens(desk, asked).dataset)
        work.ask_to_stop()
        return _standing(desk, work)


def _standing(desk: Desk, work: Work) -> dict[str, Any]:
    """How far a task is, with the seconds that it will still take."""
    brief = desk.tails.brief(work)
    took = brief.latest - brief.began
    left = took / brief.done * (brief.total - brief.done) if brief.done else None
    died = "its process ended without a word" if brief.status == "died" else ""
    return {
        "name": work.name,
        "status": brief.status,
        "phase": brief.phase,
        "done": brief.done,
        "total": brief.total,
        "left": left,
        "problem": brief.problem or died,
        "hint": brief.hint,
    }


def _add_captioning(router: APIRouter, desk: Desk) -> None:
    from app.dataset.work import CaptionWork

    def told(work: CaptionWork, seen: int = 0) -> dict[str, Any]:
        results = list(work.found())
        return {**_standing(desk, work), "results": results[seen:], "count": len(results)}

    @router.post("/captioning/start")
    def start(asked: Values) -> dict[str, Any]:
        from app.dataset.captioning import parse

        folder = desk.open_folder(str(asked.get("folder", "")))
        config = parse(forms.tree(asked.get("values", {})))
        settings = {"captioning": config.model_dump(mode="json"), "device": desk.settings.device}
        names = [str(name) for name in asked.get("names", [])]
        work = CaptionWork.create(folder, names, settings)
        desk.start(work)
        return told(work)

    @router.get("/captioning")
    def captioning(folder: str = "", name: str = "", seen: int = 0) -> dict[str, Any]:
        work = CaptionWork.open(name) if name else CaptionWork.of(Path(folder))
        return told(work, seen) if work else {"status": "none"}

    act: dict[str, Callable[[CaptionWork], None]] = {
        "stop": lambda work: work.ask_to_stop(),
        "take": lambda work: work.take(),
    }

    @router.post("/captioning/{what}")
    def change(what: str, asked: Values) -> dict[str, Any]:
        work = CaptionWork.open(str(asked.get("name", "")))
        if what in act:
            act[what](work)
        return told(work)
