"""What votes say, printed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from analysis.table import Setting
    from analysis.votes.agreement import Agreement
    from analysis.votes.strengths import Scores, Standing

_SHOWN = 12
"""Rows of a list before it is cut; --json has them all."""


def print_scores(scores: Scores, agreements: Sequence[Agreement], console: Console) -> None:
    """Who is liked best, how sure that is, and whether the metrics agree."""
    for sentence in sentences(scores):
        _line(console, sentence)
    if scores.standings:
        console.print()
        console.print(_standings(scores))
    if agreements:
        console.print()
        console.print(_agreements(agreements))


def print_problems(problems: Sequence[str], console: Console) -> None:
    """Lines that were no votes."""
    for problem in problems[:_SHOWN]:
        _line(console, problem, "yellow")
    if len(problems) > _SHOWN:
        _line(console, f"and {len(problems) - _SHOWN} more", "yellow")


def sentences(scores: Scores) -> Iterator[str]:
    """What there is to say before the numbers."""
    yield f"{scores.counted} votes count"
    if scores.strange:
        yield (
            f"{scores.strange} do not: they are on pictures that this analysis does not have, or "
            "on one setting twice"
        )
    if scores.standings:
        yield _first(scores)
    if len(scores.islands) > 1:
        yield (
            f"the settings fall into {len(scores.islands)} groups that no vote links, and only "
            "within a group can they be compared: more votes across them would help"
        )
    if scores.unseen:
        yield f"no vote is on {_named(scores.unseen)}"


def _first(scores: Scores) -> str:
    best = scores.standings[0]
    rivals = [s for s in scores.standings[1:] if s.island == best.island and s.high >= best.low]
    words = f"liked best: {_name(best.setting)}"
    if not rivals:
        return words
    return f"{words}; its interval meets that of {_named([rival.setting for rival in rivals])}"


def _named(settings: Sequence[Setting]) -> str:
    names = ", ".join(_name(setting) for setting in settings[:_SHOWN])
    rest = len(settings) - _SHOWN
    return f"{names} and {rest} more" if rest > 0 else names


def _name(setting: Setting) -> str:
    if setting.epoch == 0:
        return "the base model"
    return f"epoch {setting.epoch} at {setting.strength:g}"


def _standings(scores: Scores) -> Table:
    several = len(scores.islands) > 1
    table = Table(*(["group"] if several else []), "setting", box=None)
    for title in ("preferred", "95% interval", "won", "lost", "tied"):
        table.add_column(title, justify="right")
    for standing in scores.standings:
        group = [str(standing.island + 1)] if several else []
        table.add_row(*group, _name(standing.setting), *_numbers(standing))
    table.caption = "preferred: over the average setting, ties aside"
    return table


def _numbers(standing: Standing) -> list[str]:
    from analysis.votes.strengths import chance

    return [
        f"{standing.preferred:.0%}",
        f"{chance(standing.low):.0%} to {chance(standing.high):.0%}",
        str(standing.wins),
        str(standing.losses),
        str(standing.ties),
    ]


def _agreements(agreements: Sequence[Agreement]) -> Table:
    table = Table("metric", box=None)
    for title in ("agrees with", "95% interval", "votes", "order of settings (tau)"):
        table.add_column(title, justify="right")
    for found in agreements:
        known = found.share is not None
        table.add_row(
            Text(found.metric),
            f"{found.share:.0%}" if known else "-",
            f"{found.low:.0%} to {found.high:.0%}" if known else "-",
            str(found.counted),
            "-" if found.tau is None else f"{found.tau:+.2f} over {found.settings}",
        )
    table.caption = "half of the votes is what chance agrees with"
    return table


def _line(console: Console, words: str, style: str = "") -> None:
    console.print(Text(words, style=style), soft_wrap=True)
