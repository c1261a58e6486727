"""Trackers (TensorBoard, trackio, Weights & Biases), told of a run by its events alone.

A tracker is never worth a run: one that fails is warned of once and told nothing more. None is
told of a path, a prompt or anything else that is personal.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.core.events import (
    Emit,
    Ended,
    Event,
    Sampled,
    Saved,
    Started,
    Stepped,
    Validated,
    Warned,
)
from trainer.core.files import write_atomically
from trainer.core.trees import flat
from trainer.job.shareable import active, shareable

if TYPE_CHECKING:
    from PIL.Image import Image

    from trainer.job.run import Run

_IDENTITIES = "track.json"
"""What each tracker knows the run by, in the run's folder: a resumed run goes on in the same."""


class Tracked:
    """An `Emit` that tells the job's trackers too."""

    def __init__(self, run: Run, emit: Emit) -> None:
        self._run, self._emit = run, emit
        self._open: dict[str, _Tracker] = {}
        self._pictures = False
        self._prompts: list[str] = []
        self._step = 0

    def __call__(self, event: Event) -> None:
        self._emit(event)
        if isinstance(event, Started):
            self._start(event)
        if not self._open:
            return
        self._step = max(self._step, getattr(event, "step", 0))
        if isinstance(event, Sampled):
            self._show(event)
        elif values := values_of(event):
            self._each(lambda tracker: tracker.log(values, self._step))
        if isinstance(event, Ended):
            self._each(lambda tracker: tracker.finish())
            self._open.clear()

    def _start(self, event: Started) -> None:
        track = self._run.job.track
        self._pictures = track.pictures
        self._step = event.resumed_from
        known = _identities(self._run)
        for name in track.to:
            told_of = name in known
            identity = known.setdefault(name, secrets.token_hex(4))
            opening = _Opening(self._run, identity, event.resumed_from if told_of else None)
            try:
                self._open[name] = _KINDS[name](opening)
            except Exception as error:  # a tracker is never worth a run, whatever went wrong
                self._warn(name, error)
        if track.to:
            write_atomically(self._run.path / _IDENTITIES, json.dumps(known))

    def _show(self, event: Sampled) -> None:
        """A sample picture, by its number: its prompt stays here."""
        from PIL import Image

        if not self._pictures:
            return
        if event.prompt not in self._prompts:
            self._prompts.append(event.prompt)
        name = f"samples/{self._prompts.index(event.prompt) + 1}"
        with Image.open(self._run.path / event.path) as file:
            picture = file.convert("RGB")
        self._each(lambda tracker: tracker.show(name, picture, event.step))

    def _each(self, tell: Callable[[_Tracker], None]) -> None:
        for name, tracker in list(self._open.items()):
            try:
                tell(tracker)
            except Exception as error:  # as above
                del self._open[name]
                self._warn(name, error)

    def _warn(self, name: str, error: Exception) -> None:
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        self._emit(
            Warned(f"the tracker {name} failed and is told no more of this process's steps: {said}")
        )


def values_of(event: Event) -> dict[str, float]:
    """What an event says in numbers; nothing for most."""
    match event:
        case Stepped():
            gradient = {} if event.gradient is None else {"train/gradient": event.gradient}
            return {
                "train/loss": event.loss,
                "train/rate": event.rate,
                **gradient,
                "train/epoch": event.epoch,
                "train/seconds": sum(event.seconds.values()),
            }
        case Validated():
            return {"validation/loss": event.loss}
        case Saved():
            return {"run/saved_epoch": event.epoch}
        case Ended():
            return {"run/exit_code": event.exit_code}
    return {}


