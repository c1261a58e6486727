"""report.json as a page that opens from disk, as tables, and as one contact sheet.

Everything is made from report.json and the pictures it names; nothing is measured here.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image

from analysis import report_tables
from analysis.findings import NAME, VERSION
from trainer.core.errors import RunError
from trainer.core.files import write_atomically
from trainer.data.prior import as_png

ASSETS = Path(__file__).parents[1] / "assets" / "report"

_BUDGET = 9_000_000
"""Bytes of pictures that a page should stay under; base64 adds a third."""

_SIDES = (256, 192, 128, 96, 64)
"""Sides to shrink to, px, until the pictures fit."""

_QUALITY = 85


def write(folder: Path) -> Path:
    """Write report.html, scores.csv, contact-sheet.png, and scores.parquet where pyarrow is there.

    Raises:
        RunError: report.json is missing, damaged, or of a newer version.
        ResourceError: The folder cannot be written.
    """
    told = read(folder)
    report_tables.write(folder, told)
    sheet = report_tables.contact_sheet(folder, told)
    if sheet is not None:
        write_atomically(folder / "contact-sheet.png", as_png(sheet))
    page = folder / "report.html"
    write_atomically(page, render(folder, told))
    return page


def read(folder: Path) -> dict[str, Any]:
    """The folder's report.json.

    Raises:
        RunError: It is missing, damaged, or of a newer version.
    """
    path = folder / NAME
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        version = told["version"]
    except FileNotFoundError:
        raise RunError(
            f"there is no {NAME} here", where=str(folder), hint="`sweetspot analyse` writes it"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"the file is damaged: {error}",
            where=str(path),
            hint="analyse again; pictures that are there are not rendered again",
        ) from None
    if version != VERSION:
        raise RunError(
            f"the report is of version {version}, this Sweetspot reads version {VERSION}",
            where=str(path),
            hint="update Sweetspot",
        )
    found: dict[str, Any] = told
    return found


def render(folder: Path, told: Mapping[str, Any]) -> str:
    """The page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    rows = [*told["controls"], *told["cells"]]
    album = embed(folder, [row["picture"] for row in rows if row["picture"]])
    environment = Environment(
        loader=FileSystemLoader(ASSETS), autoescape=True, undefined=StrictUndefined
    )
    page: str = environment.get_template("page.html.j2").render(
        told=told,
        css=Markup((ASSETS / "page.css").read_text(encoding="utf-8")),
        js=Markup((ASSETS / "page.js").read_text(encoding="utf-8")),
        data=_as_script({**told, "pictures": album.sources}),
        shrunk=album.shrunk,
        badge={"chosen": "chosen", "cannot tell apart": "open"}.get(
            told["verdict"]["state"], "none"
        ),
        rendered=len(album.sources),
        chance=_chance(told["verdict"]),
        **_example(told, album.sources),
        columns=report_tables.columns(told),
        rows=report_tables.rows(told),
        failed=report_tables.failed(told),
    )
    return page


@dataclass(frozen=True, slots=True)
class Album:
    """Pictures as data URIs.

    Attributes:
        sources: By the file's name in report.json.
        shrunk: The side that they were shrunk to, px; 0 when they were not.
    """

    sources: dict[str, str]
    shrunk: int


def embed(folder: Path, names: Sequence[str]) -> Album:
    """All pictures as small WebP, so small that the page stays light."""
    unique = list(dict.fromkeys(name for name in names if (folder / name).is_file()))
    few = unique[:: max(1, len(unique) // 24)]
    side = next(
        (s for s in _SIDES if _size_of(folder, few, s) * len(unique) <= _BUDGET), _SIDES[-1]
    )
    shrunk, sources = 0, {}
    for name in unique:
        content, smaller = _webp(folder / name, side)
        shrunk = side if smaller else shrunk
        sources[name] = "data:image/webp;base64," + base64.b64encode(content).decode()
    return Album(sources, shrunk)


def _size_of(folder: Path, names: Sequence[str], side: int) -> float:
    sizes = [len(_webp(folder / name, side)[0]) for name in names]
    return sum(sizes) / max(1, len(sizes))


def _webp(path: Path, side: int) -> tuple[bytes, bool]:
    """The picture as WebP, and whether it had to be made smaller."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    smaller = max(picture.size) > side
    if smaller:
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", quality=_QUALITY, method=4)
    return buffer.getvalue(), smaller


def _as_script(values: Mapping[str, Any]) -> Markup:
    """JSON that no text in it can end the script block of."""
    text = json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    safe = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return Markup(safe.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def _chance(verdict: Mapping[str, Any]) -> str | None:
    choice = verdict["choice"]
    for one in verdict["chance"]:
        if choice and (one["epoch"], one["strength"]) == (choice["epoch"], choice["strength"]):
            return f"{100 * one['p']:.0f}%"
    return None


def _example(told: Mapping[str, Any], sources: Mapping[str, str]) -> dict[str, Any]:
    """The chosen setting's first picture, beside the base model's."""
    choice = told["verdict"]["choice"]
    shown: dict[str, Any] = {"before": None, "after": None, "example": "", "chosen": ""}
    if choice is None:
        return shown
    controls = {(c["prompt"], c["seed"]): c["picture"] for c in told["controls"]}
    for cell in told["cells"]:
        same = (cell["epoch"], cell["strength"]) == (choice["epoch"], choice["strength"])
        before = sources.get(controls.get((cell["prompt"], cell["seed"])) or "")
        after = sources.get(cell["picture"] or "")
        if same and before and after:
            prompt = told["prompts"][cell["prompt"]]["text"]
            return {
                "before": Markup(before),
                "after": Markup(after),
                "example": f"“{prompt}”, seed {told['seeds'][cell['seed']]}",
                "chosen": f"epoch {choice['epoch']} at {choice['strength']:g}",
            }
    return shown
