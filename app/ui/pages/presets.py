"""Presets: the library, one preset, taking in and giving away, libraries from elsewhere."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from app import catalogue, library
from app.recipes import hidden_by
from app.ui.desk import as_json
from app.ui.page import Page, page
from trainer.core.errors import ConfigError
from trainer.job.importers.account import Imported
from trainer.job.preset import MOST_BYTES, Preset, render_preset
from trainer.job.run import runs_in
from trainer.job.sharing import from_string, to_string

if TYPE_CHECKING:
    from app.ui.desk import Desk

MOST_RUNS = 200
"""That are offered to make a preset of."""


class Named(BaseModel):
    """A preset, or a library, by its name."""

    name: str = Field(max_length=200)


class Source(BaseModel):
    """A preset of the library by its reference, or one that was given, as its string."""

    ref: str = Field("", max_length=200)
    string: str = Field("", max_length=4 * MOST_BYTES)


class Compared(BaseModel):
    """Two presets; an empty one stands for the defaults."""

    one: Source = Source()
    other: Source = Source()


class About(BaseModel):
    """What a person says of a preset that is kept."""

    name: str = Field(max_length=200)
    sentence: str = Field("", max_length=2000)
    author: str = Field("", max_length=500)
    licence: str = Field("", max_length=500)
    tested: str = Field("", max_length=2000)
    tags: list[str] = []


class Kept(BaseModel):
    """A preset to put among one's own."""

    preset: Source
    about: About
    replace: bool = False


class OfRun(BaseModel):
    """A run to make a preset of."""

    run: str = Field(max_length=300)
    about: About
    include: list[str] = []


class Added(BaseModel):
    """A library: a folder, or a git repository's address."""

    source: str = Field(max_length=1000)
    name: str = Field("", max_length=200)


@page
class PresetsPage(Page):
    """Recipes to choose from, to share and to take in."""

    key = "presets"
    title = "Presets"
    lede = "Recipes: how to train for a purpose, on a model family, with the memory of your card."
    place = 60
    icon = (
        '<path d="M4 7h9M17 7h3M4 17h3M11 17h9"/><circle cx="15" cy="7" r="2"/>'
        '<circle cx="9" cy="17" r="2"/>'
    )

    def build(self, desk: Desk) -> APIRouter:
        router = APIRouter()
        _reading(router)
        _sharing(router, desk)
        _keeping(router)
        _making(router, desk)
        _libraries(router, desk)
        return router


def _reading(router: APIRouter) -> None:
    known = catalogue.shared()

    @router.get("/all")
    def everything() -> dict[str, Any]:
        shelves = [asdict(shelf) | {"folder": str(shelf.folder)} for shelf in library.libraries()]
        rows = known.rows()
        for shelf in shelves:
            shelf["count"] = sum(row["shelf"] == shelf["name"] for row in rows)
            shelf["copied"] = shelf["source"] != shelf["folder"]
        problems = [as_json(problem) for problem in known.problems]
        return {"presets": rows, "problems": problems, "libraries": shelves}

    @router.get("/one")
    def one(ref: str) -> dict[str, Any]:
        entry = known.find(ref)
        row = next(row for row in known.rows() if row["ref"] == ref)
        return {**row, "file": str(entry.path), **_contents(entry.preset)}

    @router.post("/compare")
    def compare(asked: Compared) -> dict[str, Any]:
        one, other = _preset(asked.one), _preset(asked.other)
        rows = catalogue.changes(one.settings if one else {}, other.settings if other else {})
        rates = [catalogue.told(p)["rate_in_words"] if p else "" for p in (one, other)]
        return {"rows": rows, "rates": rates}


def _sharing(router: APIRouter, desk: Desk) -> None:
    @router.get("/toml")
    def as_toml(ref: str) -> Response:
        preset = catalogue.shared().find(ref).preset
        return _download(render_preset(preset).encode(), f"{preset.name}.toml", "application/toml")

    @router.get("/card")
    def as_card(ref: str, run: str = "") -> Response:
        from app.preset_card import card, pairs_of

        preset = catalogue.shared().find(ref).preset
        pairs = pairs_of(desk.run(run)) if run else []
        return _download(card(preset, pairs), f"{preset.name}.png", "image/png", show=not run)

    @router.post("/read")
    async def read(request: Request, name: str = "") -> dict[str, Any]:
        from app.received import MOST_BYTES as MOST
        from app.received import received

        content = bytearray()
        async for part in request.stream():
            content += part
            if len(content) > MOST:
                raise ConfigError(f"it is larger than {MOST // 2**20} MiB", where=name[:100])
        return await run_in_threadpool(lambda: _preview(received(name[:300], bytes(content))))


