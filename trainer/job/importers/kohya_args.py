"""sd-scripts' arguments by name, wherever a file has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trainer.job.importers.account import Draft
from trainer.job.importers.reading import Key
from trainer.job.importers.rules import Maps, number_or_none, take
from trainer.job.importers.values import UnreadableError, flag, is_unset


@dataclass(slots=True)
class Args:
    """Arguments by sd-scripts' name.

    Attributes:
        at: Which key holds each.
        zero_is_unset: Names of those that say nothing with 0, as forms write them.
        whole: Whether all arguments stand there; a LoRA file's header has only some.
    """

    draft: Draft
    at: Mapping[str, Key]
    zero_is_unset: frozenset[str] = frozenset()
    whole: bool = True

    def get(self, name: str) -> Any:
        """The value of an argument; None without one."""
        value = self.draft.leaves.get(self.at.get(name, ()))
        if is_unset(value) or (name in self.zero_is_unset and number_or_none(value) == 0):
            return None
        return value

    def number(self, name: str) -> float | None:
        """The number of an argument; None without one."""
        return number_or_none(self.get(name))

    def on(self, name: str) -> bool:
        """Whether a switch is on."""
        try:
            return flag(self.get(name))
        except UnreadableError:
            return False

    def key(self, name: str) -> Key:
        """Where the argument stands."""
        return self.at[name]

    def take(self, name: str, ours: str, told: str = "") -> None:
        """Take one over by the setting's own type, when it is there."""
        if self.get(name) is not None:
            take(self.draft, self.key(name), self.get(name), Maps(ours, told))

    def below(self, prefix: str) -> Iterable[tuple[str, Key]]:
        """Arguments of an argument, such as `network_args.algo`."""
        return [(n[len(prefix) + 1 :], k) for n, k in self.at.items() if n.startswith(f"{prefix}.")]
