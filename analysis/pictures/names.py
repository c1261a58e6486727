"""What a file's name says: epoch, strength, prompt and seed, and where in it they stand.

Read by a pattern of the person's, or by the words trainers and the ancestor scripts use. It knows
no folders.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trainer.core.errors import ConfigError

Spans = dict[str, tuple[int, int]]

_GAP = r"[ _=-]*"
_SIGN = rf"(?:[ _=]+(?=-)|{_GAP})"
_WHOLE = r"(\d+)(?!\d|\.\d)"
_DECIMAL = r"-?(?:\d+(?:\.\d+)?|\.\d+)"
_OTHERS = r"(?<!guidance[ _-])(?<!cfg[ _-])(?<!denoising[ _-])(?<!denoise[ _-])"
_LONG = rf"{_OTHERS}(?:strength|weight|(?<![a-z])scale)"
_WORDS = {
    # "1e-4" is no epoch; "_-0.5" is negative, "strength-0.5" is not; "e4s0.8p1" has no gaps.
    "epoch": rf"(?:epochs?|(?<![a-z0-9])ep?){_GAP}{_WHOLE}",
    "strength": rf"(?:(?:{_LONG}|(?<![a-z0-9])s){_SIGN}|(?<=\d)s(?=[\d.]))({_DECIMAL})",
    "prompt": rf"(?:(?:prompt|(?<![a-z0-9])p){_GAP}|(?<=\d)p(?=\d)){_WHOLE}",
    "seed": rf"seed{_GAP}{_WHOLE}",
}
_KOHYA = r"-(00\d{4})(?!\d)"
_SAMPLE = r"_e?(?P<epoch>\d{6})_(?P<prompt>\d{2,3})_\d{14}(?:_(?P<seed>\d+))?"
"""Sample pictures of kohya's sd-scripts: epoch or step, prompt, time, seed."""


@dataclass(frozen=True, slots=True)
class Name:
    """A picture's file name, and where in it the numbers stand."""

    path: Path
    spans: Mapping[str, tuple[int, int]]

    def whole(self, what: str, otherwise: int = 0) -> int:
        """The epoch, prompt or seed that it says. Not by way of floats: seeds have 20 digits."""
        return int(self._text(what)) if what in self.spans else otherwise

    @property
    def strength(self) -> float:
        """The strength that it says; 1 when it says none."""
        return float(self._text("strength")) if "strength" in self.spans else 1.0

    @property
    def shot(self) -> set[str]:
        """Which of prompt and seed it says."""
        return self.spans.keys() & {"prompt", "seed"}

    @property
    def place(self) -> tuple[int, float, int, int]:
        """Epoch, strength, prompt and seed."""
        return self.whole("epoch"), self.strength, self.whole("prompt"), self.whole("seed")

    def instead(self, epoch: int, strength: float) -> Path:
        """The same name for another setting, written alike."""
        name = self.path.name
        for what, (start, end) in sorted(self.spans.items(), key=lambda s: s[1], reverse=True):
            text = name[start:end]
            if what == "epoch":
                text = f"{epoch:0{len(text)}d}"
            if what == "strength":
                text = f"{strength:.{len(text.partition('.')[2])}f}"
            name = name[:start] + text + name[end:]
        return self.path.with_name(name)

    def _text(self, what: str) -> str:
        start, end = self.spans[what]
        return self.path.name[start:end]


def expression(pattern: str) -> re.Pattern[str]:
    """A person's pattern with {epoch}, {strength}, {prompt}, {seed} as a regular expression.

    `*` stands for anything.

    Raises:
        ConfigError: It has neither epoch nor strength, one of them twice, or others.
    """
    named = re.findall(r"\{(\w*)\}", pattern)
    anything = "\\*"
    strange = [name for name in named if name not in _WORDS]
    if strange or len(set(named)) < len(named) or not {"epoch", "strength"} & set(named):
        problem = f"{pattern!r} needs {{epoch}} or {{strength}}, and each placeholder once"
        if strange:
            problem = f"{pattern!r} has {{{strange[0]}}}, which is no placeholder"
        hint = "placeholders are {epoch}, {strength}, {prompt} and {seed}; * stands for anything"
        raise ConfigError(problem, where="pattern", hint=hint)
    found = re.escape(pattern).replace(anything, ".*?")
    for name in named:
        number = _DECIMAL if name == "strength" else r"\d+"
        found = found.replace(re.escape(f"{{{name}}}"), f"(?P<{name}>{number})")
    return re.compile(found)


def matched(path: Path, pattern: re.Pattern[str]) -> Spans:
    """Where a name's numbers stand by a pattern, with or without the extension; else empty."""
    match = pattern.fullmatch(path.stem) or pattern.fullmatch(path.name)
    return {name: match.span(name) for name in match.groupdict()} if match else {}


def said(stem: str) -> Spans:
    """Where the numbers stand that a name says in words, and epochs as kohya numbers them."""
    sample = re.search(_SAMPLE + "$", stem)
    if sample:
        return {name: sample.span(name) for name, text in sample.groupdict().items() if text}
    found = {name: re.search(words, stem, re.IGNORECASE) for name, words in _WORDS.items()}
    found["epoch"] = found["epoch"] or re.search(_KOHYA, stem)
    return {name: match.span(1) for name, match in found.items() if match}
