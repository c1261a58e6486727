"""All that a run told, read once and kept while it grows: what its page draws when it is opened.

A run of 20,000 steps is told in some hundred points, each with the least and the greatest loss of
its steps; what comes after, the page asks for event by event (`tails.since`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.ui.shelf import stamp_of
from app.ui.tails import lines, plain
from trainer.core import events
from trainer.core.events import Event, Told, parse
from trainer.core.work import WorkFolder

POINTS = 800
"""Stretches of steps that a curve is told in at most."""
_KEPT = 12
"""Stories that are held at a time."""
_MOST_WARNINGS = 200


@dataclass(slots=True)
class Story:
    """What a run told so far; of steps that a resumed run told again, the later telling.

    Attributes:
        position: Bytes of the events file that were read.
        steps: Number, loss and rate of each step.
        seconds: Where the time went, by phase.
        latest: The last event of each kind that counts once.
        listed: Events of the kinds that are many, by what tells them apart.
    """

    position: int = 0
    steps: list[tuple[int, float | None, float]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    latest: dict[str, dict[str, Any]] = field(default_factory=dict)
    listed: dict[str, dict[Any, dict[str, Any]]] = field(default_factory=dict)

    def read(self, path: Path) -> None:
        """Take in what was told since it was read last."""
        for line, end in lines(path, self.position):
            self.position = end
            told = parse(line.decode("utf-8", errors="replace"))
            if told is not None:
                self.take(told)

    def take(self, told: Told) -> None:
        """Take an event in."""
        match told.event:
            case events.Stepped(step=step, loss=loss, rate=rate, seconds=seconds):
                if self.steps and step <= self.steps[-1][0]:
                    self._forget_after(step - 1)
                self.steps.append((step, loss, rate))
                for phase, took in seconds.items():
                    self.seconds[phase] = self.seconds.get(phase, 0.0) + took
            case events.Started(resumed_from=step):
                self._forget_after(step)
                self.latest["Started"] = plain(told)
                self.latest.pop("Ended", None)
            case _:
                self._note(told)

    def _forget_after(self, step: int) -> None:
        while self.steps and self.steps[-1][0] > step:
            self.steps.pop()
        checked = self.listed.get("Validated", {})
        for late in [known for known in checked if known > step]:
            del checked[late]

    def _note(self, told: Told) -> None:
        kind = type(told.event).__name__
        key = _key(told.event)
        if key is None:
            self.latest[kind] = plain(told)
            return
        known = self.listed.setdefault(kind, {})
        known.pop(key, None)
        known[key] = plain(told)
        if kind == "Warned" and len(known) > _MOST_WARNINGS:
            del known[next(iter(known))]

    def told(self) -> dict[str, Any]:
        """As the page takes it."""
        return {
            "position": self.position,
            "count": len(self.steps),
            "curve": thinned(self.steps, POINTS),
            "seconds": self.seconds,
            "latest": self.latest,
            "listed": {kind: list(known.values()) for kind, known in self.listed.items()},
        }


def _key(event: Event) -> Any:
    match event:
        case events.Sampled(path=path) | events.Saved(path=path) | events.Proven(path=path):
            return path
        case events.Validated(step=step):
            return step
        case events.Warned(message=message):
            return message
    return None


def thinned(
    steps: list[tuple[int, float | None, float]], most: int
) -> dict[str, list[int] | list[float | None]]:
    """A curve in no more than twice so many points.

    Each stretch of steps gives its least and its greatest loss, in the order they came, so that
    spikes are seen, and its mean, which is what is smoothed.

    Returns:
        Columns: `step`, `loss`, `mean`, `rate`, and `span`, the steps that a point stands for.
    """
    width = -(-len(steps) // most) or 1
    rows: list[tuple[int, float | None, float | None, float, int]] = []
    for start in range(0, len(steps), width):
        part = steps[start : start + width]
        held = [(loss, step, rate) for step, loss, rate in part if loss is not None]
        if len(part) == 1 or not held:
            step, loss, rate = part[-1]
            rows.append((step, loss, loss, rate, len(part)))
            continue
        mean = sum(loss for loss, _, _ in held) / len(held)
        ends = sorted({min(held)[1:], max(held)[1:]})
        spans = (len(part) // 2, len(part) - len(part) // 2) if len(ends) > 1 else (len(part),)
        by_step = {step: loss for loss, step, _ in held}
        rows += [(s, by_step[s], mean, r, n) for (s, r), n in zip(ends, spans, strict=True)]
    names = ("step", "loss", "mean", "rate", "span")
    return {name: [row[number] for row in rows] for number, name in enumerate(names)}


class Stories:
    """The stories of the runs that were opened last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[Path, tuple[int, Story]] = OrderedDict()

    def tell(self, work: WorkFolder) -> dict[str, Any]:
        """A run's story up to now, as the page takes it."""
        with self._lock:
            return self._story(work).told()

    def curves(self, work: WorkFolder, points: int) -> dict[str, Any]:
        """Its loss and the checks on held-out pictures alone, to lay over others."""
        with self._lock:
            story = self._story(work)
            checks = [(v["step"], v["loss"]) for v in story.listed.get("Validated", {}).values()]
            return {"curve": thinned(story.steps, points), "checks": checks}

    def _story(self, work: WorkFolder) -> Story:
        stamp = stamp_of(str(work.events_path))
        number, story = self._known.pop(work.path, (0, Story()))
        if stamp is None or stamp[2] != number or stamp[1] < story.position:
            story = Story()
        story.read(work.events_path)
        self._known[work.path] = (stamp[2] if stamp else 0, story)
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return story
