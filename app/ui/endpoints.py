"""What programs may ask of the app: the functions behind its API (docs/api.md).

Each is an endpoint by its own name; its docstring is what the API's page says of it. Errors are
told as the command line tells them.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from app.ui import studios
from app.ui.now import row
from trainer.core.errors import ConfigError, RunError, UserError
from trainer.job.file import as_override
from trainer.job.run import Run

if TYPE_CHECKING:
    from app.ui.desk import Desk

DEMOS = Path(__file__).parents[2] / "presets" / "demo"
GENERATED = "generated/"
"""What names of orders for pictures begin with."""
_LOOK_EACH = 0.3
_MOST = 200
_LONGEST_WAIT = 3600.0


class Endpoints:
    """The functions, over one desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def all(self) -> list[Callable[..., Any]]:
        """Every endpoint."""
        functions: list[Callable[..., Any]] = [self.train, self.analyse, self.status]
        functions += [self.verdict, self.generate, self.stop, self.works]
        return [_plainly(function) for function in functions]

    def train(self, settings: dict[str, Any], preset: str = "") -> dict[str, Any]:
        """Start a training run, and return its name at once.

        Args:
            settings: Values by the names of docs/settings.md, like
                {"dataset.folder": "/pictures/fox", "schedule.epochs": 10}. Folders are whole paths.
            preset: What lies under them: a preset's name, its string, or "demo-style".
        """
        from app.fetching import fetched
        from app.recipes import layered

        demo = DEMOS / f"{preset}.toml" if preset.startswith("demo-") else None
        file = demo if demo is not None and demo.is_file() else None
        overrides = [as_override("runs", self._desk.runs), *_overrides(settings)]
        job = layered(file, "" if file else preset, overrides).job
        fetched(job.model, lambda told: None)
        return {"name": self._desk.name_of(self._desk.train(job))}

    def analyse(self, run: str, settings: dict[str, Any]) -> dict[str, Any]:
        """Start an analysis of a run's epochs, and return its name at once.

        Args:
            run: The run's name.
            settings: Values like {"analysis.seeds": 2}; {} is as the run's job says.
        """
        from analysis.sweep import sweep_of_run

        sweep = sweep_of_run(self._desk.run(run), _overrides(settings))
        self._desk.start(sweep)
        return {"name": self._desk.name_of(sweep)}

    def status(self, name: str) -> dict[str, Any]:
        """How a run, an analysis or an order for pictures stands.

        Args:
            name: As train, analyse or generate returned it.

        Returns:
            "status" is waiting, running, completed, stopped, failed or died. While it runs, "step"
            of "steps" or "done" of "total" say how far it is, "left" for how many seconds more.
            After a failure "problem" and "hint" say why, and what to do.
        """
        if name.startswith(GENERATED):
            return _order(studios.one(self._desk, name.removeprefix(GENERATED)))
        return _bare(row(self._desk, self._desk.work(name)))

    def verdict(self, name: str) -> dict[str, Any]:
        """What an analysis came to.

        Args:
            name: The analysis, or its run for the newest one that has ended.

        Returns:
            "state" and "headline"; "choice" with "epoch", "strength" and the LoRA's "file", or
            null; "sentences" on what it rests; "report", the page's path.
        """
        from analysis.keep import read_report

        work = self._desk.work(name)
        folder = self._ended(work) if isinstance(work, Run) else work.path
        report = read_report(folder)
        told = report["verdict"]
        choice = told["choice"] and {**told["choice"], "file": _file_of(report, folder)}
        kept = {key: told[key] for key in ("state", "headline", "sentences")}
        return {**kept, "choice": choice, "report": str(folder / "report.html")}

    def generate(
        self,
        prompt: str,
        loras: list[dict[str, Any]],
        settings: dict[str, Any],
        wait: float = 600.0,
    ) -> dict[str, Any]:
        """Render pictures.

        Args:
            prompt: What to show.
            loras: Like [{"file": "/runs/fox/lora/fox.safetensors", "strength": 0.8}]; [] is the
                base model alone. Several act together.
            settings: Any of negative, seed, pictures, width, height, steps, guidance, base.
            wait: Seconds to wait for the pictures; 0 returns at once, and status tells of them.

        Returns:
            "name", "status", and "pictures": each with its "seed", "file" and "url".
        """
        from app.generate.asked import Asked
        from trainer.core import toml

        values = {**settings, "prompt": prompt, "loras": loras}
        order = studios.settled(self._desk, toml.parse(Asked, values))
        name = studios.ask(self._desk, order).name
        until = time.monotonic() + min(wait, _LONGEST_WAIT)
        told = studios.one(self._desk, name)
        while told["status"] in ("waiting", "running") and time.monotonic() < until:
            time.sleep(_LOOK_EACH)
            told = studios.one(self._desk, name)
        return _order(told)

    def stop(self, name: str) -> dict[str, Any]:
        """Ask for something to stop; a run finishes its step and saves first.

        Args:
            name: A run, an analysis or an order for pictures.
        """
        from app.generate.studio import Studio

        if name.startswith(GENERATED):
            studio = Studio.below(self._desk.runs)
            studio.find(name.removeprefix(GENERATED)).ask_to_stop()
            return {"name": name}
        work = self._desk.work(name)
        if work.status() != "running":
            raise RunError("nothing works on this now", where=name)
        work.ask_to_stop()
        return {"name": name}

    def _ended(self, run: Run) -> Path:
        """The newest analysis of a run that has a report.

        Raises:
            RunError: There is none.
        """
        found = [sweep.path for sweep in self._desk.analyses(run)]
        ended = [path / "report.json" for path in found if (path / "report.json").is_file()]
        if not ended:
            raise RunError("no analysis of this run has ended", where=run.name, hint="/analyse")
        return max(ended, key=lambda path: path.stat().st_mtime).parent

    def works(self, count: int = 20) -> list[dict[str, Any]]:
        """Runs and analyses as status tells of them, newest runs first.

        Args:
            count: How many at most.
        """
        from itertools import islice

        found = islice(self._desk.works(), max(0, min(count, _MOST)))
        return [_bare(row(self._desk, work)) for work in found]


