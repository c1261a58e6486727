"""Everything that can be said of a dataset before a model is loaded.

Every picture is decoded to its last line, in processes of their own. Time grows with the
number of pictures, memory hardly: of a decoded picture only a fingerprint of 19 bytes stays.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.core.errors import DatasetError, ResourceError
from trainer.data.bucket import Framed, fit, framing
from trainer.data.folder import Picture, Problem, Progress, paced, scan
from trainer.data.image import fingerprint, lookalikes, read
from trainer.data.wording import audit, beyond_clip, glued, without_trigger

if TYPE_CHECKING:
    from trainer.job.pictures import DatasetConfig

_LITTLE_KEPT = 0.75
_CHUNK = 32
_FEW = 64
_MOST_PROCESSES = 8

Group = tuple[str, ...]
"""Names of pictures that belong together."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a dataset is, and what is wrong with it; plain values, names in order.

    Attributes:
        folder: Where it is.
        pictures: How many can be trained on.
        shown: How many are shown in an epoch, repeats counted.
        problems: Files that are not used, or not in the way one may think.
        damaged: Pictures that cannot be decoded to the end: a run ends when it comes to one.
        too_small: Pictures without a cut at this training size.
        much_cropped: Pictures that lose more than a quarter of their area.
        buckets: Pictures by training size, as "512x512".
        caption_sources: Pictures by where the caption comes from.
        no_caption: Pictures without any caption: a run refuses to start.
        bad_captions: Caption files that cannot be used; the same.
        empty_captions: Pictures whose caption is empty.
        long_captions: Pictures whose caption the text encoder will cut off.
        duplicates: Groups of files with the same bytes.
        contradictions: Those of them whose captions differ.
        near_duplicates: Groups of pictures that look the same, exact duplicates aside.
        trigger: The trigger word that captions were compared with; "" for none.
        without_trigger: Pictures whose caption lacks it.
        glued: Words that hold the trigger word and more, by number of captions.
        misspelt: Words one or two letters off the trigger word, by number of captions.
        constant_words: Phrases of nearly every caption, which the trigger word will take
            in as part of its meaning, by their share of captions.
    """

    folder: str
    pictures: int
    shown: int
    problems: tuple[dict[str, str], ...]
    damaged: Group
    too_small: Group
    much_cropped: Group
    buckets: dict[str, int]
    caption_sources: dict[str, int]
    no_caption: Group
    bad_captions: int
    empty_captions: Group
    long_captions: Group
    duplicates: tuple[Group, ...]
    contradictions: tuple[Group, ...]
    near_duplicates: tuple[Group, ...]
    trigger: str
    without_trigger: Group
    glued: dict[str, int]
    misspelt: dict[str, int]
    constant_words: dict[str, float]

    @property
    def trainable(self) -> bool:
        """Whether a run would go through: pictures that can all be read, captions too."""
        faults = (self.damaged, self.no_caption, self.bad_captions)
        return self.pictures > 0 and not any(faults)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON takes it."""
        return asdict(self)


def check(
    config: DatasetConfig,
    *,
    resolution: int,
    step: int,
    progress: Progress = lambda done, total: None,
    too_long: Callable[[str], bool] | None = None,
) -> Report:
    """Look at every file of a dataset.

    Args:
        config: The dataset.
        resolution: The training size, px.
        step: Picture sides must be multiples of this for the model.
        progress: Told how many of the pictures, counted twice, are scanned and decoded.
        too_long: Whether a caption is cut off by the text encoder. Unless given, captions
            of more words and signs than CLIP has tokens count, which is certain but not all.

    Raises:
        DatasetError: The folder cannot be scanned, or no picture in it can be decoded.
    """
    found = scan(config, progress=lambda done, total: progress(done, 2 * total), lenient=True)
    seen = _decode_all(found.pictures, config, progress)
    pictures = [p for p, s in zip(found.pictures, seen, strict=True) if isinstance(s, bytes)]
    damaged = [s for s in seen if isinstance(s, Problem)]
    if not pictures:
        raise DatasetError(
            f"none of {len(seen)} pictures can be decoded, the first is {damaged[0]}",
            where=str(config.folder),
        )
    framed, small = fit(pictures, framing(config, resolution=resolution, size_step=step))
    duplicates = _duplicates(pictures)
    audited = audit(pictures, config)
    long = too_long or beyond_clip
    return Report(
        folder=str(config.folder),
        pictures=len(framed),
        shown=sum(one.picture.repeats for one in framed),
        problems=tuple(_plain(p) for p in [*found.problems, *damaged, *small]),
        damaged=tuple(problem.path.name for problem in damaged),
        too_small=tuple(problem.path.name for problem in small),
        much_cropped=_names(one.picture for one in framed if one.frame.kept < _LITTLE_KEPT),
        buckets=_buckets(framed),
        caption_sources=dict(Counter(picture.source for picture in pictures)),
        no_caption=_names(p for p in pictures if p.source == "none"),
        bad_captions=found.bad_captions,
        empty_captions=_names(p for p in pictures if not p.caption and p.source != "none"),
        long_captions=_names(p for p in pictures if long(p.caption)),
        duplicates=tuple(_names(group) for group in duplicates),
        contradictions=tuple(_names(g) for g in duplicates if len({p.caption for p in g}) > 1),
        near_duplicates=_near_duplicates(pictures, [s for s in seen if isinstance(s, bytes)]),
        trigger=config.trigger,
        without_trigger=without_trigger(pictures, config.trigger),
        glued=glued(pictures, config.trigger),
        misspelt={row["token"]: row["df"] for row in audited["variants"]},
        constant_words={row["term"]: round(row["df_ratio"], 3) for row in audited["primary"]},
    )


