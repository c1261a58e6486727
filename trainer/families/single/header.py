"""A safetensors file's header: which tensors lie where, and whether the file is whole.

Only the header is read, so a truncated file of 6 GB is refused before anything is allocated.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from trainer.core.errors import ModelError

_LARGEST = 100_000_000
"""Bytes of a header; safetensors itself reads no longer ones."""
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1}
_BYTES |= {"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_FULL = "the same model in fp16 or bf16, as .safetensors"
_GGUF_HINT = f"{_FULL}; memory.base = 'nf4' or 'int8' then holds it in as few bits"
_STARTS = (
    (b"GGUF", "this is a GGUF file, whose quantised weights are not read", _GGUF_HINT),
    (b"version ", "this is a pointer to a large file, not the file itself", "git lfs pull"),
    (b"<", "this is a web page, not a model", "the page's download link instead of its address"),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a tensor lies.

    Attributes:
        dtype: As safetensors calls it, such as "BF16".
        shape: Of the tensor.
        start: Its first byte, from the file's start.
        end: One past its last byte.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself."""

    path: Path
    tensors: dict[str, Entry]
    metadata: dict[str, str]


def read_header(path: Path) -> Header:
    """The header, checked against the file's length.

    Raises:
        ModelError: It cannot be read, is no safetensors file, or is cut short or damaged; says
            which.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            told = _text(path, file)
    except OSError as error:
        raise ModelError(
            f"the file cannot be read: {error.strerror}",
            where=str(path),
            hint="a .safetensors file that you may read",
        ) from error
    if len(told[1]) < told[0]:
        raise _damaged(path, f"it ends after {size:,} bytes, inside its header")
    first = 8 + told[0]
    try:
        listed: dict[str, Any] = json.loads(told[1])
        metadata = {str(k): str(v) for k, v in listed.pop("__metadata__", {}).items()}
        tensors = {name: _entry(entry, first) for name, entry in listed.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _damaged(path, "its header is not what safetensors writes") from error
    _check(path, tensors, first, size)
    return Header(path, tensors, metadata)


def _text(path: Path, file: BinaryIO) -> tuple[int, bytes]:
    """How long the header says it is, and what there is of it."""
    start = file.read(16)
    if start.startswith(_PICKLES):
        raise ModelError(
            "this is a pickle, which can run code when opened",
            where=str(path),
            hint="the model as a real .safetensors file",
        )
    for magic, problem, hint in _STARTS:
        if start.startswith(magic):
            raise ModelError(problem, where=str(path), hint=hint)
    length = int.from_bytes(start[:8], "little")
    if start[8:9] != b"{" or length > _LARGEST:
        raise ModelError(
            "this is no safetensors file",
            where=str(path),
            hint="a .safetensors checkpoint, or a folder in Diffusers format",
        )
    file.seek(8)
    return length, file.read(length)


def _entry(told: dict[str, Any], first: int) -> Entry:
    start, end = told["data_offsets"]
    shape = tuple(int(side) for side in told["shape"])
    entry = Entry(str(told["dtype"]), shape, first + int(start), first + int(end))
    size = _BYTES.get(entry.dtype)
    if start < 0 or end < start or (size is not None and end - start != size * prod(shape)):
        raise ValueError("its places and sizes do not agree")
    return entry


def _check(path: Path, tensors: dict[str, Entry], first: int, size: int) -> None:
    if not tensors:
        raise _damaged(path, "it holds no tensors")
    needed = max(entry.end for entry in tensors.values())
    if needed > size:
        unit, name = (1e9, "GB") if needed >= 1e9 else (1e6, "MB")
        raise _damaged(
            path,
            f"it is cut short: {size / unit:.2f} {name} are there of {needed / unit:.2f} {name}, "
            f"{needed - size:,} bytes are missing",
        )
    if needed < size:
        raise _damaged(path, f"{size - needed:,} bytes follow its last tensor")
    if _overlap(tensors.values(), first):
        raise _damaged(path, "its tensors lie in one another")


def _overlap(entries: Iterable[Entry], first: int) -> bool:
    at = first
    for entry in sorted(entries, key=lambda entry: (entry.start, entry.end)):
        if entry.start < at:
            return True
        at = entry.end
    return False


def _damaged(path: Path, how: str) -> ModelError:
    return ModelError(
        f"the file is damaged: {how}", where=str(path), hint="download it again, to the end"
    )