def _plainly(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same, whose errors reach the client in words."""

    @functools.wraps(function)
    def told(*values: Any, **named: Any) -> Any:
        import gradio

        try:
            return function(*values, **named)
        except UserError as error:
            hint = "" if error.hint.startswith("--") else error.hint  # what one would type
            told_plainly = UserError(error.problem, where=error.where, hint=hint)
            raise gradio.Error(str(told_plainly), print_exception=False) from None

    return told


def _overrides(settings: dict[str, Any]) -> list[str]:
    """Settings as the command line takes them.

    Raises:
        ConfigError: A name is none, or a value is of no kind that settings have.
    """
    for path, value in settings.items():
        if not all(part.isidentifier() for part in path.split(".")):
            raise ConfigError("there is no such setting", where=path[:80])
        if value is None or isinstance(value, dict):
            raise ConfigError("needs a text, a number, true, false or a list", where=path)
    return [f"{path}={_toml(value)}" for path, value in settings.items()]


def _toml(value: Any) -> str:
    """JSON's texts, numbers, flags and lists are TOML's, but for one control character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _file_of(report: dict[str, Any], folder: Path) -> str:
    """The chosen LoRA file's path, where it lies in the run of the analysis."""
    epoch = report["verdict"]["choice"]["epoch"]
    name: str = next(c["file"] for c in report["checkpoints"] if c["epoch"] == epoch)
    path = folder.parent.parent / "lora" / name
    return str(path) if path.is_file() else name


def _order(told: dict[str, Any]) -> dict[str, Any]:
    pictures = [
        {"seed": one["seed"], "file": one["path"], "url": f"/file?path={quote(one['path'])}"}
        for one in told["pictures"]
    ]
    progress = told.get("progress") or {}
    kept = {key: told[key] for key in ("status", "problem", "where", "hint", "asked")}
    return {"name": f"{GENERATED}{told['id']}", **kept, **progress, "pictures": pictures}


def _bare(told: dict[str, Any]) -> dict[str, Any]:
    """A row of a list for programs.

    Its folder is not called "path": gradio_client would take that for a file to fetch.
    """
    kept = {key: value for key, value in told.items() if key not in ("facts", "path")}
    return {**kept, "folder": told["path"]}
