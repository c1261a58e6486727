"""What a sweep may spend: pictures of a race, and room on the disk."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from analysis.preview import seconds_a_picture
from analysis.race import least
from trainer.core.errors import ConfigError
from trainer.core.events import Emit, Warned
from trainer.core.files import require_space, write_atomically

if TYPE_CHECKING:
    from analysis.studio import Studio
    from analysis.sweep import Sweep

_BYTES_A_PIXEL = 2.5


def budget_of(sweep: Sweep, studio: Studio, controls: tuple[int, float], emit: Emit) -> int:
    """Pictures to spend on a race; 0 for the full grid. Settled once, so that it resumes.

    Args:
        sweep: Where it is kept.
        studio: What is rendered.
        controls: How many of the base model's pictures were rendered just now, in what time, s.
        emit: Told when the time is too short.
    """
    asked, settings = studio.config.analysis, len(studio.settings)
    shots = len(studio.prompts) * len(studio.seeds)
    if asked.renders:
        return min(asked.renders, settings * shots)
    if not asked.minutes:
        return 0
    path = sweep.path / "budget.json"
    if path.is_file():
        return int(json.loads(path.read_text(encoding="utf-8"))["renders"])
    rendered, took = controls
    a_picture = took / rendered if rendered else seconds_a_picture(studio.config)
    affordable, fewest = int((60 * asked.minutes - took) / a_picture), least(settings, shots)
    if affordable < fewest:
        emit(
            Warned(
                f"in {asked.minutes:g} min there is time for {max(0, affordable)} pictures, and a "
                f"race of {settings} settings needs {fewest}: those are rendered"
            )
        )
    renders = min(max(fewest, affordable), settings * shots)
    told = {"renders": renders, "pictures_a_second": round(1 / a_picture, 3)}
    write_atomically(path, json.dumps(told))
    return renders


def require_enough(studio: Studio) -> None:
    """Raise where a race may spend too few pictures to come to its end."""
    asked, settings = studio.config.analysis, len(studio.settings)
    shots = len(studio.prompts) * len(studio.seeds)
    fewest = min(least(settings, shots), settings * shots)
    if 0 < asked.renders < fewest:
        raise ConfigError(
            f"{asked.renders} pictures are too few for a race of {settings} settings",
            where="analysis.renders",
            hint=f"at least {fewest}, or fewer epochs, strengths or prompts",
        )


def require_room(sweep: Sweep, studio: Studio) -> None:
    """Raise where the disk has no room for the sweep's pictures."""
    width, height = studio.recipe.size
    count = len(studio.cells(studio.settings)) + len(studio.controls)
    needed = int(count * width * height * _BYTES_A_PIXEL)
    require_space(sweep.path, needed, "the sweep's pictures")
