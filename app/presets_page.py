"""docs/presets.md, written from the presets that ship."""

from __future__ import annotations

import itertools

from app import library
from trainer.core.errors import UserError
from trainer.job.layers import job_of
from trainer.job.preset import Preset
from trainer.job.rates import effective_rate

HEAD = """\
# Presets

`sweetspot train JOB --preset NAME` lays a preset under a job: what the job file does not say, the
preset does; what the command line says goes over both. `--explain` shows where each value comes
from, and of which library a preset is. A job file may name its preset itself, in its first line:
`preset = "sdxl-style-12gb"` (from Python, [it is laid below](python-api.md)).

    sweetspot preset list sdxl 12gb          # those that ship, your own, your libraries'
    sweetspot preset show sdxl-style-12gb
    sweetspot preset diff sdxl-style-12gb sdxl-style-24gb
    sweetspot preset new my-fox --from-run RUN --sentence "Foxes in ink."
    sweetspot preset export my-fox --string              # short enough for a chat message
    sweetspot preset export my-fox --out fox.png --run RUN   # a card, with before and after
    sweetspot preset import fox.png          # or a string, a file; says what it changes
    sweetspot preset import "try this: sweetspot:1:..."   # as a chat shows it
    sweetspot preset library add FOLDER      # or the address of a git repository

A preset holds how to train, and nothing of whom or where: paths, the trigger and the class word,
prompts, the name and the device stay on your machine (`--include samples.prompts` puts prompts in
when you want it). One from elsewhere is data: unknown and personal settings, paths, characters
that cannot be seen and files above 64 KiB are refused in one sentence, and nothing of it is run.

Two presets may have one name. The bare name means your own, else a library's, else the one that
ships; `--explain` and `import` say so. In full, each is `LIBRARY/NAME`: `"built in/sd-style-8gb"`
is the one that ships, `own/sd-style-8gb` yours. A name that two libraries have must be in full.

The `-demo` presets are for a CPU: they train the demo models that ship with Sweetspot, one of the
family `sd` and one of `flux`. No demo model of SDXL or SD 3 ships, so there is no `-demo` preset of
these families: it would have nothing to train that a CPU can bear.

The files lie in `presets/builtin`, one a family: its settings, and those of each purpose and each
card, of which a preset is put together. This page is written by `python -m app.reference`.
"""


def render() -> str:
    """The page of presets that ship, as Markdown."""
    problems: list[UserError] = []
    shipped = [e.preset for e in library.entries(problems) if e.shelf == library.SHIPPED]
    groups = itertools.groupby(shipped, key=lambda preset: preset.family)
    return "\n".join([HEAD, *(_presets(family, list(g)) for family, g in groups)])


def _presets(family: str, presets: list[Preset]) -> str:
    """A family's presets as a table, and where their numbers come from."""
    rows = "\n".join(map(_preset, presets))
    sources = dict.fromkeys(source for preset in presets for source in preset.about.sources)
    tested = dict.fromkeys(preset.about.tested for preset in presets)
    told = "\n".join(f"- {source}" for source in sources)
    ran = "\n".join(f"- {one}" for one in tested)
    return (
        f"## {family}\n\n| Preset | px | rank | alpha | targets | rate | rate x alpha / rank "
        "| length | batch | at most |\n|---|---|---|---|---|---|---|---|---|---|\n"
        f"{rows}\n\nWhere the numbers come from:\n\n{told}\n\nWhat was run:\n\n{ran}\n"
    )


def _preset(preset: Preset) -> str:
    job = job_of(preset)
    target = f"{job.memory.target_gib:g} GiB" if job.memory.target_gib else "-"
    cells = [
        f"`{preset.name}`",
        job.model.resolution,
        job.adapter.rank,
        f"{job.adapter.alpha:g}",
        job.adapter.targets,
        f"{job.optimizer.learning_rate:g}",
        f"{effective_rate(job):.2g}",
        f"{job.schedule.steps} steps" if job.schedule.steps else f"{job.schedule.epochs} epochs",
        job.schedule.batch_size,
        target,
    ]
    return f"| {' | '.join(map(str, cells))} |"
