"""A tensor that still lies in a file, so that a network is filled one tensor at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trainer.core.errors import ModelError
from trainer.families.single.header import Entry

if TYPE_CHECKING:
    from io import FileIO

    from torch import Tensor

Turn = Literal["", "swapped", "transposed", "flat"]
_FORMATS = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}
READ = frozenset(_FORMATS)
"""Formats that are read, as safetensors calls them."""
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_EIGHT = ("F8_E4M3", "F8_E5M2")


@dataclass(frozen=True, slots=True)
class Pending:
    """A tensor in a file, or some of its rows, and how to turn it into what a network holds.

    Attributes:
        file: A safetensors file.
        name: The tensor's, there.
        dtype: Its format, as safetensors calls it.
        start: Its first byte, from the file's start.
        shape: As `read` gives it.
        turn: "swapped" (its halves change places), "transposed" (a matrix), or "flat" (a 1 x 1
            convolution as a matrix).
    """

    file: Path
    name: str
    dtype: str
    start: int
    shape: tuple[int, ...]
    turn: Turn = ""

    @classmethod
    def of(cls, file: Path, name: str, entry: Entry) -> Pending:
        """The whole tensor that an entry of the file's header is of."""
        return cls(file, name, entry.dtype, entry.start, entry.shape)

    def part(self, first: int, last: int) -> Pending:
        """Rows `first` up to `last` of it."""
        start = self.start + first * prod(self.shape[1:]) * _BYTES.get(self.dtype, 1)
        return replace(self, shape=(last - first, *self.shape[1:]), start=start)

    def swapped(self) -> Pending:
        """With its upper and lower half exchanged."""
        return replace(self, turn="swapped")

    def transposed(self) -> Pending:
        """A matrix, rows for columns."""
        return replace(self, shape=self.shape[::-1], turn="transposed")

    def flat(self) -> Pending:
        """A convolution of one place, `(out, in, 1, 1)`, as the matrix `(out, in)`."""
        return replace(self, shape=self.shape[:2], turn="flat")

    def read(self) -> Tensor:
        """The tensor, in its file's format; of 8-bit floats, in bf16, which holds them exactly.

        Nothing else of the file is read, and its header is not read again.

        Raises:
            ModelError: The file ends before the tensor does.
        """
        import torch

        written = self.shape[::-1] if self.turn == "transposed" else self.shape
        tensor = torch.empty(written, dtype=getattr(torch, _FORMATS[self.dtype]))
        with self.file.open("rb", buffering=0) as file:
            file.seek(self.start)
            whole = _fill(file, memoryview(tensor.reshape(-1).view(torch.uint8).numpy()))
        if not whole:
            raise ModelError(
                f"it ends before {self.name!r} does",
                where=str(self.file),
                hint="download it again, to the end; nothing may write to it meanwhile",
            )
        if self.dtype in _EIGHT:
            tensor = tensor.to(torch.bfloat16)
        if self.turn == "swapped":
            return tensor.roll(len(tensor) // 2, dims=0)
        return tensor.T.contiguous() if self.turn == "transposed" else tensor


def _fill(file: FileIO, room: memoryview) -> bool:
    """Read until the room is full; false where the file ends first."""
    while room:
        count = file.readinto(room)
        if not count:
            return False
        room = room[count:]
    return True
