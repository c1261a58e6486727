"""Base models that lie in a hub repository: what they are, which files are fetched, and where to.

Nothing is asked of the network where `HF_HUB_OFFLINE` is set (`--offline`). A token is the one that
`hf auth login` keeps; Sweetspot has no setting for it.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal, TypeVar

from trainer.core.errors import ModelError
from trainer.core.files import require_space
from trainer.families.shards import STEMS, find_shards

logger = logging.getLogger(__name__)

_SETTINGS = ("model_index.json", "*/*.json", "*/*.txt", "*/spiece.model")
_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_FILE = re.compile(r"([\w.-]+/[\w.-]+)/([\w./ -]+\.safetensors)")
_SITE = "https://huggingface.co"
T = TypeVar("T")

Asked = Literal["model.base", "model.parts_from"]
"""The setting in which a person names a repository."""
INSTEAD: dict[Asked, str] = {
    "model.base": "a folder in Diffusers format, a .safetensors file, or 'demo'",
    "model.parts_from": "a folder in Diffusers format of a model of the same family, or a hub "
    "repository of one",
}
"""What else the setting takes."""


@dataclass(frozen=True, slots=True)
class Download:
    """What will be fetched.

    Attributes:
        base: As the person wrote it.
        where: In which setting.
        name: The repository, owner/name.
        patterns: Of the files that are fetched.
        files: How many that are.
        size: Of all of them, bytes; what is there already is not fetched again.
        licence: As the repository states it; empty where it states none.
    """

    base: str
    where: Asked
    name: str
    patterns: tuple[str, ...]
    files: int
    size: int
    licence: str

    @property
    def told(self) -> str:
        """What it takes, in one line."""
        terms = f"licence {self.licence}" if self.licence else "no licence stated"
        counted = "1 file" if self.files == 1 else f"{self.files} files"
        return f"{self.base}: {self.size / 1e9:.2f} GB in {counted} from the hub, {terms}"


def is_name(base: str) -> bool:
    """Whether this can name a repository, or a file in one."""
    return bool(_NAME.fullmatch(base) or _FILE.fullmatch(base))


def offline() -> bool:
    """Whether the network is not to be asked."""
    from huggingface_hub import is_offline_mode

    return is_offline_mode() or os.environ.get("HF_HUB_OFFLINE", "") in ("1", "true", "True")


def snapshot(base: str, parts: Iterable[str], *, where: Asked = "model.base") -> Path:
    """The local copy of a hub repository, or of one file in it, fetched when it is not there yet.

    Args:
        base: owner/name, or owner/name/file.safetensors.
        parts: The parts of the model whose weights are fetched, in full precision
            where the repository has it, else in fp16.
        where: The setting that names it.

    Raises:
        ModelError: It is not there, and cannot be fetched.
    """
    parts = tuple(parts)
    here = kept(base, parts)
    if here is not None:
        return here
    download = ask(base, parts, where=where)
    logger.info("%s", download.told)
    return fetch(download)


def kept(base: str, parts: Iterable[str]) -> Path | None:
    """The local copy, if all of it is there."""
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import HFValidationError

    single = _FILE.fullmatch(base)
    try:
        if single:
            return Path(hf_hub_download(single[1], single[2], local_files_only=True))
        settings = list(_SETTINGS)
        path = Path(snapshot_download(base, allow_patterns=settings, local_files_only=True))
    except (OSError, HFValidationError):
        return None
    return path if _is_whole(path, parts) or offline() else None


def _is_whole(path: Path, parts: Iterable[str]) -> bool:
    """Whether no part of which there is anything lacks its weights: a download was not cut off."""
    networks = (path / part for part in parts if "tokenizer" not in part)
    found = [find_shards(folder) for folder in networks if folder.is_dir()]
    whole = all(shards and all(file.is_file() for file in shards.files) for shards in found)
    return (path / "model_index.json").is_file() and whole


def ask(base: str, parts: Iterable[str], *, where: Asked = "model.base") -> Download:
    """What would be fetched; asks the hub, and fetches nothing.

    Raises:
        ModelError: There is no such repository, it cannot be reached, its licence has not been
            accepted, or nothing in it can be read.
    """
    single = _FILE.fullmatch(base)
    name = single[1] if single else base
    if not is_name(base):
        raise _absent(base, where)
    if offline():
        raise ModelError(
            f"{base!r} is no folder, and not on this machine, and the network is not asked "
            "(--offline, HF_HUB_OFFLINE)",
            where=where,
            hint=f"fetch it once without --offline, or {INSTEAD[where]}",
        )
    info = _asked(base, name, lambda api: api.model_info(name, files_metadata=True), where)
    if info.gated:
        _asked(base, name, lambda api: api.auth_check(name), where)
    listed = [f.rfilename for f in info.siblings or ()]
    patterns = (single[2],) if single else (*_SETTINGS, *_weights(parts, listed))
    found = [f for f in info.siblings or () if any(fnmatch(f.rfilename, p) for p in patterns)]
    if not found or not (single or "model_index.json" in listed):
        raise _unreadable(base, listed, where)
    size = sum(f.size or 0 for f in found)
    licence = str((info.card_data or {}).get("license") or "")
    return Download(base, where, name, patterns, len(found), size, licence)


def fetch(download: Download) -> Path:
    """Fetch it; what an earlier try left is gone on with.

    Raises:
        ModelError: It cannot be reached, or its licence has not been accepted.
        ResourceError: The disk has no room for it.
    """
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE

    require_space(Path(HF_HUB_CACHE), download.size, download.base)
    single = _FILE.fullmatch(download.base)

    def get(_: Any) -> str:
        if single:
            return hf_hub_download(single[1], single[2])
        return snapshot_download(download.name, allow_patterns=list(download.patterns))

    return Path(_asked(download.base, download.name, get, download.where))


def index_of(base: str) -> Path:
    """The file model_index.json of a repository, the first thing to know of its model.

    Raises:
        ModelError: It is not there, and cannot be fetched.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HFValidationError

    index = "model_index.json"
    try:
        return Path(hf_hub_download(base, index, local_files_only=True))
    except (OSError, HFValidationError):
        ask(base, ())
    return Path(_asked(base, base, lambda _: hf_hub_download(base, index)))


