"""A page of the app: a file in `app/ui/pages`, found by looking, and a module of the browser's.

The page's own script is `assets/ui/pages/KEY.js`, which draws into the page and asks the routes
that the page's file answers. Nothing else knows which pages there are.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from fastapi import APIRouter

    from app.ui.desk import Desk


class Page(ABC):
    """What a page is called, where it stands in the rail, and what it answers.

    Class attributes:
        key: Its address and the name of its script.
        title: Its name in the rail and its heading.
        lede: One sentence below the heading.
        place: Its place in the rail; lower is higher up.
        icon: The inside of an SVG of 24 x 24 px, drawn in lines.
        wide: Whether it takes the whole width of the window.
    """

    key: ClassVar[str]
    title: ClassVar[str]
    lede: ClassVar[str]
    place: ClassVar[int]
    icon: ClassVar[str]
    wide: ClassVar[bool] = False

    @abstractmethod
    def build(self, desk: Desk) -> APIRouter:
        """The routes below `/api/KEY` that the page's script asks."""


_pages: dict[str, type[Page]] = {}


def page(cls: type[Page]) -> type[Page]:
    """Class decorator: make a page known."""
    if cls.key in _pages:
        raise ValueError(f"two files define the page {cls.key!r}")
    _pages[cls.key] = cls
    return cls


def all_pages() -> list[Page]:
    """Every page, in the order of the rail."""
    package = importlib.import_module("app.ui.pages")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"app.ui.pages.{module.name}")
    return sorted((cls() for cls in _pages.values()), key=lambda found: found.place)
