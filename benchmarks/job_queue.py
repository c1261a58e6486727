"""How long the queue takes with many jobs: adding, listing, taking, moving, settling.

    python benchmarks/job_queue.py --jobs 10000 --folder SOME_FOLDER

Each figure is the median of the rounds, the worst, and the mean time on the processor. The
folder's disk decides about writes.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from app.queue import claims, order
from app.queue.claims import Settled
from app.queue.database import share
from app.queue.store import Asked, Entry, Store
from app.queue.summary import summary
from trainer.job.file import parse_job


def main() -> None:
    """Print a table for each way of writing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--folder", type=Path, default=None)
    asked = parser.parse_args()
    for shared in (False, True):
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder, Store(Path(folder)) as store:
            if shared:
                share(store.database, store.path)
            measure(store, asked.jobs, asked.rounds, "shared (DELETE)" if shared else "local (WAL)")


def measure(store: Store, count: int, rounds: int, title: str) -> None:
    """One queue: fill it, then take the times."""
    text = parse_job({"dataset": {"folder": "/pictures"}}).model_dump_json()
    jobs = [Asked(f"job-{n}", "train", "auto", "/runs", text) for n in range(count)]
    began = time.perf_counter()
    store.add(jobs)
    added = time.perf_counter() - began
    size = store.path.stat().st_size / 1e6
    print(f"{title}: {count:,} jobs added in {added:.2f} s, file of {size:.1f} MB")
    worker = claims.enter(store, "cuda:0", share=False)

    taken: list[Entry] = []

    def take() -> None:
        entry = claims.claim(store, worker)
        assert entry is not None
        taken.append(entry)

    last = store.find(f"job-{count - 1}")
    told("list, the first 100", rounds, lambda: summary(store, most=100))
    told("list, all", rounds, store.entries)
    told("list, those that run", rounds, lambda: claims.running(store))
    told("take", rounds, take)
    told("settle", rounds, lambda: claims.settle(store, taken.pop(), Settled("completed", 0), 0.0))
    told("find by name", rounds, lambda: store.find(f"job-{count // 2}"))
    told("move to the front", rounds, lambda: order.to_edge(store, last, last=False))
    told("sign of life", rounds, lambda: claims.beat(store, worker, None, 0.0))


def told(what: str, rounds: int, act: Callable[[], object]) -> None:
    """Do it so often, and print how long it took, and how much of that on the processor."""
    times, worked = [], time.process_time()
    for _ in range(rounds):
        began = time.perf_counter()
        act()
        times.append(1000 * (time.perf_counter() - began))
    cpu = 1000 * (time.process_time() - worked) / rounds
    middle = statistics.median(times)
    print(f"  {what:22} {middle:7.1f} ms, at worst {max(times):7.1f}; {cpu:5.1f} of the processor")


if __name__ == "__main__":
    main()