def _asked(base: str, name: str, question: Callable[[Any], T], where: Asked = "model.base") -> T:
    """The hub's answer, or why there is none in a sentence."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    try:
        return question(HfApi())
    except GatedRepoError as error:
        raise ModelError(
            f"the licence of {name!r} must be accepted before it can be fetched",
            where=where,
            hint=f"accept it on {_SITE}/{name}, then `hf auth login` with a token of that account",
        ) from error
    except RepositoryNotFoundError as error:
        raise _absent(base, where) from error
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise ModelError(
            f"{base!r} is no folder here, and it cannot be had from the hub either: "
            f"{str(error).strip().splitlines()[0] if str(error).strip() else 'no answer'}",
            where=where,
            hint=f"try again, a download goes on where it stopped; or {INSTEAD[where]}",
        ) from error


def _absent(base: str, where: Asked) -> ModelError:
    return ModelError(
        f"there is no folder {base!r}, and it cannot be had from the hub either",
        where=where,
        hint=INSTEAD[where],
    )


def _unreadable(base: str, listed: list[str], where: Asked) -> ModelError:
    files = [f for f in listed if f.endswith(".safetensors") and "/" not in f]
    named = where == "model.base" and files
    return ModelError(
        f"the repository {base!r} has no model in Diffusers format",
        where=where,
        hint=f"one of its files, such as {base}/{files[0]}" if named else "another repository",
    )


def _weights(parts: Iterable[str], listed: list[str]) -> Iterator[str]:
    """Whole files and shards of each part; those of the variant fp16 where it has no others."""
    for part in parts:
        plain, half = _patterns(part, ""), _patterns(part, ".fp16")
        yield from half if _any(listed, half) and not _any(listed, plain) else plain


def _patterns(part: str, variant: str) -> list[str]:
    """Shards have a number after a dash, behind the variant's name."""
    ends = (f"{variant}.safetensors", f"{variant}-*.safetensors")
    return [f"{part}/{stem}{end}" for stem in STEMS for end in ends]


def _any(names: list[str], patterns: list[str]) -> bool:
    return any(fnmatch(name, pattern) for name in names for pattern in patterns)
