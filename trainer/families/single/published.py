"""What files lack and ships with Sweetspot: published settings, and the words of CLIP."""

from __future__ import annotations

import functools
import gzip
import json
from pathlib import Path
from typing import Any

from trainer.core.files import hash_file, hash_text

_MODELS = Path(__file__).parents[3] / "assets" / "models"
_MERGES = _MODELS / "clip" / "merges.txt.gz"


def published(variant: str) -> dict[str, Any]:
    """The settings of a published model, part by part, as assets/models has them."""
    text = (_MODELS / f"{variant}.json").read_text(encoding="utf-8")
    settings: dict[str, Any] = json.loads(text)
    return settings


def clip_tokenizer(told: dict[str, Any]) -> Any:
    """CLIP's tokenizer, which all models of the families share but for the padding."""
    from transformers import CLIPTokenizer

    vocabulary, merges = _words()
    return CLIPTokenizer(vocab=dict(vocabulary), merges=list(merges), model_max_length=77, **told)


def words_hash(told: dict[str, Any]) -> str:
    """Names such a tokenizer, for cache keys."""
    return hash_text(hash_file(_MERGES), json.dumps(told, sort_keys=True))


@functools.cache
def _words() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The vocabulary, and the pairs that are joined: letters, letters at ends, joined pairs."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    lines = gzip.decompress(_MERGES.read_bytes()).decode("utf-8").splitlines()[1:]
    merges = [(first, second) for first, _, second in (line.partition(" ") for line in lines)]
    letters = list(bytes_to_unicode().values())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += [first + second for first, second in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {token: number for number, token in enumerate(tokens)}, merges
