"""The studio of a desk's runs folder: asking for pictures, and how those stand."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from app.generate.asked import Asked, Machine, Order, settle
from app.generate.studio import Placed, Studio
from app.generate.view import progress, shown
from app.generate.waking import Waker

if TYPE_CHECKING:
    from app.ui.desk import Desk


def settled(desk: Desk, asked: Asked) -> Order:
    """What is asked, with all that it leaves open chosen for this machine.

    Raises:
        UserError: A LoRA or the base model cannot be used.
    """
    settings = desk.settings
    return settle(asked, Machine(desk.runs, settings.device, settings.precision))


def ask(desk: Desk, order: Order) -> Placed:
    """Keep an order, and have a process render it."""
    studio = Studio.below(desk.runs)
    placed = studio.add(order)
    waker(desk).wake(studio)
    return placed


def one(desk: Desk, name: str) -> dict[str, Any]:
    """How an order stands; its process is started again where it is gone.

    Raises:
        RunError: There is no such order.
    """
    studio = Studio.below(desk.runs)
    alive = waker(desk).wake(studio)
    told = shown(studio, studio.find(name), alive=alive)
    return {**told, "progress": progress(studio) if told["status"] == "running" else None}


def newest(desk: Desk, count: int) -> dict[str, Any]:
    """The newest orders, and what the process that renders is at.

    Orders that are only wanted to compare with stand beside their pictures, and not here.
    """
    studio = Studio.below(desk.runs)
    alive = waker(desk).wake(studio)
    orders = studio.orders()
    rows = [shown(studio, placed, alive=alive) for placed in orders[:count]]
    return {
        "alive": alive,
        "progress": progress(studio) if alive else None,
        "orders": [row for row in rows if not (row["asked"] and row["asked"]["control"])],
        "more": len(orders) > count,
    }


@functools.lru_cache(maxsize=8)
def waker(desk: Desk) -> Waker:
    """Who starts the process that renders; one for a server."""
    return Waker(desk.start)
