"""Errors a person can act on.

Whatever is raised on purpose across a package border is a `UserError`: it says what
is wrong, where, and what to do next. Anything else is a bug and keeps its traceback.
Each class has an exit code of its own; docs/exit-codes.md lists them.
"""

from __future__ import annotations

from typing import ClassVar

COMPLETED = 0
BUG = 1
UNDECIDED = 10
"""Exit code of an analysis that came to no choice: its pictures cannot tell, or none will do."""
STOPPED = 75
"""Exit code of a run that was asked to stop, saved, and can be resumed (BSD's EX_TEMPFAIL)."""


class UserError(Exception):
    """A problem with a cure.

    Args:
        problem: One sentence: what is wrong, with the offending value in quotes.
        where: The field path, file or folder it concerns.
        hint: One sentence: the next thing to try.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, problem: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(problem)
        self.problem, self.where, self.hint = problem, where, hint

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        cure = f"\n  try: {self.hint}" if self.hint else ""
        return f"{place}{self.problem}{cure}"


class ConfigError(UserError):
    """A value, or a mix of values, that cannot be trained with."""

    exit_code = 2


class DatasetError(UserError):
    """Images or captions that cannot be read."""

    exit_code = 3


class ModelError(UserError):
    """A base model that is missing, damaged, or of another family."""

    exit_code = 4


class AdapterError(UserError):
    """An adapter file that does not fit the base model."""

    exit_code = 5


class ResourceError(UserError):
    """Too little memory or disk, or a place that cannot be written."""

    exit_code = 6


class DivergedError(UserError):
    """The loss, a gradient or a weight is no longer a finite number."""

    exit_code = 7


class ProofError(UserError):
    """The run ended, but its LoRA file does not do what the trained model does."""

    exit_code = 8


class RunError(UserError):
    """A run folder that is in use, damaged, or cannot be continued."""

    exit_code = 9


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory is full, of a card or of the machine.

    Libraries raise `MemoryError`, torch an `OutOfMemoryError` for cards and a plain
    `RuntimeError` for the machine's memory.
    """
    said = str(error).lower()
    full = "out of memory" in said or "can't allocate memory" in said
    return isinstance(error, MemoryError) or full
