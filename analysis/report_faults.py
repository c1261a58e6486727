"""What went wrong in a sweep, gathered: settings by why they are ruled out, pictures by what ails.

It knows no HTML. A race of 5,000 cells leaves thousands of pictures out for one reason, so reasons
come first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.report_file import Told, called, label_of, shot_of

_NAMED = 40
"""Pictures named under one reason."""


def ruled_out(told: Told) -> list[dict[str, Any]]:
    """Reasons, each with the settings that it rules out, by strength."""
    found: dict[str, dict[float, list[int]]] = {}
    for one in told["verdict"]["vetoed"]:
        for reason in one["reasons"]:
            found.setdefault(reason, {}).setdefault(one["strength"], []).append(one["epoch"])
    return [
        {
            "reason": reason,
            "count": sum(map(len, places.values())),
            "settings": [
                _at_strength(told, strength, places[strength]) for strength in sorted(places)
            ],
        }
        for reason, places in found.items()
    ]


def _at_strength(told: Told, strength: float, epochs: list[int]) -> str:
    names = [label_of(told, epoch) for epoch in sorted(epochs)]
    if len(names) > 1 and all(name.startswith("epoch ") for name in names):
        numbers = [name.removeprefix("epoch ") for name in names]
        return f"epochs {', '.join(numbers[:-1])} and {numbers[-1]} at strength {strength:g}"
    return f"{', '.join(names)} at strength {strength:g}"


def faults(told: Told, unreadable: Mapping[str, str]) -> list[dict[str, Any]]:
    """Pictures that are not there, cannot be shown or lack a number: by reason, with names."""
    titles = {metric["name"]: metric["title"] for metric in told["metrics"]}
    found: dict[tuple[str, str], list[str]] = {}
    for one in told["controls"]:
        name = f"the base model, {shot_of(told, one)}"
        for why in _ails(one["status"], one["reason"], one["picture"], unreadable):
            found.setdefault(why, []).append(name)
    for cell in told["cells"]:
        name = f"{called(told, cell['epoch'], cell['strength'])}, {shot_of(told, cell)}"
        for why in _ails(cell["status"], cell["reason"], cell["picture"], unreadable):
            found.setdefault(why, []).append(name)
        for metric, reason in cell["unscored"].items():
            if cell["status"] == "ok":
                why = (f"no {titles.get(metric, metric)}", reason)
                found.setdefault(why, []).append(name)
    return [
        {
            "what": what,
            "reason": reason,
            "count": len(names),
            "names": names[:_NAMED],
            "more": max(0, len(names) - _NAMED),
        }
        for (what, reason), names in found.items()
    ]


def _ails(
    status: str, reason: str, picture: str | None, unreadable: Mapping[str, str]
) -> list[tuple[str, str]]:
    if status != "ok":
        return [(status, reason)]
    if picture is not None and picture in unreadable:
        return [("cannot be shown", unreadable[picture])]
    return []
