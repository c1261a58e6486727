"""Sweeps of made-up pictures whose best epoch and strength are known.

A cell's picture is the control's, given a look (colours and a weave) by as much as its epoch and
strength have learned, with noise and contrast that grow past the best strength, and chance
between seeds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from analysis.metrics.base import Company, Unscored, metrics
from analysis.table import Column, Prompt, Setting, Table
from analysis.vetoes import Facts

EPOCHS = (1, 2, 3, 4, 5)
STRENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
SETTINGS = tuple(Setting(e, s) for e in EPOCHS for s in STRENGTHS)
NAMES = ("fidelity", "brisque", "burn", "ssim")
SIDE = 96


@dataclass(frozen=True)
class Sweep:
    """A drawn sweep; `best` is the index of the best setting, None when nothing differs."""

    table: Table
    best: int | None


def facts() -> list[Facts]:
    kinds = {name: metrics[name] for name in NAMES}
    return [Facts(name, kind.axis, kind.better, kind.counts) for name, kind in kinds.items()]


def draw(seed: int, *, differs: bool = True, prompts: int = 4, seeds: int = 2) -> Sweep:
    """A sweep of pictures, scored."""
    dice = np.random.default_rng(seed)
    epoch, strength = int(dice.integers(1, 4)), int(dice.integers(1, 4))
    look = dice.permutation([0.55, 1.0, 1.35]) * dice.uniform(0.9, 1.1, 3)
    shots = [(p, k) for p in range(prompts) for k in range(seeds)]
    controls = {shot: scene(dice) for shot in shots}
    held_out = [as_picture(styled(scene(dice), look)) for _ in range(6)]
    cells = {}
    for index, setting in enumerate(SETTINGS):
        learned = 0.5 if not differs else learning(setting, epoch)
        spoilt = max(0, STRENGTHS.index(setting.strength) - strength) if differs else 0
        for shot in shots:
            cells[index, *shot] = cell(dice, controls[shot], look, learned, spoilt)
    best = SETTINGS.index(Setting(EPOCHS[epoch], STRENGTHS[strength])) if differs else None
    return Sweep(scored(cells, controls, held_out, (prompts, seeds)), best)


def learning(setting: Setting, best: int) -> float:
    """Rises to the best epoch, then falls again; in proportion to the strength."""
    place = EPOCHS.index(setting.epoch)
    rise = min(place, best) + 1 - 0.8 * max(0, place - best)
    return max(0.0, rise / (best + 1)) * setting.strength


def scene(dice: np.random.Generator) -> np.ndarray:
    """Smooth shapes with a fine grain, like a photograph: `(H, W, 3)`, 0 to 1."""
    total = np.zeros((SIDE, SIDE, 3))
    for size, weight in ((6, 0.45), (16, 0.25), (48, 0.15)):
        rough = Image.fromarray(dice.integers(20, 235, (size, size, 3), dtype=np.uint8))
        total += weight * np.asarray(rough.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) / 255
    return np.clip(total + 0.02 * dice.standard_normal(total.shape), 0, 1)


def styled(picture: np.ndarray, look: np.ndarray) -> np.ndarray:
    """The picture in the look: its colours, and a soft weave."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    weave = 0.06 * np.sin(rows / 3) * np.sin(columns / 3)
    return np.clip(picture * look + weave[..., None], 0, 1)


def cell(
    dice: np.random.Generator, control: np.ndarray, look: np.ndarray, learned: float, spoilt: int
) -> np.ndarray:
    mixed = control + learned * (styled(control, look) - control)
    mixed = mixed + 0.015 * dice.standard_normal((1, 1, 3))  # what another seed would change
    harsh = (mixed - 0.5) * (1 + 0.5 * spoilt) + 0.5
    return as_picture(harsh + 0.08 * spoilt * dice.standard_normal(mixed.shape))


def as_picture(values: np.ndarray) -> np.ndarray:
    return (np.clip(values, 0, 1) * 255).round().astype(np.uint8)


def eye(pictures) -> np.ndarray:
    """Colours, in proportion to one another: `(N, 4)`, rows of length 1.

    The fourth number is the same for all, so that likeness grows evenly with the look.
    """
    rows = []
    for picture in pictures:
        means = picture.reshape(-1, 3).mean(axis=0) / 255
        rows.append([*np.log(means / means.mean()), 1.5])
    found = np.array(rows)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def scored(cells, controls, held_out, shape) -> Table:
    values = {name: np.full((len(SETTINGS), *shape), np.nan) for name in NAMES}
    bases = {name: np.full(shape, np.nan) for name in NAMES}
    for name in NAMES:
        config = metrics[name].model_validate({})
        shots = list(controls)
        plain = [as_picture(controls[shot]) for shot in shots]
        if "control" not in config.needs:
            told = config.score(plain, Company(held_out=held_out, eye=eye))
            for shot, value in zip(shots, told, strict=True):
                bases[name][shot] = value
        places = list(cells)
        company = Company(
            controls=[as_picture(controls[place[1:]]) for place in places],
            held_out=held_out,
            eye=eye,
        )
        for place, value in zip(
            places, config.score([cells[p] for p in places], company), strict=True
        ):
            values[name][place] = np.nan if isinstance(value, Unscored) else value
    return Table(
        SETTINGS,
        tuple(Prompt(f"prompt {n}") for n in range(shape[0])),
        tuple(range(shape[1])),
        {name: Column(values[name], bases[name]) for name in NAMES},
        {},
    )


def within_one_step(one: int, other: int) -> bool:
    a, b = SETTINGS[one], SETTINGS[other]
    return (
        abs(EPOCHS.index(a.epoch) - EPOCHS.index(b.epoch)) <= 1
        and abs(STRENGTHS.index(a.strength) - STRENGTHS.index(b.strength)) <= 1
    )
