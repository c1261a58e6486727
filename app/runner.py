"""The only code that starts, watches and stops a run's process.

A run is an operating-system process of its own. Whoever started it may go away; whoever
comes later finds it through its folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
from rich.console import Console

from trainer.core.events import Told, parse
from trainer.core.files import plain_disk_errors
from trainer.core.work import SEEN, WorkFolder

_POLL_SECONDS = 0.15
_kept: list[subprocess.Popen[bytes]] = []


def start(
    run: WorkFolder, processes: int = 1, *, seen: int | None = None
) -> subprocess.Popen[bytes]:
    """Start the worker of a folder, which goes on where an earlier one ended.

    Its output goes to worker.log in the folder.

    Args:
        run: The folder.
        processes: How many share the work.
        seen: Bytes of its events that are known: a process that ends the work after them leaves
            none for this one. All there are when None.
    """
    worker = ["-m", run.worker, str(run.path)]
    if processes > 1:
        launcher = [
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--local-addr=127.0.0.1",
            f"--nproc-per-node={processes}",
        ]
        worker = [*launcher, *worker]
    log = run.path / "worker.log"
    quiet = {"PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false"}
    known = {SEEN: f"{run.told if seen is None else seen} {run.path}"}
    safe = {"PYTHONSAFEPATH": "1"}  # else a file in the current folder could pass for a library
    with plain_disk_errors(log):
        output = log.open("ab")
    with output:
        return keep(
            subprocess.Popen(
                [sys.executable, *worker],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **quiet, **safe, **known},
                start_new_session=os.name != "nt",
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
                | getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        )


def keep(process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
    """Remember a process that outlives whoever started it, so that it is reaped when it ends."""
    _kept[:] = [known for known in _kept if known.poll() is None]
    _kept.append(process)
    return process


def kill(process: subprocess.Popen[bytes]) -> None:
    """End the worker at once, and with a launcher its workers, which would train on."""
    try:
        started = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return
    process.kill()
    for child in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


def follow(
    run: WorkFolder,
    process: subprocess.Popen[bytes],
    *,
    skip: int = 0,
    between: Callable[[], None] = lambda: None,
) -> Iterator[Told]:
    """The run's events as they come, until its process is gone.

    Args:
        run: Whose.
        process: Its worker.
        skip: Bytes of the events file that are known already.
        between: Called whenever the file was looked at.
    """
    return _follow(run, lambda: process.poll() is not None, skip, between)


def attend(
    run: WorkFolder, *, skip: int = 0, between: Callable[[], None] = lambda: None
) -> Iterator[Told]:
    """The same of a process that somebody else started, perhaps on another machine."""
    return _follow(run, lambda: not run.busy(), skip, between)


def _follow(
    run: WorkFolder, ended: Callable[[], bool], skip: int, between: Callable[[], None]
) -> Iterator[Told]:
    position = skip
    while True:
        gone = ended()
        lines = _whole_lines(run.events_path, position)
        position += len(lines)
        for line in lines.decode("utf-8", errors="replace").splitlines():
            told = parse(line)
            if told is not None:
                yield told
        if gone:
            return
        between()
        time.sleep(_POLL_SECONDS)


def exit_code(
    run: WorkFolder, process: subprocess.Popen[bytes], told: int | None, console: Console
) -> int:
    """How the run ended: by its own word, else by how its process died.

    Args:
        run: For where to look when it died without a word.
        process: Its worker, or the launcher of its workers.
        told: The exit code of its `Ended` event; None when it never came.
        console: Where a death is reported.
    """
    code = process.wait()
    if told is not None:
        return told
    how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
    console.print(
        f"error: {run.path}: the worker ended {how} without a word\n"
        f"  try: look at {run.path / 'worker.log'}, then `{run.again} {run.path}`",
        markup=False,
        highlight=False,
        soft_wrap=True,
        style="red",
    )
    return 128 - code if code < 0 else code or 1


def _whole_lines(path: Path, position: int) -> bytes:
    """What was written from `position` on, up to the last whole line."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        file.seek(position)
        written = file.read()
    return written[: written.rfind(b"\n") + 1]


def as_json(told: Told) -> str:
    """One event as a line of JSON, as it stands in the events file."""
    from dataclasses import asdict

    line = {"kind": type(told.event).__name__, "time": told.time, **asdict(told.event)}
    return json.dumps(line)
