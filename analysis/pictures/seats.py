"""Where finished pictures stand among settings, prompts and seeds.

Seeds are counted within each prompt, since programs draw new ones for each. Where a setting has
one picture of a prompt, that is the one to compare, whatever its seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from analysis.pictures import Found

Seats = Mapping[Found, tuple[int, int, int]]
"""Indices of setting, prompt and seed."""


def seats_of(pictures: Sequence[Found]) -> Seats:
    """Where each picture stands; settings by epoch, then strength."""
    settings = sorted({(f.epoch, f.strength) for f in pictures})
    prompts = sorted({f.prompt for f in pictures})
    rows = {setting: index for index, setting in enumerate(settings)}
    columns = {prompt: index for index, prompt in enumerate(prompts)}
    seeds = {prompt: _places([f for f in pictures if f.prompt == prompt]) for prompt in prompts}
    return {
        f: (rows[f.epoch, f.strength], columns[f.prompt], seeds[f.prompt].get(f.seed, 0))
        for f in pictures
    }


def seeds_of(seats: Seats) -> tuple[int, ...]:
    """What the seeds are called: by themselves where all prompts have the same, else by number."""
    of_prompt: dict[int, set[int]] = {}
    for found in seats:
        of_prompt.setdefault(found.prompt, set()).add(found.seed)
    count = 1 + max((seed for _, _, seed in seats.values()), default=0)
    own = {tuple(sorted(seeds)) for seeds in of_prompt.values()}
    if len(own) == 1 and len(next(iter(own))) == count:
        return next(iter(own))
    return tuple(range(1, count + 1))


def _places(pictures: Sequence[Found]) -> dict[int, int]:
    """The place of each seed of one prompt; none where each setting has a single picture."""
    settings = {(f.epoch, f.strength) for f in pictures}
    if len(settings) == len(pictures):
        return {}
    return {seed: index for index, seed in enumerate(sorted({f.seed for f in pictures}))}
