"""What the page says in words and tables, from report.json; its maps and curves are its script's.

It knows no HTML.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from analysis.report_album import Album
from analysis.report_faults import faults, ruled_out
from analysis.report_file import Key, Metric, Span, Spot, Told, called, key, label_of

AXES = {
    "learned": "How much it learned",
    "quality": "Is quality held",
    "aside": "Told beside them",
}
_BADGES = {"chosen": "good", "cannot tell apart": "open"}
_KINDS = {"run": "run", "loras": "LoRA files", "pictures": "finished pictures"}
_MINUS, _NONE = "\u2212", "\u2013"
_BARS = 5
"""Settings whose chances are shown."""


def view(told: Told, pictures: Album) -> dict[str, Any]:
    """The template's values."""
    verdict = told["verdict"]
    example = example_of(told)
    return {
        "told": told,
        "verdict": verdict,
        "made": _day(told["made"]),
        "kind": _KINDS.get(told["source"]["kind"], told["source"]["kind"]),
        "badge": _BADGES.get(verdict["state"], "none"),
        "answer": _answer(told),
        "facts": facts(told),
        "others": _others(told),
        "bars": bars(told),
        "safe": safe(told),
        "example": example and called(told, *key(example)),
        "shown": len(pictures.sources),
        "side": pictures.look.side if pictures.shrunk else 0,
        "axes": _by_axis(told),
        "table": table(told),
        "ruled": ruled_out(told),
        "faults": faults(told, pictures.unreadable),
    }


def example_of(told: Told) -> Spot | None:
    """The setting whose pictures are shown on top.

    The choice; without one the last epoch at the strength nearest 1, so that what is wrong with
    it can be seen.
    """
    if told["verdict"]["choice"] is not None:
        return told["verdict"]["choice"]
    if not told["summary"]:
        return None
    last = max(one["epoch"] for one in told["summary"])
    strengths = [one["strength"] for one in told["summary"] if one["epoch"] == last]
    return Spot(epoch=last, strength=min(strengths, key=lambda s: abs(s - 1)))


def example_names(told: Told) -> list[str]:
    """Pictures that are shown large: of that setting, and the base model's own."""
    example = example_of(told)
    at = key(example) if example else None
    rows = [*(c for c in told["cells"] if key(c) == at), *told["controls"]]
    return [row["picture"] for row in rows if row["picture"]]


def _day(iso: str) -> str:
    try:
        made = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    return f"{made.day} {made:%B %Y, %H:%M} {made.tzname() or ''}".strip()


def _answer(told: Told) -> dict[str, str] | None:
    choice = told["verdict"]["choice"]
    if choice is None:
        return None
    files = {c["epoch"]: c["file"] for c in told["checkpoints"]}
    return {
        "label": label_of(told, choice["epoch"]) if choice["epoch"] else "",
        "strength": f"{choice['strength']:g}",
        "file": files.get(choice["epoch"], ""),
    }


def facts(told: Told) -> list[dict[str, str]]:
    """How sure the verdict is, in a few short facts."""
    verdict, settings = told["verdict"], len(told["summary"])
    choice = verdict["choice"]
    found: list[tuple[str, str]] = []
    chances = {key(one): one["p"] for one in verdict["chance"]}
    if choice and key(choice) in chances:
        found.append(("Chance to be the very best", percent(chances[key(choice)])))
    if verdict["tied"]:
        found.append(("Cannot be told apart from it", _other_settings(_others(told))))
    found.append(("Ruled out", f"{len(verdict['vetoed'])} of {settings} settings"))
    if verdict["smallest_difference"] is not None:
        words = f"{verdict['smallest_difference']:.3g}"
        found.append(("Smallest visible difference", words))
    if verdict["trained"] != "unknown":
        over = verdict["overtrained_from"]
        late = f", from epoch {over}" if over is not None else ""
        found.append(("Length of training", verdict["trained"] + late))
    safe = [s for s in verdict["safe_strengths"] if choice and s["epoch"] == choice["epoch"]]
    if safe:
        found.append(("Safe strengths", f"{safe[0]['low']:g} to {safe[0]['high']:g}"))
    return [{"term": term, "words": words} for term, words in found]


def _others(told: Told) -> int:
    """Settings besides the choice that cannot be told apart from the best."""
    choice = told["verdict"]["choice"]
    return sum(choice is None or key(one) != key(choice) for one in told["verdict"]["tied"])


def _other_settings(count: int) -> str:
    if not count:
        return "no other setting"
    return "1 other setting" if count == 1 else f"{count} other settings"


