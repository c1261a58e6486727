"""A preset as a picture: its card, with the recipe inside and what it made of a base model.

The preset's string is kept in the PNG as text, so that the picture can be given back to
`sweetspot preset import`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from trainer.core.errors import ConfigError, RunError
from trainer.core.events import Sampled
from trainer.core.files import write_atomically
from trainer.data.prior import as_png
from trainer.job.layers import job_of
from trainer.job.preset import Preset
from trainer.job.rates import rate_in_words
from trainer.job.run import Run
from trainer.job.sharing import from_string, to_string

KEY = "sweetspot-preset"
MOST_BYTES = 64 * 2**20
"""Of a card that is read."""
_WIDTH, _MARGIN, _GAP = 1000, 36, 12
_PAPER, _INK, _SOFT, _LINE = "#ffffff", "#1d2530", "#5c6773", "#d9dee4"
_PAIRS = 4


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt's picture of the base model, and the same with the LoRA.

    Attributes:
        title: What the second is called: "epoch 8 at strength 0.9".
    """

    before: Path
    after: Path
    title: str


def write_card(preset: Preset, path: Path, pairs: Sequence[Pair] = ()) -> None:
    """Draw the card and write it as a PNG with the preset inside.

    Raises:
        ResourceError: The file cannot be written.
    """
    write_atomically(path, card(preset, pairs))


def card(preset: Preset, pairs: Sequence[Pair] = ()) -> bytes:
    """The card as a PNG with the preset inside."""
    info = PngInfo()
    info.add_text(KEY, to_string(preset))
    return as_png(draw(preset, pairs), info)


def read_card(path: Path) -> Preset:
    """The preset in a card's PNG.

    Raises:
        ConfigError: It is no picture, or has no preset inside.
    """
    if path.stat().st_size > MOST_BYTES:
        raise ConfigError(
            f"the picture is larger than {MOST_BYTES // 2**20} MiB, which no card is",
            where=str(path),
        )
    try:
        with Image.open(path, formats=["PNG"]) as opened:
            opened.load()
            text = getattr(opened, "text", {}).get(KEY)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ConfigError(f"it is no whole PNG: {error}", where=str(path)) from None
    except Image.DecompressionBombError as error:
        raise ConfigError(f"it is too large: {error}", where=str(path)) from None
    if not isinstance(text, str):
        raise ConfigError(
            "the picture has no preset inside",
            where=str(path),
            hint="the file as it was shared: chat programs strip it when they shrink a picture",
        )
    return from_string(text)


def pairs_of(run: Run) -> list[Pair]:
    """What a run made of the base model: its analysis's choice, else its last samples."""
    return (_chosen(run) or _samples(run))[:_PAIRS]


def _chosen(run: Run) -> list[Pair]:
    from analysis.keep import read_report
    from app.sweeps import find_sweep

    try:
        folder = find_sweep(run.path)
        told = read_report(folder)
    except RunError:  # no analysis, or a report of another version: the samples stand for it
        return []
    choice = told["verdict"]["choice"]
    if choice is None:
        return []
    controls = {(c["prompt"], c["seed"]): c["picture"] for c in told["controls"]}
    title = f"epoch {choice['epoch']} at strength {choice['strength']:g}"
    found: dict[Any, Pair] = {}
    for cell in told["cells"]:
        here = (cell["epoch"], cell["strength"]) == (choice["epoch"], choice["strength"])
        control = controls.get((cell["prompt"], cell["seed"]))
        asks = told["prompts"][cell["prompt"]]["kind"] == "trigger"
        if here and asks and control and cell["picture"]:
            pair = Pair(folder / control, folder / cell["picture"], title)
            found.setdefault(cell["prompt"], pair)
    return list(found.values())


def _samples(run: Run) -> list[Pair]:
    rows: dict[int, dict[tuple[str, int], Path]] = {}
    for told in run.events():
        if isinstance(told.event, Sampled):
            event = told.event
            rows.setdefault(event.epoch, {})[event.prompt, event.seed] = run.path / event.path
    if 0 not in rows or len(rows) < 2:
        return []
    last = max(rows)
    base = rows[0]
    return [Pair(base[k], path, f"epoch {last}") for k, path in rows[last].items() if k in base]


def draw(preset: Preset, pairs: Sequence[Pair]) -> Image.Image:
    """The card, 1000 px wide."""
    side = (_WIDTH - 2 * _MARGIN - (_PAIRS - 1) * _GAP) // _PAIRS
    lines = [*_wrapped(preset.about.sentence, 18), "", *_facts(preset)]
    top = _MARGIN + 44 + len(lines) * 26 + 20
    height = top + ((2 * side + 3 * _GAP + 60) if pairs else 0) + 56
    made = Image.new("RGB", (_WIDTH, height), _PAPER)
    pen = ImageDraw.Draw(made)
    pen.text((_MARGIN, _MARGIN), preset.name, fill=_INK, font=_font(32))
    y = _MARGIN + 48
    for line in lines:
        pen.text((_MARGIN, y), line, fill=_INK, font=_font(18))
        y += 26
    if pairs:
        y = _draw_pairs(made, pen, pairs, top, side)
    pen.line((_MARGIN, height - 52, _WIDTH - _MARGIN, height - 52), fill=_LINE, width=1)
    by = f"by {preset.about.author} · " if preset.about.author else ""
    licence = f"{preset.about.licence} · " if preset.about.licence else ""
    foot = f"{by}{licence}a Sweetspot preset: `sweetspot preset import` reads this picture"
    pen.text((_MARGIN, height - 40), foot, fill=_SOFT, font=_font(15))
    return made


def _draw_pairs(
    card: Image.Image, pen: ImageDraw.ImageDraw, pairs: Sequence[Pair], top: int, side: int
) -> int:
    y = top
    rows = (
        ("the base model", [p.before for p in pairs]),
        (pairs[0].title, [p.after for p in pairs]),
    )
    for title, files in rows:
        pen.text((_MARGIN, y), title, fill=_SOFT, font=_font(15))
        y += 24
        for index, file in enumerate(files[:_PAIRS]):
            with Image.open(file) as opened:
                picture = opened.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
            card.paste(picture, (_MARGIN + index * (side + _GAP), y))
        y += side + _GAP
    return y


def _facts(preset: Preset) -> list[str]:
    """The numbers that people compare."""
    job = job_of(preset)
    length = (
        f"{job.schedule.steps} steps"
        if job.schedule.steps
        else (f"{job.schedule.epochs or 10} epochs")
    )
    first = (
        f"{job.model.kind} · {job.model.resolution} px · rank {job.adapter.rank} · {length} · "
        f"batch {job.schedule.batch_size}"
    )
    return [first, *_wrapped(rate_in_words(job), 18)]


def _wrapped(text: str, size: int) -> list[str]:
    font, lines = _font(size), [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= _WIDTH - 2 * _MARGIN or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines[:6]


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
