"""The page the app opens on: what runs, what was learned, and where to begin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter

from app.ui.health import Health
from app.ui.page import Page, page
from app.ui.rows import Rows
from trainer.job.run import Run

if TYPE_CHECKING:
    from app.ui.desk import Desk

RECENT = 8


@page
class HomePage(Page):
    """What a person sees first."""

    key = "home"
    title = "Home"
    lede = (
        "From a folder of pictures to a LoRA, and to the epoch and strength that are worth keeping."
    )
    place = 0
    icon = '<path d="M4 11l8-7 8 7"/><path d="M6 9.5V20h12V9.5"/>'

    def build(self, desk: Desk) -> APIRouter:
        router = APIRouter()
        rows, health = Rows(desk), Health()

        @router.get("/recent")
        def recent() -> dict[str, Any]:
            count = sum(isinstance(entry.work, Run) for entry in desk.entries())
            return {"runs": rows.recent(RECENT), "count": count, "folder": str(desk.runs)}

        @router.get("/doctor")
        def doctor() -> dict[str, Any]:
            return health.told(desk.runs)

        @router.post("/doctor")
        def look_again() -> dict[str, Any]:
            return health.told(desk.runs, again=True)

        return router