def _keeping(router: APIRouter) -> None:
    @router.post("/keep")
    def keep(asked: Kept) -> dict[str, Any]:
        from app.authoring import told_anew

        found = _preset(asked.preset)
        if found is None:
            raise ConfigError("there is no preset to keep")
        preset = told_anew(found, _said(asked.about))
        if library.holds(preset.name) and not asked.replace:
            return {"taken": preset.name}
        library.save(preset, replace=asked.replace)
        return {"ref": f"{library.OWN}/{preset.name}"}

    @router.post("/delete")
    def delete(asked: Named) -> dict[str, Any]:
        library.forget(asked.name)
        return {}


def _making(router: APIRouter, desk: Desk) -> None:
    @router.get("/runs")
    def runs() -> list[str]:
        return [run.name for run in runs_in(desk.runs)[:MOST_RUNS]]

    @router.get("/personal")
    def personal(run: str) -> list[dict[str, Any]]:
        """What of the run's settings stays here unless its person says otherwise."""
        from app.authoring import personal_of

        return personal_of(desk.run(run).job)

    @router.post("/of-run")
    def of_run(asked: OfRun) -> dict[str, Any]:
        from app.authoring import of_run

        return _preview(of_run(desk.run(asked.run), _said(asked.about), asked.include))


def _libraries(router: APIRouter, desk: Desk) -> None:
    @router.post("/library")
    def add(asked: Added) -> dict[str, Any]:
        source = asked.source.strip().strip('"')
        if not source:
            raise ConfigError("no folder or address was named", where="source")
        if source.startswith(("\\\\", "//")):
            raise ConfigError("network paths are not opened", where=source)
        if desk.settings.offline and not Path(source).expanduser().exists():
            raise ConfigError(
                "Sweetspot is set to ask the network for nothing",
                where=source,
                hint="a folder of this computer, or the switch on the Settings page",
            )
        shelf, count = library.add_library(source, asked.name.strip())
        return {"name": shelf.name, "count": count}

    @router.post("/library/update")
    def update() -> list[dict[str, Any]]:
        if desk.settings.offline:
            raise ConfigError("Sweetspot is set to ask the network for nothing")
        return [{"name": shelf.name, "count": n} for shelf, n in library.update_libraries()]

    @router.post("/library/remove")
    def remove(asked: Named) -> dict[str, Any]:
        return {"name": library.remove_library(asked.name).name}


def _preset(source: Source) -> Preset | None:
    if source.string:
        return from_string(source.string)
    return catalogue.shared().find(source.ref).preset if source.ref else None


def _said(about: About) -> dict[str, Any]:
    """What was filled in; what is empty stays as it was."""
    return {name: value for name, value in about.model_dump().items() if value}


def _contents(preset: Preset) -> dict[str, Any]:
    """What is inside: its settings that are not the defaults, and the string to give it away."""
    return {"rows": catalogue.changes({}, preset.settings), "string": to_string(preset)}


def _preview(found: Preset | Imported) -> dict[str, Any]:
    """What would be taken in, before anything is."""
    if isinstance(found, Preset):
        return _offered(found)
    from app.imported import as_preset, facts

    told = facts(found, "")
    answer = {name: told[name] for name in ("trainer", "keys", "counts", "account", "assumed")}
    answer |= {"problems": [f"{where}: {why}" for where, why in found.problems.items()]}
    answer["files"] = [path.name for path in found.files]
    try:
        return answer | _offered(as_preset(found, _name_from(found.files[0])))
    except ConfigError as error:
        return answer | {"refused": as_json(error)}


def _offered(preset: Preset) -> dict[str, Any]:
    name = preset.name
    kept = {"have": library.holds(name), "hides": hidden_by(name)}
    return {**catalogue.told(preset), **_contents(preset), **kept}


def _name_from(path: Path) -> str:
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in path.stem)
    return kept.strip("-._")[:64] or "imported"


def _download(content: bytes, name: str, kind: str, *, show: bool = False) -> Response:
    how = "inline" if show else "attachment"
    return Response(
        content, media_type=kind, headers={"Content-Disposition": f'{how}; filename="{name}"'}
    )
