"""What stands around every page: the rail, the heading, styles and scripts."""

from __future__ import annotations

import functools
from typing import Any

from app.ui.desk import ROOT, Desk
from app.ui.page import Page

ASSETS = ROOT / "assets" / "ui"


def draw(page: Page, pages: list[Page], desk: Desk) -> str:
    """The page as HTML; its script fills it."""
    styled = (ASSETS / "pages" / f"{page.key}.css").is_file()
    theme = desk.settings.theme
    return str(_template().render(page=page, pages=pages, theme=theme, styled=styled))


@functools.cache
def _template() -> Any:
    import jinja2

    loader = jinja2.FileSystemLoader(ASSETS)
    return jinja2.Environment(loader=loader, autoescape=True).get_template("shell.html.j2")
