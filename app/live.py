"""A run in a terminal: what its events say, as they come."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from trainer.core import events
from trainer.core.events import Told

PHASES = {
    "scan": "looking at the pictures",
    "load": "reading the base model",
    "pictures": "encoding pictures",
    "captions": "encoding captions",
    "class pictures": "rendering class pictures",
    "proof": "proving the LoRA file",
    "controls": "rendering the base model's pictures",
    "cells": "rendering",
    "scores": "scoring",
    "judgement": "asking the model itself",
    "report": "writing the report",
}
_SMOOTHING = 0.9


@dataclass(slots=True)
class Pace:
    """Running means over the steps."""

    loss: float = math.nan
    seconds: float = math.nan
    split: dict[str, float] = field(default_factory=dict)

    def take(self, step: events.Stepped) -> None:
        """Take a step in."""
        took = sum(step.seconds.values())
        self.loss = _mixed(self.loss, step.loss)
        self.seconds = _mixed(self.seconds, took)
        for phase, value in step.seconds.items():
            self.split[phase] = self.split.get(phase, 0.0) + value

    def shares(self) -> str:
        """Where the time goes, in percent."""
        total = sum(self.split.values()) or 1.0
        return ", ".join(f"{phase} {100 * v / total:.0f}%" for phase, v in self.split.items())


class Screen:
    """Draws a run's events. Use as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._pace = Pace()
        self._began = time.monotonic()
        self._steps = 0
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[told]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._bars: dict[str, TaskID] = {}

    def __enter__(self) -> Screen:
        self._progress.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._progress.stop()

    def show(self, told: Told) -> None:
        """Draw one event."""
        event = told.event
        match event:
            case events.Preparing():
                self._prepare(event)
            case events.Planned():
                self._plan(event)
            case events.Started():
                self._start(event)
            case events.Stepped():
                self._step(event)
            case events.Warned(message=message):
                self._say(f"note: {message}", "yellow")
            case events.Ended():
                self._end(event)
            case _:
                self._tell_file(event)

    def _prepare(self, event: events.Preparing) -> None:
        words = PHASES.get(event.phase, event.phase)
        if event.phase not in self._bars:
            self._bars[event.phase] = self._progress.add_task(
                words, total=event.total or 1, told=""
            )
            self._say(words, "dim")
        bar = self._bars[event.phase]
        self._progress.update(bar, completed=event.done, total=event.total or 1)
        if event.total and event.done >= event.total:
            self._progress.update(bar, visible=False)

    def _plan(self, event: events.Planned) -> None:
        table = Table.grid(padding=(0, 2))
        for label, sentence in event.facts.items():
            table.add_row(Text(label, style="bold"), Text(sentence))
        self._console.print(table)

    def _start(self, event: events.Started) -> None:
        self._steps = event.steps
        self._hide_bars()
        again = f", going on after step {event.resumed_from}" if event.resumed_from else ""
        self._say(
            f"training {event.trains} on {event.images} pictures, {event.steps} steps{again}",
            "bold",
        )
        self._bars["steps"] = self._progress.add_task(
            "training", total=event.steps, completed=event.resumed_from, told=""
        )
        self._began = time.monotonic()

    def _step(self, event: events.Stepped) -> None:
        self._pace.take(event)
        left = (self._steps - event.step) * self._pace.seconds
        told = (
            f"loss {self._pace.loss:.4f}  {1 / max(self._pace.seconds, 1e-9):.2f} steps/s  "
            f"{_clock(left)} left  ({self._pace.shares()})"
        )
        self._progress.update(self._bars["steps"], completed=event.step, told=told)
        if not self._console.is_terminal and event.step % max(1, self._steps // 10) == 0:
            self._say(f"step {event.step} of {self._steps}: {told}")

    def _tell_file(self, event: events.Event) -> None:
        match event:
            case events.Saved(epoch=epoch, step=step, path=path):
                self._say(f"epoch {epoch}, step {step}: saved {path}", "green")
            case events.Decided(headline=headline, report=path):
                self._say(headline, "bold")
                self._say(f"report: {path}")
            case events.Validated(epoch=epoch, loss=loss):
                self._say(f"epoch {epoch}: validation loss {loss:.5f}")
            case events.Sampled(epoch=epoch, path=path):
                self._say(f"epoch {epoch}: sample {path}", "dim")
            case events.Proven(path=path, modules=modules, moved=moved, difference=most):
                self._say(
                    f"proven: {path} loads into a fresh pipeline, {modules} modules; it moves a "
                    f"picture by {moved:.2f} of 255 on average, and differs from the trained "
                    f"model's by at most {most:.2f}",
                    "green",
                )

    def _end(self, event: events.Ended) -> None:
        self._hide_bars()
        if self._pace.split:
            total = sum(self._pace.split.values())
            self._say(f"steps took {total:.1f} s ({self._pace.shares()})", "dim")
        if event.status == "failed":
            self._say(f"failed: {_place(event)}{event.problem}", "bold red")
            if event.hint:
                self._say(f"  try: {event.hint}", "red")
        else:
            colour = "bold green" if event.status == "completed" else "bold yellow"
            where = f" at step {event.step}" if event.step else ""
            self._say(f"{event.status}{where}", colour)

    def _hide_bars(self) -> None:
        for bar in self._bars.values():
            self._progress.update(bar, visible=False)

    def _say(self, words: str, style: str = "") -> None:
        self._console.print(Text(words, style=style), soft_wrap=True)


def _mixed(old: float, new: float) -> float:
    return new if math.isnan(old) else _SMOOTHING * old + (1 - _SMOOTHING) * new


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _place(event: events.Ended) -> str:
    return f"{event.where}: " if event.where else ""
