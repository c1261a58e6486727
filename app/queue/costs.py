"""What jobs will take, before any is run.

`python -m app.queue.costs` reads a line of JSON for each job and writes one for each price.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from app.queue.folders import job_of
from app.queue.store import Asked
from trainer.core.errors import UserError

if TYPE_CHECKING:
    from trainer.data.folder import Scan
    from trainer.job.config import JobConfig


@dataclass(frozen=True, slots=True)
class Price:
    """What a job will take.

    Attributes:
        seconds: 0 when that is told once it is measured, as for analyses.
        disk: Bytes.
        memory: Bytes at its peak.
        problem: Why the job would be refused; then nothing else counts.
    """

    name: str
    kind: str
    steps: int = 0
    seconds: float = 0.0
    disk: int = 0
    memory: int = 0
    problem: str = ""


def prices(jobs: Iterable[Asked]) -> list[Price]:
    """What each job will take; pictures that several share are looked at once."""
    return list(each_price(jobs))


def each_price(jobs: Iterable[Asked]) -> Iterator[Price]:
    """The same, one after the other."""
    scan = _scanner()
    return (_price(job, scan) for job in jobs)


def _price(asked: Asked, scan: Callable[[JobConfig], Scan]) -> Price:
    if asked.kind != "train":
        return Price(asked.name, asked.kind)
    from trainer.planning import plan_of
    from trainer.preflight import cost

    job = job_of(asked.text)
    try:
        found = cost(job, plan_of(job), scan(job))
    except UserError as error:
        place = f"{error.where}: " if error.where else ""
        return Price(asked.name, asked.kind, problem=f"{place}{error.problem}")
    return Price(asked.name, asked.kind, found.steps, found.seconds, found.disk, found.memory)


def _scanner() -> Callable[[JobConfig], Scan]:
    seen: dict[str, Scan] = {}

    def scan(job: JobConfig) -> Scan:
        from trainer.data import folder

        key = job.dataset.model_dump_json()
        if key not in seen:
            seen[key] = folder.scan(job.dataset)
        return seen[key]

    return scan


def main() -> None:
    """Price the jobs that are told on standard input."""
    asked = [Asked(**json.loads(line)) for line in sys.stdin]
    for price in each_price(asked):
        sys.stdout.write(json.dumps(asdict(price)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
