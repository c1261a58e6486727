"""What to render while training, as other trainers write it."""

from __future__ import annotations

from typing import Any

from trainer.job.importers.account import Draft
from trainer.job.importers.reading import Key
from trainer.job.importers.values import shown

_SETTINGS = {"d": "samples.seed", "s": "samples.steps", "l": "samples.guidance"}
_FILES = (".txt", ".toml", ".json", ".csv")


def take_prompts(draft: Draft, key: Key, written: Any) -> None:
    """Lines like `a dog --n blurry --l 7 --s 30`: the prompts, and what is asked for them all."""
    if isinstance(written, str) and written.strip().lower().endswith(_FILES):
        draft.tell(key, "explained", "a file of prompts: write them into samples.prompts")
        return
    prompts, asked = _read(written if isinstance(written, list) else str(written).splitlines())
    if not prompts:
        draft.tell(key, "explained", f"{shown(written)} holds no prompt")
        return
    draft.take(key, "samples.prompts", list(dict.fromkeys(prompts)))
    if asked.get("n"):
        take_negative(draft, key, asked["n"])
    for name, ours in _SETTINGS.items():
        value = _number(asked.get(name, ""))
        if value is not None and draft.has(ours):
            whole = ours != "samples.guidance"
            draft.take(key, ours, int(value) if whole else value, "the first prompt's")


def _read(lines: list[Any]) -> tuple[list[str], dict[str, str]]:
    """The prompts, and what the first that says it asks for."""
    prompts: list[str] = []
    asked: dict[str, str] = {}
    for line in lines:
        if isinstance(line, str) and not line.strip().startswith("#"):
            prompt, found = _line(line)
            prompts += [prompt] if prompt else []
            asked = {**found, **asked}
    return prompts, asked


def take_negative(draft: Draft, key: Key, words: Any) -> None:
    """A negative prompt, where the family renders with one."""
    if not isinstance(words, str) or not words.strip():
        draft.tell(key, "explained", "it is left empty")
    elif draft.chosen.get("model.kind") == "flux":
        draft.tell(key, "explained", "FLUX.1 is rendered without a negative prompt")
    else:
        draft.take(key, "samples.negative", words.strip())


def _line(line: str) -> tuple[str, dict[str, str]]:
    prompt, *rest = (" " + line).split(" --")
    found: dict[str, str] = {}
    for part in rest:
        name, _, value = part.strip().partition(" ")
        found.setdefault(name, value.strip())
    return prompt.strip(), found


def _number(word: str) -> float | None:
    try:
        found = float(word)
    except ValueError:
        return None
    return found if abs(found) < 2**31 else None