def percent(share: float) -> str:
    """A chance in words that claim no more than resampling can."""
    if share < 0.01:
        return "under 1%"
    return "over 99%" if share > 0.99 else f"{100 * share:.0f}%"


def bars(told: Told) -> list[dict[str, Any]]:
    """The settings that are likeliest the very best, and the choice when it is not among them."""
    verdict = told["verdict"]
    choice = key(verdict["choice"]) if verdict["choice"] else None
    likely = sorted(verdict["chance"], key=lambda one: (-one["p"], key(one)))
    shown = [one for one in likely if one["p"] >= 0.01][:_BARS]
    shown += [one for one in likely if key(one) == choice and one not in shown]
    return [
        {
            "name": called(told, *key(one)),
            "share": round(100 * one["p"], 1),
            "words": percent(one["p"]),
            "chosen": key(one) == choice,
        }
        for one in shown
    ]


def safe(told: Told) -> list[dict[str, Any]]:
    """The strengths at which each epoch acts and holds its quality, and where a bar shows them."""
    strengths = [one["strength"] for one in told["summary"]]
    rows = told["verdict"]["safe_strengths"]
    if not strengths or not rows or min(strengths) == max(strengths):
        return []
    first, whole = min(strengths), max(strengths) - min(strengths)
    return [
        {
            "label": label_of(told, one["epoch"]),
            "left": round(100 * (one["low"] - first) / whole, 1),
            "width": round(100 * (one["high"] - one["low"]) / whole, 1),
            "words": f"{one['low']:g} to {one['high']:g}"
            if one["low"] < one["high"]
            else f"{one['low']:g} only",
        }
        for one in sorted(rows, key=lambda one: one["epoch"])
    ]


def _by_axis(told: Told) -> list[dict[str, Any]]:
    """Metrics under the question that they answer."""
    grouped = [
        {"name": axis, "title": title, "metrics": [m for m in told["metrics"] if m["axis"] == axis]}
        for axis, title in AXES.items()
    ]
    return [group for group in grouped if group["metrics"]]


def table(told: Told) -> dict[str, Any]:
    """All settings: metrics under their axis, each row with its standing."""
    metrics = [m for group in _by_axis(told) for m in group["metrics"]]
    values = {key(one): dict(one["metrics"]) for one in told["summary"]}
    for one in told["judged"]:
        values.setdefault(key(one), {}).update(one["metrics"])
    digits = [_decimals(means(values.values(), metric)) for metric in metrics]
    verdict = told["verdict"]
    standing = Standing(told)
    chances = {key(one): one["p"] for one in verdict["chance"]}
    rows = [
        {
            "label": label_of(told, at[0]),
            "epoch": at[0],
            "strength": at[1],
            "standing": standing.of(at),
            "reasons": standing.reasons.get(at, []),
            "numbers": [
                number(_mean(values[at], metric), places)
                for metric, places in zip(metrics, digits, strict=True)
            ],
            "chance": number(chances.get(at), 3),
        }
        for at in (key(one) for one in told["summary"])
    ]
    return {"metrics": metrics, "rows": rows, "chances": bool(chances)}


class Standing:
    """How each setting came out."""

    def __init__(self, told: Told) -> None:
        verdict = told["verdict"]
        self.choice = key(verdict["choice"]) if verdict["choice"] else None
        self.tied = {key(one) for one in verdict["tied"]}
        self.reasons = {key(one): one["reasons"] for one in verdict["vetoed"]}

    def of(self, at: Key) -> str:
        """In a word or two; empty for a setting that is just not the best."""
        if at == self.choice:
            return "choice"
        if at in self.reasons:
            return "ruled out"
        return "tied" if at in self.tied else ""


def means(values: Iterable[Mapping[str, Span]], metric: Metric) -> list[float]:
    """A metric's means that are numbers."""
    found = (_mean(one, metric) for one in values)
    return [mean for mean in found if mean is not None]


def _mean(values: Mapping[str, Span], metric: Metric) -> float | None:
    span = values.get(metric["name"])
    return span["mean"] if span else None


def _decimals(values: Sequence[float]) -> int:
    """As many as tell the values apart to about a hundredth of their range."""
    spread = max(values) - min(values) if values else 0
    return min(5, max(0, 2 - math.floor(math.log10(spread)))) if spread > 0 else 3


def number(value: float | None, places: int) -> dict[str, Any]:
    """A table's number: its text, and what it is sorted by."""
    if value is None:
        return {"text": _NONE, "value": ""}
    return {"text": f"{value:.{places}f}".replace("-", _MINUS), "value": f"{value:.10g}"}