@dataclass(frozen=True, slots=True)
class _Opening:
    """What a tracker is opened with.

    Attributes:
        identity: The run's in the tracker, the same each time.
        resumed_from: The step that a run the tracker knows goes on after; None for one it does not.
    """

    run: Run
    identity: str
    resumed_from: int | None

    def recipe(self) -> dict[str, Any]:
        """How the job trains, by dotted paths: what a preset may hold too."""
        values = flat(self.run.job.model_dump(mode="json"))
        told = (
            spec.path for spec in active(values) if shareable(spec) and spec.group != "analysis"
        )
        return {path: values[path] for path in told if values.get(path) is not None}

    def told(self) -> int:
        """The last step that the tracker was told of by earlier processes; -1 before any."""
        if self.resumed_from is None:
            return -1
        steps = (told.event.step for told in self.run.events() if isinstance(told.event, Stepped))
        return max(steps, default=-1)


class _Tracker:
    """One of Accelerate's trackers.

    Args:
        inner: A `GeneralTracker` of accelerate.
        told: Up to this step it was told everything already.
    """

    def __init__(self, inner: Any, told: int = -1) -> None:
        self.inner, self._told = inner, told
        inner.start()

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Numbers of a step."""
        if step > self._told:
            self.inner.log(dict(values), step=step)

    def show(self, name: str, picture: Image, step: int) -> None:
        """A picture of a step."""
        if step > self._told:
            self.inner.log_images({name: [picture]}, step=step)

    def finish(self) -> None:
        """No more comes."""
        self.inner.finish()


class _TensorBoard(_Tracker):
    """Files on this machine; steps that are told again replace the earlier ones."""

    def __init__(self, opening: _Opening) -> None:
        from accelerate.tracking import TensorBoardTracker
        from torch.utils.tensorboard.summary import hparams

        run, folder = opening.run, opening.run.job.track.folder
        place, name = (run.path, "tensorboard") if folder is None else (folder, run.name)
        again = opening.resumed_from
        # Hidden from this step on is what a process that died told beyond its last state.
        super().__init__(
            TensorBoardTracker(name, place, purge_step=None if again is None else again + 1)
        )
        if again is None:
            for summary in hparams(_texts(opening.recipe()), {}):
                self.inner.writer.file_writer.add_summary(summary)

    def show(self, name: str, picture: Image, step: int) -> None:
        import numpy as np

        pixels = np.asarray(picture)[None]
        self.inner.log_images({name: pixels}, step=step, dataformats="NHWC")


class _Trackio(_Tracker):
    """trackio: on this machine, or where its own variables say."""

    def __init__(self, opening: _Opening) -> None:
        from accelerate.tracking import TrackioTracker

        run = opening.run
        inner = TrackioTracker(
            run.job.track.project,
            name=f"{run.name}-{opening.identity}",
            config=opening.recipe(),
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        super().__init__(inner, opening.told())

    def log(self, values: Mapping[str, Any], step: int) -> None:
        if step > self._told:
            self.inner.tracker.log(dict(values), step=step)  # Accelerate's own loses the step

    def show(self, name: str, picture: Image, step: int) -> None:
        import trackio

        self.log({name: trackio.Image(picture)}, step)


class _Wandb(_Tracker):
    """Weights & Biases, without what it gathers by itself: machine, code, console, command line."""

    def __init__(self, opening: _Opening) -> None:
        import wandb
        from accelerate.tracking import WandBTracker

        run = opening.run
        settings = wandb.Settings(
            console="off",
            disable_code=True,
            disable_git=True,
            save_code=False,
            x_disable_machine_info=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )
        inner = WandBTracker(
            run.job.track.project,
            id=opening.identity,
            name=run.name,
            config=opening.recipe(),
            resume="allow",
            dir=str(run.path),
            settings=settings,
        )
        super().__init__(inner, opening.told())


_KINDS: dict[str, Callable[[_Opening], _Tracker]] = {
    "tensorboard": _TensorBoard,
    "trackio": _Trackio,
    "wandb": _Wandb,
}


def _texts(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as TensorBoard takes them: a list is a text."""
    return {
        name: json.dumps(value) if isinstance(value, list) else value
        for name, value in values.items()
    }


def _identities(run: Run) -> dict[str, str]:
    path: Path = run.path / _IDENTITIES
    try:
        found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # damaged: the trackers show a further run
        return {}
    return found
