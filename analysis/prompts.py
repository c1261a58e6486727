"""The prompts that a sweep renders when a person names none.

After the DreamBooth paper (arXiv:2208.12242, section 4): what was trained, in the setting that it
was trained in and in others, and the class without the trigger word, to see what leaks.
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.table import Prompt

_SETTINGS = (
    "",
    "in the snow",
    "on a beach",
    "on a wooden table",
    "in front of a city at night",
    "in a meadow",
    "under water",
    "on a red carpet",
)
"""Eight, since prompts are what intervals are made of (docs/decisions/0017)."""

_PLAIN_SETTINGS = ("", "on a beach")
_THINGS = (
    "a cat",
    "a house by a lake",
    "a bicycle",
    "a portrait of a woman",
    "a bowl of fruit",
    "a city street",
    "a tree on a hill",
    "a sailing boat",
)
_MOST_CAPTIONS = 2


def made(trigger: str, class_word: str, captions: Sequence[str]) -> tuple[Prompt, ...]:
    """Prompts of both kinds. Without a trigger word nothing can be left out to see what leaks.

    Args:
        trigger: The trigger word; may be empty.
        class_word: What the subject is; may be empty.
        captions: Captions of training pictures, which stand for the setting of training.
    """
    subject = " ".join(f"{trigger} {class_word}".split())
    if subject and class_word:
        asked = [_in_setting(f"a {subject}", setting) for setting in _SETTINGS]
        own = [c for c in captions if trigger and trigger in c and c not in asked]
        asked[-1:] = own[:1] or asked[-1:]  # the setting that it was trained in, in its own words
    elif trigger:
        asked = [f"{trigger} {thing}" for thing in _THINGS]
    else:
        asked = [*captions[:_MOST_CAPTIONS], *_THINGS[: len(_THINGS) - _MOST_CAPTIONS]]
    plain: list[str] = []
    if trigger:
        things = [f"a {class_word}"] if class_word else list(_THINGS[:1])
        plain = [_in_setting(thing, setting) for thing in things for setting in _PLAIN_SETTINGS]
    return of(asked, plain)


def of(asked: Sequence[str], plain: Sequence[str]) -> tuple[Prompt, ...]:
    """Prompts of both kinds, each text once."""
    texts = dict.fromkeys(asked)
    others = [text for text in dict.fromkeys(plain) if text not in texts]
    return (*(Prompt(t, "trigger") for t in texts), *(Prompt(t, "plain") for t in others))


def _in_setting(thing: str, setting: str) -> str:
    return f"{thing} {setting}".strip()
