"""Tables with a known best setting, drawn at random."""

from __future__ import annotations

import numpy as np

from analysis.table import Column, Prompt, Setting, Table
from analysis.vetoes import Facts

EPOCHS = 6
STRENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2)
SETTINGS = tuple(Setting(e, s) for e in range(1, EPOCHS + 1) for s in STRENGTHS)
FACTS = (
    Facts("fidelity", "learned", "higher", "trigger"),
    Facts("brisque", "quality", "lower", "all"),
    Facts("ssim", "aside", "neither", "all"),
)


def sweep(
    seed: int, *, differs: bool = True, prompts: int = 5, seeds: int = 2, noise: float = 0.02
):
    """A table, and the index of its best setting.

    Likeness grows with strength and epoch, and falls again past the best epoch; past the best
    strength BRISQUE grows.
    """
    chance = np.random.default_rng(seed)
    best_epoch, best_strength = int(chance.integers(2, EPOCHS)), int(chance.integers(1, 5))
    epoch = np.array([s.epoch for s in SETTINGS])
    strength = np.array([STRENGTHS.index(s.strength) for s in SETTINGS])
    rise = 0.12 * np.minimum(epoch, best_epoch) - 0.1 * np.maximum(epoch - best_epoch, 0)
    learned = rise * (0.2 + 0.2 * strength) if differs else np.full(len(SETTINGS), 0.3)
    spoilt = np.maximum(0, strength - best_strength) * 15.0 * differs
    shape = (len(SETTINGS), prompts, seeds)
    base = chance.standard_normal(shape[1:]) * 0.1
    own = 1 + 0.1 * chance.standard_normal((1, prompts, 1))
    fidelity = base + learned[:, None, None] * own + noise * chance.standard_normal(shape)
    natural = 20 + 5 * chance.standard_normal(shape[1:])
    brisque = natural + spoilt[:, None, None] + 3 * chance.standard_normal(shape)
    table = Table(
        SETTINGS,
        tuple(Prompt(f"prompt {n}") for n in range(prompts)),
        tuple(range(seeds)),
        {
            "fidelity": Column(fidelity, base),
            "brisque": Column(brisque, natural),
            "ssim": Column(np.full(shape, 0.7), np.full(shape[1:], np.nan)),
        },
        {},
    )
    place = SETTINGS.index(Setting(best_epoch, STRENGTHS[best_strength]))
    return table, place


def within_one_step(one: int, other: int) -> bool:
    a, b = SETTINGS[one], SETTINGS[other]
    steps = STRENGTHS.index(a.strength) - STRENGTHS.index(b.strength)
    return abs(a.epoch - b.epoch) <= 1 and abs(steps) <= 1
