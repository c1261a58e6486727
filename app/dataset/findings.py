"""What a person should know of a picture or of the captions, in words to stand beside them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from trainer.data.bucket import Frame
from trainer.data.folder import Picture, Problem, Scan
from trainer.data.wording import audit, beyond_clip, glued, without_trigger

if TYPE_CHECKING:
    from trainer.job.pictures import DatasetConfig

LITTLE_KEPT = 0.75
"""A picture of which less is kept is worth a look."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about one picture.

    Attributes:
        kind: To filter by.
        level: "bad" for what a run would stop at, "note" for what one may want so.
        about: Whether the picture or its caption is meant.
    """

    kind: str
    level: Literal["bad", "note"]
    about: Literal["picture", "caption"]
    words: str


def of_pictures(
    scanned: Scan,
    frames: Mapping[str, Frame],
    small: Iterable[Problem],
    config: DatasetConfig,
) -> dict[str, tuple[Finding, ...]]:
    """Findings by the picture's name, the worst first."""
    pictures = scanned.pictures
    told: dict[str, list[Finding]] = defaultdict(list)
    faulty = {p.path: p.what for p in scanned.problems[: scanned.bad_captions]}
    too_small = {problem.path: problem.what for problem in small}
    lacking = set(without_trigger(pictures, config.trigger))
    for picture in pictures:
        found = told[picture.name]
        if picture.path in too_small:
            words = f"Too small to train on: {too_small[picture.path]}"
            found.append(Finding("too small", "bad", "picture", words))
        if fault := faulty.get(picture.path.with_suffix(".txt")):
            found.append(Finding("bad caption", "bad", "caption", f"Its caption file: {fault}"))
        else:
            found += _of_caption(picture)
        if picture.name in lacking:
            words = f"The trigger word {config.trigger!r} is not in the caption"
            found.append(Finding("no trigger", "note", "caption", words))
        frame = frames.get(picture.name)
        if frame and frame.kept < LITTLE_KEPT:
            words = f"The cut loses {1 - frame.kept:.0%} of the picture"
            found.append(Finding("much cropped", "note", "picture", words))
    return {name: tuple(found) for name, found in told.items() if found}


def _of_caption(picture: Picture) -> list[Finding]:
    if picture.source == "none":
        return [Finding("no caption", "bad", "caption", "No caption")]
    if not picture.caption:
        return [Finding("empty caption", "note", "caption", "The caption is empty")]
    if beyond_clip(picture.caption):
        words = "Longer than CLIP reads (75 tokens): Stable Diffusion drops the rest"
        return [Finding("long caption", "note", "caption", words)]
    return []


def refusals(found: Scan, usable: int) -> tuple[str, ...]:
    """Why a run on this folder would not start, each with what helps."""
    bare = sum(picture.source == "none" for picture in found.pictures)
    told = []
    if not usable:
        told.append("No picture is large enough to train on: lower the resolution or bucket step.")
    if bare:
        which = "1 picture has" if bare == 1 else f"{bare} pictures have"
        told.append(
            f"{which} no caption: write one, or set a trigger word to use one caption for all."
        )
    if found.bad_captions:
        count = found.bad_captions
        told.append(
            f"{count} caption {'file' if count == 1 else 'files'} cannot be used: "
            "see the files listed below."
        )
    return tuple(told)


def of_words(pictures: Sequence[Picture], config: DatasetConfig) -> tuple[dict[str, str], ...]:
    """What is odd about the captions together: a sentence each, and the word it is about."""
    told = []
    for word, count in glued(pictures, config.trigger).items():
        told.append((word, f"{word!r} in {_captions(count)} holds the trigger word and more"))
    audited = audit(pictures, config)
    for row in audited["variants"]:
        words = f"{row['token']!r} in {_captions(row['df'])} looks like a misspelt trigger word"
        told.append((row["token"], words))
    for row in audited["primary"]:
        words = (
            f"{row['term']!r} stands in {row['df_ratio']:.0%} of the captions "
            "and will belong to what is learned"
        )
        told.append((row["term"], words))
    return tuple({"search": word, "words": words} for word, words in told)


def _captions(count: int) -> str:
    return "1 caption" if count == 1 else f"{count} captions"
