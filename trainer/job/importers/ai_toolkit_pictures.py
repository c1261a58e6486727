"""The folders and samples of an ai-toolkit job."""

from __future__ import annotations

import re
from typing import Any

from trainer.job.importers.account import Draft
from trainer.job.importers.ai_toolkit_keys import DATASET
from trainer.job.importers.names import take_name
from trainer.job.importers.pictures import take_folder, take_largest, take_prior
from trainer.job.importers.prompts import take_negative, take_prompts
from trainer.job.importers.reading import Key
from trainer.job.importers.rules import Maps, is_off, number_or_none
from trainer.job.importers.values import is_unset


class PicturesOfJob:
    """The process that trains, by the dotted names within it."""

    def __init__(self, draft: Draft, at: dict[Key, Key]) -> None:
        self.draft = draft
        self.at = {".".join(inner): key for inner, key in at.items()}

    def get(self, name: str) -> Any:
        value = self.draft.leaves.get(self.at.get(name, ()))
        return None if is_unset(value) else value

    def on(self, name: str) -> bool:
        return not is_off(self.get(name))

    def number(self, name: str) -> float | None:
        return number_or_none(self.get(name))

    def tell(self, name: str, told: str, kind: Any = "explained") -> None:
        if name in self.at:
            self.draft.tell(self.at[name], kind, told)

    def take(self, name: str, ours: str, value: Any, told: str = "", odd: str = "") -> None:
        self.draft.take(self.at[name], ours, value, told, odd)

    def datasets(self) -> None:
        folders = [name for name in self.at if name.endswith(("folder_path", "dataset_path"))
                   and name.startswith("datasets.") and self.get(name) is not None]  # fmt: skip
        own = [name for name in folders if not self._is_class(name)]
        for index, name in enumerate(own):
            if not index:
                take_folder(self.draft, self.at[name], self.get(name))
            elif self.get(name) != self.get(own[0]):
                self.tell(name, "Sweetspot trains one folder: the first is taken", "suspicious")
        classes = [name for name in folders if self._is_class(name)]
        for name in classes[:1]:
            take_prior(self.draft, self.at[name], self.get(name))
            self.tell(f"{name.rpartition('.')[0]}.is_reg", "these are the class pictures")
        self._sizes()
        if self.get("trigger_word") is not None:
            self.take("trigger_word", "dataset.trigger", str(self.get("trigger_word")))
        self._firsts()

    def _is_class(self, name: str) -> bool:
        return self.on(f"{name.rpartition('.')[0]}.is_reg")

    def _sizes(self) -> None:
        for name, key in self.at.items():
            if name.startswith("datasets.") and name.endswith(".resolution"):
                take_largest(self.draft, key, self.get(name))

    def _firsts(self) -> None:
        """What the first folder says counts; what others say otherwise is told."""
        seen: dict[str, Any] = {}
        for name, key in self.at.items():
            match = re.fullmatch(r"datasets\.\d+\.(\w+)", name)
            rule = DATASET.get(match[1]) if match else None
            if match is None or not isinstance(rule, Maps) or key in self.draft.lines:
                continue
            value = self.draft.leaves[key]
            if match[1] in seen and seen[match[1]] != value:
                self.draft.tell(key, "suspicious", "one setting for all pictures: the first counts")
            seen.setdefault(match[1], value)

    def samples(self) -> None:
        name = "sample.prompts"
        if self.get(name) is not None:
            value = self.get(name)
            trigger = str(self.get("trigger_word") or "")
            if isinstance(value, list):
                value = [str(line).replace("[trigger]", trigger) for line in value]
            take_prompts(self.draft, self.at[name], value)
        else:
            self._listed()
        if self.get("sample.neg") is not None:
            take_negative(self.draft, self.at["sample.neg"], self.get("sample.neg"))
        config = ("config", "name")
        if not is_unset(self.draft.leaves.get(config)):
            take_name(self.draft, config, self.draft.leaves[config])

    def _listed(self) -> None:
        names = [n for n in self.at if re.fullmatch(r"sample\.samples\.\d+\.prompt", n)]
        prompts = [str(self.get(n)) for n in names if self.get(n) is not None]
        if prompts and self.draft.problems == {}:
            key = self.at[names[0]]
            self.draft.take(key, "samples.prompts", list(dict.fromkeys(prompts)))
