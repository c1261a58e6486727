"""How often the verdict finds a best setting that is known, and is silent when there is none.

    python benchmarks/truth.py --draws 200

Sweeps of made-up pictures (tests/analysis/synthetic.py): 5 epochs x 5 strengths x 8 prompts x 2
seeds, as a sweep has without prompts of its own, scored by SSIM, BRISQUE, burn and likeness, ranked
in full and by a race for 45% of the pictures. Where nothing differs, two settings stand for the
same checkpoint twice. The last line is of numbers alone: how often 25 intervals of equal settings
hold together when prompts sway each setting five times as much as seeds do.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from analysis.race import Racer, shots_of
from analysis.ranking import Ranking, rank
from analysis.statistics import contest, simultaneous
from analysis.table import Setting, Table
from analysis.vetoes import Rules
from tests.analysis.synthetic import draw, facts, within_one_step

SHARE = 0.45


@dataclass
class Tally:
    """Counts over draws."""

    near: int = 0
    silent: int = 0
    mute: int = 0
    spoke: int = 0
    twice: int = 0
    tied: int = 0
    same: int = 0
    spent: list[float] = field(default_factory=list)


def main() -> None:
    """Draw, rank, race, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--first", type=int, default=0, help="seed of the first draw")
    asked = parser.parse_args()
    draws, first = asked.draws, asked.first
    tally, began = Tally(), time.perf_counter()
    for seed in range(first, first + draws):
        sweep = draw(seed, prompts=asked.prompts)
        full = rank(sweep.table, facts(), Rules(), {})
        tally.near += full.choice is not None and within_one_step(full.choice, sweep.best or 0)
        raced, spent = race(sweep.table)
        tally.spent.append(spent)
        tally.tied += raced.choice == full.choice or raced.choice in full.tied
        tally.same += raced.choice == full.choice
        none = draw(10_000 + seed, differs=False, prompts=asked.prompts)
        tally.twice += bool(contest(none.table.columns["fidelity"].values[:2]).tied.all())
        tally.silent += rank(none.table, facts(), Rules(), {}).state == "cannot tell apart"
        tally.mute += race(none.table)[0].state == "cannot tell apart"
        tally.spoke += raced.state == "chosen"
    print(f"{draws} draws of {asked.prompts} prompts, {time.perf_counter() - began:.0f} s")
    print(f"within one step of the truth:            {tally.near / draws:.1%}")
    print(f"no difference, and says it cannot tell:  {tally.silent / draws:.1%}")
    print(f"no difference, and a race says so too:   {tally.mute / draws:.1%}")
    print(f"a difference, and a race chooses:        {tally.spoke / draws:.1%}")
    print(f"the same checkpoint twice, and it ties:  {tally.twice / draws:.1%}")
    print(f"a race's choice among the grid's tied:   {tally.tied / draws:.1%}")
    print(f"a race's choice is the grid's:           {tally.same / draws:.1%}")
    print(f"pictures a race renders, and the most: {mean(tally.spent):.1%} {max(tally.spent):.1%}")
    print(f"25 intervals of equal settings hold:     {hold(draws, first):.1%}")


def hold(draws: int, first: int) -> float:
    """The share of draws in which the intervals of equal settings all hold."""
    held = 0
    for seed in range(first, first + draws):
        dice = np.random.default_rng(seed)
        sway = dice.standard_normal((25, 4, 1)) + 0.2 * dice.standard_normal((25, 4, 2))
        found = simultaneous(sway)
        held += bool(((found.low <= 0) & (found.high >= 0)).all())
    return held / draws


def race(table: Table) -> tuple[Ranking, float]:
    """What a race for a share of the pictures comes to, and the share it rendered."""
    shape = table.columns["fidelity"].values.shape
    rendered = np.zeros(shape, dtype=bool)
    budget = int(SHARE * rendered.size)
    racer = Racer(budget, facts(), Rules(), list(range(shape[0])), shots_of(*shape[1:]))
    while (asked := racer.next(known(table, rendered), {})) is not None:
        settings, (prompt, seed) = asked
        rendered[settings, prompt, seed] = True
    left = replace(known(table, rendered), dropped=left_behind(table, racer))
    return rank(left, facts(), Rules(), {}), float(rendered.mean())


def left_behind(table: Table, racer: Racer) -> frozenset[Setting]:
    """The settings that a race dropped."""
    return frozenset(s for i, s in enumerate(table.settings) if i not in racer.alive)


def known(table: Table, rendered: np.ndarray) -> Table:
    """The table with what is not rendered hidden."""
    columns = {
        name: replace(column, values=np.where(rendered, column.values, np.nan))
        for name, column in table.columns.items()
    }
    return replace(table, columns=columns)


if __name__ == "__main__":
    main()
