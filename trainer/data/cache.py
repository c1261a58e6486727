"""Tensors on disk under the hash of what made them, shared by all runs and processes.

Items lie in safetensors shards that are written whole or not at all and never changed, so
a process may be killed at any moment, and several may write at once: at worst an item lies
there twice. What an item means is the caller's business; a key never comes to mean
something else.
"""

from __future__ import annotations

import json
import struct
import threading
import time
import uuid
import weakref
import zlib
from collections import OrderedDict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Self

from trainer.core.errors import RunError
from trainer.core.files import write_atomically

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MOST_ITEMS = 256
MOST_BYTES = 32 << 20
MOST_SECONDS = 20.0
"""What a killed process loses at most."""

_OPEN_FILES = 32
_LEFT_OVER_SECONDS = 3600.0
_LONGEST_HEADER = 64 << 20


class _Layout(NamedTuple):
    dtype: str
    shape: tuple[int, ...]


class _Place(NamedTuple):
    shard: str
    start: int
    length: int
    crc: int
    layout: _Layout


class Cache:
    """A folder of shards, `folder/namespace/*.safetensors`.

    Args:
        folder: The cache of all runs.
        namespace: A short hash of the weights and settings that make the items.

    Attributes:
        warnings: What was found damaged and is left aside, one sentence each.
    """

    def __init__(self, folder: Path, namespace: str) -> None:
        self.folder = folder / namespace
        self.warnings: list[str] = []
        self._places: dict[str, _Place] = {}
        self._pending: dict[str, Tensor] = {}
        self._pending_since = 0.0
        self._layouts: dict[_Layout, _Layout] = {}
        self._handles: OrderedDict[str, BinaryIO] = OrderedDict()
        self._lock = threading.Lock()
        self._finalizer = weakref.finalize(self, _close_all, self._handles)
        self._sweep()
        for path in sorted(self.folder.glob("*.safetensors")):
            self._index(path)

    def __contains__(self, key: str) -> bool:
        return key in self._places or key in self._pending

    def __len__(self) -> int:
        return len(self._places.keys() | self._pending.keys())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.flush()
        self.close()

    def get(self, key: str) -> Tensor:
        """The tensor put under `key`, on the CPU; `key` must be in the cache.

        Raises:
            RunError: Its shard was damaged or removed since it was opened.
        """
        import torch

        pending = self._pending.get(key)
        if pending is not None:
            return pending.clone()
        place = self._places[key]
        data = self._read(place)
        dtype = _dtypes()[place.layout.dtype]
        if not data:
            return torch.empty(place.layout.shape, dtype=dtype)
        return torch.frombuffer(data, dtype=dtype).reshape(place.layout.shape)

    def put(self, key: str, tensor: Tensor) -> None:
        """Keep a copy of `tensor`; on disk after `flush`, which comes by itself in time.

        Raises:
            ResourceError: The disk is full, or the folder cannot be written.
        """
        if key in self:
            return
        if not self._pending:
            self._pending_since = time.monotonic()
        self._pending[key] = tensor.detach().to("cpu", copy=True).contiguous()
        late = time.monotonic() - self._pending_since > MOST_SECONDS
        if late or self.pending_bytes >= MOST_BYTES or len(self._pending) >= MOST_ITEMS:
            self.flush()

    @property
    def pending_bytes(self) -> int:
        """Size of what is not yet on disk."""
        return sum(tensor.nbytes for tensor in self._pending.values())

    def flush(self) -> None:
        """Write what is pending as one shard.

        Raises:
            ResourceError: The disk is full, or the folder cannot be written.
        """
        if not self._pending:
            return
        from safetensors.torch import save

        checks = {key: f"{zlib.crc32(_bytes(t)):08x}" for key, t in self._pending.items()}
        path = self.folder / f"{uuid.uuid4().hex}.safetensors"
        write_atomically(path, save(self._pending, metadata=checks))
        self._index(path)
        self._pending.clear()

    def close(self) -> None:
        """Close the files; reading opens them again."""
        with self._lock:
            _close_all(self._handles)

    def _sweep(self) -> None:
        """Remove what killed writers left; younger files may belong to a living one."""
        for left in self.folder.glob("*.safetensors.tmp-*"):
            try:
                if time.time() - left.stat().st_mtime > _LEFT_OVER_SECONDS:
                    left.unlink()
            except OSError:
                continue

    def _index(self, path: Path) -> None:
        """Learn a shard's items from its header."""
        try:
            places = _places_of(path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.warnings.append(
                f"{path} is damaged ({error}) and left aside; what it held is made again"
            )
            return
        for key, place in places.items():
            layout = self._layouts.setdefault(place.layout, place.layout)
            self._places.setdefault(key, place._replace(layout=layout))

    def _read(self, place: _Place) -> bytearray:
        data = bytearray(place.length)
        try:
            with self._lock:
                file = self._file(place.shard)
                file.seek(place.start)
                got = file.readinto(data)  # type: ignore[attr-defined]
        except OSError as error:
            raise self._damaged(place.shard) from error
        if got != place.length or zlib.crc32(data) != place.crc:
            raise self._damaged(place.shard)
        return data

    def _file(self, shard: str) -> BinaryIO:
        """An open file, the least recently used one closed for it. Never mapped into memory."""
        if shard in self._handles:
            self._handles.move_to_end(shard)
            return self._handles[shard]
        while len(self._handles) >= _OPEN_FILES:
            self._handles.popitem(last=False)[1].close()
        file = (self.folder / shard).open("rb")
        self._handles[shard] = file
        return file

    def _damaged(self, shard: str) -> RunError:
        """Put the shard aside, so that a resumed run makes its items again."""
        path = self.folder / shard
        with self._lock:
            if (file := self._handles.pop(shard, None)) is not None:
                file.close()
        path.unlink(missing_ok=True)
        return RunError(
            "a file of the cache was damaged or removed while it was in use",
            where=str(path),
            hint="resume the run: what the file held is made again",
        )


def _places_of(path: Path) -> dict[str, _Place]:
    """Where each item of a shard lies.

    Raises:
        ValueError: The header is not whole, or the file is not as long as it says.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8).ljust(8, b"\xff"))
        if length > min(_LONGEST_HEADER, size):
            raise ValueError("the header is cut off")
        header = json.loads(file.read(length))
    checks = header.pop("__metadata__")
    begin = 8 + length
    if size != begin + max((item["data_offsets"][1] for item in header.values()), default=0):
        raise ValueError("the file is not as long as its header says")
    places: dict[str, _Place] = {}
    for key, item in header.items():
        first, last = item["data_offsets"]
        layout = _Layout(item["dtype"], tuple(item["shape"]))
        places[key] = _Place(path.name, begin + first, last - first, int(checks[key], 16), layout)
    return places


def _bytes(tensor: Tensor) -> memoryview:
    import torch

    return memoryview(tensor.reshape(-1).view(torch.uint8).numpy())


def _dtypes() -> dict[str, torch.dtype]:
    import torch

    return {
        "F64": torch.float64,
        "F32": torch.float32,
        "F16": torch.float16,
        "BF16": torch.bfloat16,
        "I64": torch.int64,
        "I32": torch.int32,
        "I16": torch.int16,
        "I8": torch.int8,
        "U8": torch.uint8,
        "BOOL": torch.bool,
    }


def _close_all(handles: OrderedDict[str, BinaryIO]) -> None:
    while handles:
        handles.popitem()[1].close()
