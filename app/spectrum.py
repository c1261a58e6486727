"""A LoRA's spectrum, printed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from trainer.weights.spectrum import Group, Module, Spectrum

_STRONGEST = 10
"""Modules that are listed; --json has them all."""


def print_spectrum(spectrum: Spectrum, console: Console) -> None:
    """What there is to say, then the numbers by block and kind, then the strongest modules."""
    compared = f", compared with {spectrum.base}" if spectrum.base else ""
    _line(console, f"{spectrum.name}: {spectrum.family}{compared}", "bold")
    for sentence in spectrum.sentences:
        _line(console, sentence)
    for title, groups in (("block", spectrum.blocks), ("kind", spectrum.kinds)):
        console.print()
        console.print(_table(title, [*groups, spectrum.whole]))
    strongest = sorted(spectrum.modules, key=lambda module: -module.norm)[:_STRONGEST]
    console.print()
    _line(console, "the modules that change most:", "bold")
    for module in strongest:
        _line(console, f"  {_told(module)}")
    if not spectrum.base:
        _line(console, "--base MODEL compares the change with the base model's own weights", "dim")


@contextmanager
def looking(console: Console) -> Iterator[Callable[[int, int], None]]:
    """A bar for `spectrum(progress=...)` while layers of the base model are decomposed."""
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("decomposing the base model's layers", total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)


def _table(title: str, groups: list[Group]) -> Table:
    based = groups[-1].relative is not None
    more = ["of the base", "intruders"] if based else []
    table = Table(title, "modules", "share", "norm", "ranks used", "99% in rank", *more, box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for group in groups:
        cells = [
            str(group.modules) if not group.zeros else f"{group.modules} ({group.zeros} zero)",
            f"{group.share:.0%}",
            f"{group.norm:.3g}",
            f"{group.effective_rank:.1f} of {group.rank}",
            str(group.rank_99),
        ]
        if based:
            cells += [_percent(group.relative), _intruders(group)]
        table.add_row(Text(group.name), *cells)
    return table


def _intruders(group: Group) -> str:
    """How many, and in how many of the modules that were looked into."""
    if group.intruders is None:
        return "-"
    return f"{group.intruders} in {group.intruded}/{group.looked}"


def _told(module: Module) -> str:
    facts = [
        f"norm {module.norm:.3g}",
        f"uses {module.effective_rank:.1f} of {module.rank} ranks",
    ]
    if module.relative is not None:
        facts.append(f"{_percent(module.relative)} of the base")
    if module.intruders:
        facts.append(f"intruders: {module.intruders}")
    return f"{module.name}: {', '.join(facts)}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"


def _line(console: Console, words: str, style: str = "") -> None:
    console.print(Text(words, style=style), soft_wrap=True)
