"""The folder of pictures that were asked for, and of the process that renders them.

runs/generated/
    state.json, events.jsonl, stop, lock     of the process, as in a run's folder
    waiting/          a name for each order that nobody has begun
    at-work/          the one that is rendered now
    controls/         the base model's own pictures, named by what made them
    20261127-201530-123456/
        order.json        what is asked
        001-7.png         pictures: their number and seed
        stop              exists when somebody no longer wants it
        outcome.json      how it ended

An order is in `waiting` or `at-work`, or has an outcome: whoever finds the folder after a crash
knows what was left.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

from app.generate.asked import Order, plain
from trainer.core import toml
from trainer.core.errors import RunError, UserError
from trainer.core.files import hash_text, plain_disk_errors, write_atomically
from trainer.core.work import WorkFolder, make_folder

Standing = Literal["waiting", "running", "completed", "stopped", "failed", "died"]
_ID = re.compile(r"\d{8}-\d{6}-\d{6}(-\d+)?")
_WAITING, _WORK = "waiting", "at-work"
_LOST = "the process that rendered it ended without a word"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an order ended."""

    status: Literal["completed", "stopped", "failed"]
    problem: str = ""
    where: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Placed:
    """An order in its folder."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's name, by which orders are sorted in time."""
        return self.path.name

    @property
    def order(self) -> Order:
        """What is asked.

        Raises:
            RunError: Another version wrote it, or it is damaged.
        """
        return _order(self.path / "order.json")

    @property
    def pictures(self) -> list[Path]:
        """What is rendered so far, in order."""
        return sorted(self.path.glob("*.png"))

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; None while it has not."""
        try:
            told = json.loads((self.path / "outcome.json").read_text("utf-8"))
            return Outcome(**told)
        except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, TypeError):
            return None

    def ask_to_stop(self) -> None:
        """Say that it is no longer wanted."""
        write_atomically(self.path / "stop", "")

    def stop_asked(self) -> bool:
        """Whether somebody said so, or took the folder away."""
        return (self.path / "stop").exists() or not self.path.is_dir()


@dataclass(frozen=True, slots=True)
class Studio(WorkFolder):
    """The folder as a whole."""

    noun: ClassVar[str] = "folder of pictures"
    worker: ClassVar[str] = "app.generate.worker"
    inner: ClassVar[tuple[str, ...]] = ("controls",)

    @classmethod
    def below(cls, runs: Path) -> Studio:
        """That of a runs folder, which need not be there."""
        return cls(runs.absolute() / "generated")

    def add(self, order: Order) -> Placed:
        """Keep an order; some process must be started to have it rendered.

        Raises:
            ResourceError: The place cannot be written.
        """
        stem = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
        placed = Placed(make_folder(self.path, stem, ()))
        write_atomically(placed.path / "order.json", json.dumps(plain(order)))
        write_atomically(self.path / _WAITING / placed.name, "")
        return placed

    def find(self, name: str) -> Placed:
        """The order of this name.

        Raises:
            RunError: There is none.
        """
        placed = Placed(self.path / name)
        if not _ID.fullmatch(name) or not (placed.path / "order.json").is_file():
            raise RunError("these pictures are no longer there", where=name)
        return placed

    def orders(self) -> list[Placed]:
        """Every order, newest first."""
        if not self.path.is_dir():
            return []
        names = sorted(filter(_ID.fullmatch, (p.name for p in self.path.iterdir())), reverse=True)
        return [Placed(self.path / name) for name in names]

    def waiting(self) -> list[Placed]:
        """Orders that nobody has begun, oldest first."""
        return self._marked(_WAITING)

    def open(self) -> int:
        """How many orders wait or are rendered, whether or not a process is there for them."""
        return len(self._marked(_WAITING)) + len(self._marked(_WORK))

    def standing(self, placed: Placed, *, alive: bool) -> Standing:
        """How an order stands.

        Args:
            placed: Which.
            alive: Whether the process that renders is there.
        """
        outcome = placed.outcome
        if outcome is not None:
            return outcome.status
        if (self.path / _WAITING / placed.name).exists():
            return "waiting"
        return "running" if alive else "died"

    def remove(self, placed: Placed) -> None:
        """Throw an order away, its pictures with it.

        Raises:
            ResourceError: The place cannot be written.
        """
        with plain_disk_errors(placed.path):
            (self.path / _WAITING / placed.name).unlink(missing_ok=True)
            shutil.rmtree(placed.path)

    def control(self, order: Order, seed: int) -> Path:
        """Where the base model's own picture is, or will be, for an order's picture."""
        told = {**plain(order), "seed": seed, "loras": (), "pictures": 1, "control": True}
        return self.path / "controls" / f"{hash_text(json.dumps(told, sort_keys=True))[:24]}.png"

    # For the one process that renders

    def begin(self, placed: Placed) -> None:
        """Take an order in hand."""
        (self.path / _WORK).mkdir(exist_ok=True)
        (self.path / _WAITING / placed.name).replace(self.path / _WORK / placed.name)

    def end(self, placed: Placed, outcome: Outcome) -> None:
        """Note how an order ended, unless somebody took its folder away."""
        from dataclasses import asdict

        if placed.path.is_dir():
            write_atomically(placed.path / "outcome.json", json.dumps(asdict(outcome)))
        for folder in (_WAITING, _WORK):
            (self.path / folder / placed.name).unlink(missing_ok=True)

    def bury(self) -> None:
        """Note of orders that an earlier process left unfinished that they are."""
        hint = "it may have needed too much memory; smaller pictures need less"
        for placed in self._marked(_WORK):
            self.end(placed, placed.outcome or Outcome("failed", _LOST, hint=hint))

    def _marked(self, folder: str) -> list[Placed]:
        place = self.path / folder
        names = sorted(p.name for p in place.iterdir()) if place.is_dir() else []
        return [Placed(self.path / name) for name in names if _ID.fullmatch(name)]


@lru_cache(maxsize=1024)
def _order(path: Path) -> Order:
    """An order's file, which is written once."""
    try:
        return toml.parse(Order, json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, UserError):
        raise RunError("this order cannot be read", where=str(path), hint="ask anew") from None
