"""The page where LoRAs are tried: pictures from a prompt, made by a process of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

from app.generate.asked import Asked
from app.generate.studio import Studio
from app.ui import studios
from app.ui.desk import as_json
from app.ui.page import Page, page
from trainer.core import toml
from trainer.core.errors import ConfigError, UserError

if TYPE_CHECKING:
    from app.ui.desk import Desk

SHOWN = 30
"""Orders on the page at first; more on demand."""
MOST_SHOWN = 500
_LARGEST_PICTURE = 32_000_000
"""Bytes of a picture that is dropped for its recipe."""


class Named(BaseModel):
    """One of the orders."""

    id: str


class Seen(Named):
    """One picture of an order."""

    seed: int


@page
class GeneratePage(Page):
    """Try what was learned."""

    key = "generate"
    title = "Generate"
    lede = "Try LoRAs, alone or together. Every picture keeps the recipe that made it."
    place = 50
    icon = (
        '<rect x="4" y="4" width="16" height="16" rx="3"/><path d="M4 16l5-5 4 4 3-3 4 4"/>'
        '<circle cx="15.5" cy="8.5" r="1.3"/>'
    )
    wide = True

    def build(self, desk: Desk) -> APIRouter:
        router = APIRouter()
        _add_orders(router, desk)
        _add_one(router, desk)
        _add_loras(router, desk)
        return router


def _add_orders(router: APIRouter, desk: Desk) -> None:
    @router.get("/state")
    def state(shown: int = SHOWN) -> dict[str, Any]:
        return studios.newest(desk, min(shown, MOST_SHOWN))

    @router.post("/ask")
    def ask_for(values: dict[str, Any]) -> dict[str, Any]:
        problems: Sequence[UserError] = toml.problems(Asked, values)
        try:
            if not problems:
                order = studios.settled(desk, toml.parse(Asked, values))
                return {"id": studios.ask(desk, order).name, "seed": order.seed}
        except UserError as error:
            problems = [error]
        return {"id": "", "problems": [as_json(one) for one in problems]}

    @router.post("/free")
    def free() -> dict[str, Any]:
        Studio.below(desk.runs).ask_to_stop()
        return {}


def _add_one(router: APIRouter, desk: Desk) -> None:
    """Routes about one order or one of its pictures."""

    @router.post("/stop")
    def stop(named: Named) -> dict[str, Any]:
        Studio.below(desk.runs).find(named.id).ask_to_stop()
        return {}

    @router.post("/remove")
    def remove(named: Named) -> dict[str, Any]:
        studio = Studio.below(desk.runs)
        studio.remove(studio.find(named.id))
        return {}

    @router.post("/control")
    def control(seen: Seen) -> dict[str, Any]:
        studio = Studio.below(desk.runs)
        order = studio.find(seen.id).order
        path = studio.control(order, seen.seed)
        if path.is_file():
            return {"path": str(path), "id": ""}
        alone = {"loras": (), "seed": seen.seed, "pictures": 1, "control": True}
        return {"path": str(path), "id": studios.ask(desk, order.model_copy(update=alone)).name}

    @router.get("/order")
    def order(id: str) -> dict[str, Any]:
        return studios.one(desk, id)


def _add_loras(router: APIRouter, desk: Desk) -> None:
    from app.generate import recipe, shelf

    @router.get("/loras")
    def loras(words: str = "") -> list[dict[str, Any]]:
        return [asdict(rack) for rack in shelf.racks(desk.runs, words)]

    @router.get("/lora")
    def lora(path: str) -> dict[str, Any]:
        known = shelf.about(path, desk.runs)
        ground = known.ground
        usual = {"steps": ground.steps, "guidance": ground.guidance, "side": ground.side}
        told = {"path": str(known.path), "name": known.path.name, "run": known.run}
        return {
            **told,
            "family": known.family,
            "rank": known.rank,
            "epoch": known.epoch,
            "strength": known.strength,
            "prompts": known.prompts,
            "base": ground.model.base,
            "known": ground.known,
            "usual": usual,
        }

    @router.get("/bases")
    def bases() -> list[str]:
        return shelf.bases(desk.runs)

    @router.post("/recipe")
    async def read_recipe(request: Request) -> dict[str, Any]:
        content = await _limited(request)
        told = await run_in_threadpool(recipe.read, content)
        files = await run_in_threadpool(shelf.files_of, told, desk.runs)
        loras = [{"name": n, "file": str(f) if f else "", "strength": s} for n, f, s in files]
        return {**asdict(told), "loras": loras}


async def _limited(request: Request) -> bytes:
    """The body of a request.

    Raises:
        ConfigError: It is larger than pictures are.
    """
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > _LARGEST_PICTURE:
            raise ConfigError("the file is too large for a picture's recipe", where="32 MB at most")
    return bytes(content)