def _decode_all(
    pictures: Sequence[Picture], config: DatasetConfig, progress: Progress
) -> list[bytes | Problem]:
    """The fingerprint of each picture, or why it has none."""
    seen: list[bytes | Problem] = []
    tell = paced(progress)
    chunks = [pictures[i : i + _CHUNK] for i in range(0, len(pictures), _CHUNK)]
    for chunk, looks in _in_processes(chunks, config, alone=len(pictures) <= _FEW):
        for picture, look in zip(chunk, looks, strict=True):
            seen.append(look if isinstance(look, bytes) else Problem(picture.path, *look))
        tell(len(pictures) + len(seen), 2 * len(pictures))
    return seen


_Look = bytes | tuple[str, str]


def _in_processes(
    chunks: Sequence[Sequence[Picture]], config: DatasetConfig, *, alone: bool
) -> Iterator[tuple[Sequence[Picture], list[_Look]]]:
    """Chunks and their looks in order, a few chunks ahead at a time."""
    settings = (config.background, config.max_megapixels)
    if alone:
        yield from ((chunk, _look([p.path for p in chunk], *settings)) for chunk in chunks)
        return
    processes = min(_MOST_PROCESSES, os.cpu_count() or 1)
    ahead: deque[tuple[Sequence[Picture], Future[list[_Look]]]] = deque()
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        for chunk in chunks:
            ahead.append((chunk, pool.submit(_look, [p.path for p in chunk], *settings)))
            if len(ahead) > 4 * processes:
                yield _finish(*ahead.popleft())
        while ahead:
            yield _finish(*ahead.popleft())


def _finish(
    chunk: Sequence[Picture], future: Future[list[_Look]]
) -> tuple[Sequence[Picture], list[_Look]]:
    try:
        return chunk, future.result()
    except BrokenProcessPool as error:
        raise ResourceError(
            "a process that decodes pictures was ended from outside, likely for want of memory",
            where=f"{chunk[0].path} and the {len(chunk) - 1} after it",
            hint="free some memory, or lower dataset.max_megapixels",
        ) from error


def _look(paths: Sequence[Path], background: str, max_megapixels: float) -> list[_Look]:
    """Runs in a process of its own."""
    looks: list[_Look] = []
    for path in paths:
        try:
            image = read(path, background=background, max_megapixels=max_megapixels)
            looks.append(fingerprint(image))
        except DatasetError as error:
            looks.append((error.problem, error.hint))
    return looks


def _duplicates(pictures: Iterable[Picture]) -> list[list[Picture]]:
    """Pictures of the same bytes."""
    by_digest: dict[str, list[Picture]] = defaultdict(list)
    for picture in pictures:
        by_digest[picture.digest].append(picture)
    return [group for group in by_digest.values() if len(group) > 1]


def _near_duplicates(pictures: Sequence[Picture], prints: Sequence[bytes]) -> tuple[Group, ...]:
    """Groups of pictures that look the same, one of each set of exact duplicates."""
    firsts = sorted({pictures[i].digest: i for i in reversed(range(len(pictures)))}.values())
    groups = lookalikes([prints[i] for i in firsts])
    return tuple(_names(pictures[firsts[i]] for i in group) for group in groups)


def _buckets(framed: Iterable[Framed]) -> dict[str, int]:
    sizes = sorted(one.frame.size for one in framed)
    return dict(Counter(f"{width}x{height}" for width, height in sizes))


def _names(pictures: Iterable[Picture]) -> Group:
    return tuple(picture.name for picture in pictures)


def _plain(problem: Problem) -> dict[str, str]:
    return {"path": str(problem.path), "what": problem.what, "hint": problem.hint}
