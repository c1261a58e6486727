"""What is wrong with the words of captions, picture by picture or taken together."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from trainer.data.folder import Picture

if TYPE_CHECKING:
    from trainer.job.pictures import DatasetConfig

_CLIP_TOKENS = 75
"""Besides the two that mark start and end."""
_NEARLY_ALL = 0.85
_SAMPLE = 2000


def without_trigger(pictures: Iterable[Picture], trigger: str) -> tuple[str, ...]:
    """Names of the pictures whose caption lacks the trigger word."""
    if not trigger:
        return ()
    whole = re.compile(rf"(?<!\w){re.escape(trigger)}(?!\w)", re.IGNORECASE)
    return tuple(p.name for p in pictures if p.source != "none" and not whole.search(p.caption))


def glued(pictures: Iterable[Picture], trigger: str) -> dict[str, int]:
    """Words such as `sksdog`, which the text encoder takes for something else than `sks dog`.

    caption_audit, which sees words one or two letters off, does not look for these.
    """
    if len(trigger) < 3:
        return {}
    longer = re.compile(rf"\w+{re.escape(trigger)}\w*|{re.escape(trigger)}\w+", re.IGNORECASE)
    return dict(Counter(word for p in pictures for word in set(longer.findall(p.caption))))


def audit(pictures: Sequence[Picture], config: DatasetConfig) -> dict[str, list[dict[str, Any]]]:
    """What caption_audit says of a sample of the captions that were written picture by picture.

    Its own command reads .txt files only and keeps kilobytes a caption; its checks take any
    captions, and what is in most of them is in most of 2,000 of them.
    """
    from caption_audit.checks import check_document_frequency, check_trigger

    written = [p for p in pictures if p.caption and p.source in ("metadata", "txt")]
    sample = [_audited(p) for p in written[:: max(1, len(written) // _SAMPLE)]]
    if len({caption.text for caption in sample}) < 3:
        return {"variants": [], "primary": []}
    classes = [config.class_word] if config.class_word else []
    limits = {f"{name}_threshold": _NEARLY_ALL for name in ("critical", "warn", "info")}
    asked = argparse.Namespace(ngram_max=3, no_stopwords=False, fuse=[], **limits)
    common = check_document_frequency(sample, config.trigger, classes, asked)["primary"]
    variants = check_trigger(sample, config.trigger, classes)["variants"] if config.trigger else []
    return {"variants": variants, "primary": common}


def _audited(picture: Picture) -> Any:
    from caption_audit.loader import Caption
    from caption_audit.text import segments, tokenize

    caption = Caption(picture.name, str(picture.path))
    caption.text = picture.caption
    caption.tokens = tokenize(caption.text)
    caption.token_set = frozenset(caption.tokens)
    caption.segments = segments(caption.text)
    caption.seg_tokens = [tokenize(segment) for segment in caption.segments]
    return caption


def beyond_clip(caption: str) -> bool:
    """Whether a caption is surely longer than CLIP reads."""
    return len(re.findall(r"\w+|[^\w\s]", caption)) > _CLIP_TOKENS
