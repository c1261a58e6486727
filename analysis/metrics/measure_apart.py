"""Doing the same to many things in processes of their own, a few ahead, in their order.

It knows no metric; `scoring` gives it what to do.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from trainer.core.errors import ResourceError

Task = TypeVar("Task")
Result = TypeVar("Result")

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def in_order(
    work: Callable[[Task], Result], tasks: Sequence[Task], *, processes: int
) -> Iterator[Result]:
    """What `work` makes of each task; with no processes it is done here, one after the other.

    Processes are spawned and use one thread each. What `work` raises is raised here.

    Raises:
        ResourceError: A process was ended from outside.
    """
    if not processes:
        yield from map(work, tasks)
        return
    ahead: deque[Future[Result]] = deque()
    context = multiprocessing.get_context("spawn")
    with _one_thread_each(), ProcessPoolExecutor(processes, context) as pool:
        for task in tasks:
            ahead.append(pool.submit(work, task))
            if len(ahead) > 2 * processes:
                yield _result(ahead.popleft())
        while ahead:
            yield _result(ahead.popleft())


def _result(future: Future[Result]) -> Result:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise ResourceError(
            "a process that scores pictures was ended from outside, likely for want of memory",
            hint="free some memory, or score smaller pictures",
        ) from error


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes that start inside use one thread: libraries read this when they load."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
