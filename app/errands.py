"""Short work that needs torch, done beside a process that must stay light.

    parent -> child   {"what": "plan", "given": {...}}     a line each, to its standard input
    child  -> parent  {"answer": ...} or {"problem": ..., "where": ..., "hint": ...}

The child is started at the first errand and ends when it was idle for a while, or when its parent
is gone. It keeps nothing but what is slow to load.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from trainer.core.errors import ConfigError, ResourceError, UserError

_IDLE = 180.0
"""Seconds after which a child that is asked nothing ends."""


class Errands:
    """Sends work to a child, one errand after another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None

    def run(self, what: str, given: dict[str, Any]) -> Any:
        """What the errand came to.

        Raises:
            UserError: What the work raised.
            ResourceError: The child died.
        """
        line = json.dumps({"what": what, "given": given}, ensure_ascii=True)
        with self._lock:
            told = self._ask(line) or self._ask(line)  # one that had ended is started again
        if told is None:
            raise ResourceError(
                "the process for short work ended without an answer",
                where=what,
                hint="close what fills the memory, and try again",
            )
        if "problem" in told:
            kind = ResourceError if told.get("kind") == "ResourceError" else ConfigError
            raise kind(told["problem"], where=told["where"], hint=told["hint"])
        return told["answer"]

    def end(self) -> None:
        """Let the child go."""
        with self._lock:
            child, self._child = self._child, None
        if child is not None:
            _let_go(child)

    def __del__(self) -> None:
        self.end()

    def _ask(self, line: str) -> dict[str, Any] | None:
        child = self._child
        if child is not None and child.poll() is not None:
            _let_go(child)
            child = None
        if child is None:
            child = self._child = _started()
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(line + "\n")
            child.stdin.flush()
            answer = child.stdout.readline()
            told: dict[str, Any] = json.loads(answer) if answer else {}
        except (BrokenPipeError, ValueError):
            told = {}
        if not told:
            child.kill()
            _let_go(child)
            self._child = None
        return told or None


def _let_go(child: subprocess.Popen[str]) -> None:
    """Close the pipes, at whose end a child ends by itself."""
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
    child.wait()


def _started() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "app.errands"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        env={**os.environ, "TOKENIZERS_PARALLELISM": "false", "PYTHONSAFEPATH": "1"},
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )


# The child's side


def main() -> None:
    """Answer until there is nothing more to answer."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer
    last = threading.Timer(_IDLE, os._exit, [0])
    last.daemon = True
    last.start()
    for line in sys.stdin:
        last.cancel()
        _answer(line, out)
        last = threading.Timer(_IDLE, os._exit, [0])
        last.daemon = True
        last.start()


def _answer(line: str, out: IO[str]) -> None:
    asked = json.loads(line)
    try:
        told: dict[str, Any] = {"answer": ERRANDS[asked["what"]](**asked["given"])}
    except UserError as error:
        told = {"problem": error.problem, "where": error.where, "hint": error.hint}
        told["kind"] = type(error).__name__
    except Exception as error:  # the process border
        told = {"problem": f"{type(error).__name__}: {error}", "where": asked["what"], "hint": ""}
    out.write(json.dumps(told) + "\n")
    out.flush()


def _plan(sources: list[str], named: dict[str, Any], runs: str) -> dict[str, Any]:
    """What a sweep would take, in words."""
    from app.sweeps import planned

    return planned([Path(path) for path in sources], _named(named), Path(runs), _compared)


def _compared(run: Path | None, files: Sequence[Path]) -> Any:
    """What LoRA files there are, read again only when one of them changed."""
    there = sorted((run / "lora").glob("*.safetensors")) if run is not None else files
    stats = [(path, path.stat()) for path in there if path.is_file()]
    return _read(run, tuple(files), tuple((p, s.st_mtime_ns, s.st_size) for p, s in stats))


@functools.lru_cache(maxsize=4)
def _read(run: Path | None, files: tuple[Path, ...], state: tuple[Any, ...]) -> Any:
    from app.sweeps import compared

    return compared(run, files)


def _make(sources: list[str], named: dict[str, Any], runs: str) -> str:
    """A new sweep's folder."""
    from app.sweeps import sweep_of

    return str(sweep_of([Path(path) for path in sources], _named(named), None, Path(runs)).path)


def _named(given: dict[str, Any]) -> Any:
    from app.sweeps import Named

    folders = {name: Path(given[name]) for name in ("dataset", "held_out") if given.get(name)}
    return Named(**{**given, "dataset": None, "held_out": None, **folders})


def _keep(sweep: str, to: str, setting: list[float], *, bake: bool, overwrite: bool) -> Any:
    """Copy a LoRA file out: where it is, and what to use it at."""
    from analysis.keep import keep
    from analysis.sweep import Sweep
    from analysis.table import Setting

    chosen = Setting(int(setting[0]), float(setting[1]))
    place = Path(to)
    kept = keep(Sweep.open(Path(sweep)), place, chosen=chosen, into_alpha=bake, overwrite=overwrite)
    return {"path": str(kept.path), "strength": kept.strength}


_training: dict[tuple[str, tuple[int, int]], tuple[list[str], list[Any]]] = {}
"""The pictures of the last folder, cut to size."""


def _nearest(picture: str, folder: str) -> dict[str, Any]:
    """The training picture that a picture is likest to, and how like."""
    import numpy as np
    from PIL import Image

    from analysis.metrics.memorised import nearest
    from analysis.reference import pictures_in

    with Image.open(picture) as opened:
        pixels = np.asarray(opened.convert("RGB"))
        size = opened.size
    if (folder, size) not in _training:
        shown = pictures_in(Path(folder), size, lambda event: None)
        _training.clear()
        _training[folder, size] = [s.name for s in shown], [s.pixels for s in shown]
    names, training = _training[folder, size]
    found = nearest(pixels, training)
    return {"name": names[found.training], "similarity": found.similarity}


def _forecast(tree: dict[str, Any]) -> dict[str, Any]:
    """What a run will do and need."""
    from app.asking import forecast

    return forecast(tree)


ERRANDS: dict[str, Callable[..., Any]] = {
    "forecast": _forecast,
    "plan": _plan,
    "make": _make,
    "keep": _keep,
    "nearest": _nearest,
}

if __name__ == "__main__":
    main()
