"""What holds for every page that there is: no page is named here."""

from __future__ import annotations

import pytest

from app.ui.page import all_pages
from tests.browser import keep_picture

pytestmark = pytest.mark.ui
KEYS = [page.key for page in all_pages()]
WIDTHS = (1440, 1024, 390)


@pytest.mark.parametrize("key", KEYS)
def test_a_page_is_accessible_in_both_colours_and_fits_every_width(visit, require_accessible, key):
    """And its console says nothing, and nothing is asked of another machine (`visit`)."""
    page = visit(f"/{key}")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        require_accessible(page)
        keep_picture(page, f"{key}-{scheme}")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        inner = page.evaluate("document.documentElement.scrollWidth")
        assert inner <= width, f"{inner} px wide at {width}"
        keep_picture(page, f"{key}-{width}")


@pytest.mark.parametrize("key", KEYS)
def test_the_first_tab_stop_leads_past_the_rail(visit, key):
    page = visit(f"/{key}")
    page.evaluate("document.activeElement?.blur()")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the page"
    assert page.get_by_role("link", name="Skip to the page").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "page"


def test_pages_are_told_apart_by_their_title_and_the_rail_says_where_one_is(visit):
    page = visit(f"/{KEYS[0]}")
    titles = set()
    for key in KEYS:
        page.goto(page.url.rpartition("/")[0] + f"/{key}")
        page.locator("body[data-ready=yes]").wait_for(state="attached")
        titles.add(page.title())
        assert page.locator("[aria-current=page]").get_attribute("href") == f"/{key}"
    assert len(titles) == len(KEYS)


def test_ten_tabs_of_one_browser_are_all_drawn_and_go_on(visit, server):
    """A browser opens six connections to a server; a page that held one would hang the seventh."""
    first = visit("/runs")
    tabs = [first.context.new_page() for _ in range(9)]
    for tab, key in zip(tabs, KEYS * 2, strict=False):
        tab.goto(f"{server}/{key}")
        tab.locator("body[data-ready=yes]").wait_for(state="attached")
    first.reload()
    first.locator("body[data-ready=yes]").wait_for(state="attached")
    first.get_by_role("heading", name="No runs yet").wait_for()


def test_on_a_phone_every_page_is_within_reach_of_a_thumb(visit):
    page = visit("/settings", width=390)
    boxes = [link.bounding_box() for link in page.locator(".rail li a").all()]
    assert len(boxes) == len(KEYS)
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in boxes)
    assert all(box["width"] >= 24 and box["height"] >= 24 for box in boxes)
