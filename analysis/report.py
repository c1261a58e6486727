"""report.json as a page that opens from disk, as tables, and as one contact sheet.

Everything is made from report.json and the pictures it names; nothing is measured here.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.contact import contact_sheet
from analysis.report_album import Album, album
from analysis.report_file import Told, read
from analysis.report_tables import write_tables
from analysis.report_view import example_names, example_of, view
from trainer.core.files import write_atomically
from trainer.data.prior import as_png

ASSETS = Path(__file__).parents[1] / "assets" / "report"
_SCRIPTS = ("base.js", "maps.js", "plots.js", "pictures.js", "page.js")
"""In the order in which they are run, as one."""

_DIGITS = 6
"""Significant digits of numbers in the page; the tables have them whole."""


def write(folder: Path) -> Path:
    """Write report.html, scores.csv, contact-sheet.png, and scores.parquet where pyarrow is there.

    Returns:
        Where the page is.

    Raises:
        RunError: report.json is missing, damaged, or of another version.
        ResourceError: The folder cannot be written.
    """
    told = read(folder)
    write_tables(folder, told)
    names = [one["picture"] for one in (*told["controls"], *told["cells"]) if one["picture"]]
    names += [one["control"]["picture"] for one in told["cells"] if "control" in one]
    names = list(dict.fromkeys(names))
    pictures = album(folder, names, favoured=example_names(told))
    sheet = contact_sheet(folder, told, pictures.sources.keys())
    if sheet is not None:
        write_atomically(folder / "contact-sheet.png", as_png(sheet))
    page = folder / "report.html"
    write_atomically(page, render(told, pictures))
    return page


def render(told: Told, pictures: Album) -> str:
    """The page: one file, that asks for nothing else."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = _script()
    page: str = environment.get_template("page.html.j2").render(
        **view(told, pictures),
        css=Markup((ASSETS / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        policy=_policy(script),
        data=Markup(_as_json(_data(told))),
        pictures=Markup(_as_json(pictures.sources)),
    )
    return page


def _script() -> str:
    parts = [(ASSETS / name).read_text(encoding="utf-8") for name in _SCRIPTS]
    return '"use strict";\n(() => {\n' + "\n".join(parts) + "})();\n"


def _policy(script: str) -> str:
    """What the page may do: run this one script, and show pictures that are in it."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def _data(told: Told) -> dict[str, Any]:
    """What the page's script draws from: report.json without what the template has told."""
    told_elsewhere = ("recipe", "versions", "references", "made", "source")
    data = {name: value for name, value in told.items() if name not in told_elsewhere}
    return {**data, "example": example_of(told)}


def _as_json(values: Mapping[str, Any]) -> str:
    """JSON that no text in it can end the script block of."""
    text = json.dumps(_rounded(values), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for letter in "&<>\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return value
