"""LoRA files: safetensors with a header, written whole, and read without trust.

What a file is, is decided by its bytes and never by its name. A pickle is refused, since
opening one can run code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trainer.core.errors import AdapterError
from trainer.core.files import write_atomically
from trainer.weights import entry, layouts
from trainer.weights.adapter import listed
from trainer.weights.family import guess_family, require_family
from trainer.weights.metadata import About, describe
from trainer.weights.methods import require_plain

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.families.naming import Naming
    from trainer.weights.layouts import Layout, Pair, Weights

Precision = Literal["fp16", "bf16", "fp32"]

_LARGEST_HEADER = 100_000_000
"""Bytes; the safetensors library's own limit."""

_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@dataclass(frozen=True, slots=True)
class LoraFile:
    """A LoRA file's header; the tensors stay on disk until asked for.

    Attributes:
        shapes: Shape of each tensor, by its name in the file.
        formats: "F16", "BF16", "F32", ... in the same way.
        pairs: The names of A, B and alpha, by module name in the file.
        unread: Names of tensors that are no part of a plain LoRA.
    """

    path: Path
    metadata: dict[str, str]
    layout: Layout
    shapes: dict[str, tuple[int, ...]]
    formats: dict[str, str]
    pairs: dict[str, Pair]
    unread: list[str]

    @property
    def ranks(self) -> dict[str, int]:
        """The rank of each module, by its name in the file."""
        return {name: self.shapes[pair.a][0] for name, pair in self.pairs.items()}

    def tensors(self) -> dict[str, Tensor]:
        """All tensors as they are in the file.

        Raises:
            AdapterError: The file is damaged.
        """
        import safetensors.torch

        try:
            tensors: dict[str, Tensor] = safetensors.torch.load_file(self.path)
        except (safetensors.SafetensorError, OSError) as error:
            raise _damaged(self.path, str(error)) from error
        return tensors

    def alphas(self, tensors: Mapping[str, Tensor]) -> dict[str, float]:
        """LoRA's constant of each module, by its name in the file; its rank where none is told.

        Args:
            tensors: What `tensors` returned.

        Raises:
            AdapterError: The header's `lora_adapter_metadata` cannot be read.
        """
        told = entry.read(self.metadata.get(entry.KEY, ""))
        return {
            name: float(tensors[pair.alpha].item())
            if pair.alpha
            else entry.alpha_of(told, name, self.shapes[pair.a][0])
            for name, pair in self.pairs.items()
        }

    def weights(self, naming: Naming) -> Weights:
        """The adapter under our own names.

        Raises:
            AdapterError: It was made for another family, is no plain LoRA, or is damaged.
        """
        require_family(self.family, naming, self.path)
        try:
            if self.layout == "kohya":
                return layouts.from_kohya(self.tensors(), naming)
            told = self.metadata.get(entry.KEY, "")
            return layouts.from_diffusers(self.tensors(), naming, told)
        except AdapterError as error:
            place = error.where or str(self.path)
            raise AdapterError(error.problem, where=place, hint=error.hint) from error

    @property
    def family(self) -> str:
        """The base model it was made for, or "unknown"."""
        return guess_family(self.metadata, self.pairs, self.shapes)


def export(
    path: Path,
    weights: Weights,
    about: About,
    naming: Naming,
    *,
    layout: Layout = "kohya",
    precision: Precision = "fp16",
) -> None:
    """Write an adapter as a file that other programs read.

    Raises:
        AdapterError: A value is too large for `precision`, or no number.
        ResourceError: The disk is full, or the place cannot be written.
    """
    entries = describe(about, weights)
    if layout == "kohya":
        tensors = layouts.to_kohya(weights, naming)
    else:
        tensors = layouts.to_diffusers(weights, naming)
        entries[entry.KEY] = entry.write(weights, naming)
    save(path, tensors, entries, precision)


def save(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], precision: Precision
) -> None:
    """Write tensors and header, hashes added; equal input gives equal bytes.

    Alpha stays fp32, since 16 bits do not hold every number.

    Raises:
        AdapterError: A value is too large for `precision`, or no number.
        ResourceError: The disk is full, or the place cannot be written.
    """
    write(path, {n: _cast(n, tensor, precision) for n, tensor in tensors.items()}, metadata)


def write(path: Path, tensors: dict[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors in the formats they have, and the header, hashes made anew.

    Raises:
        ResourceError: The disk is full, or the place cannot be written.
    """
    import safetensors.torch

    plain = safetensors.torch.save(tensors)
    write_atomically(path, _with_metadata(plain, {**metadata, **_hashes(plain, tensors, metadata)}))


def read(path: Path) -> LoraFile:
    """Read a LoRA file's header.

    Raises:
        AdapterError: It is absent, a pickle, cut short, no safetensors file, or no LoRA.
    """
    header = read_header(path)
    metadata = header.pop("__metadata__", {})
    layout = layouts.detect(header)
    if layout is None:
        require_plain(header, where=str(path))
        raise AdapterError(
            f"none of its {len(header)} tensors is a LoRA's: {listed(list(header))}",
            where=str(path),
            hint="a plain LoRA; whole models are not read here",
        )
    pairs, unread = layouts.group(header, layout)
    shapes = {name: tuple(tensor["shape"]) for name, tensor in header.items()}
    for name, pair in pairs.items():
        if not layouts.fit(shapes[pair.a], shapes[pair.b]):
            raise _damaged(path, f"the shapes of {name!r} do not fit together")
    formats = {name: tensor["dtype"] for name, tensor in header.items()}
    return LoraFile(path, metadata, layout, shapes, formats, pairs, unread)


def read_header(path: Path) -> dict[str, Any]:
    """The safetensors header, checked against the file's length.

    Raises:
        AdapterError: As `read` says.
    """
    if not path.is_file():
        raise AdapterError("there is no such file", where=str(path), hint="a .safetensors file")
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(9)
        if start.startswith(_PICKLE_STARTS):
            raise AdapterError(
                "this is a pickle, which can run code when opened",
                where=str(path),
                hint="the same LoRA as a real .safetensors file",
            )
        length = int.from_bytes(start[:8], "little")
        if start[8:] != b"{" or length > _LARGEST_HEADER:
            raise AdapterError(
                "this is no safetensors file", where=str(path), hint="a .safetensors file"
            )
        file.seek(8)
        text = file.read(length)
    if len(text) < length:
        raise _damaged(path, f"it ends after {size:,} bytes, inside its header")
    return _checked(path, text, size - 8 - length)


def _checked(path: Path, text: bytes, present: int) -> dict[str, Any]:
    try:
        header: dict[str, Any] = json.loads(text)
        sound = all(map(_is_sound, header.items()))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise _damaged(path, "its header is not what safetensors writes")
    tensors = [tensor for name, tensor in header.items() if name != "__metadata__"]
    needed = max((tensor["data_offsets"][1] for tensor in tensors), default=0)
    if needed != present:
        raise _damaged(path, f"it holds {present:,} bytes of tensors and should hold {needed:,}")
    return header


def _is_sound(item: tuple[str, Any]) -> bool:
    """Whether a header entry has the types that it must have."""
    name, told = item
    if name == "__metadata__":
        return all(isinstance(value, str) for value in told.values())
    whole = all(isinstance(number, int) for number in (*told["shape"], *told["data_offsets"]))
    return whole and isinstance(told["dtype"], str) and len(told["data_offsets"]) == 2


def _cast(name: str, tensor: Tensor, precision: Precision) -> Tensor:
    import torch

    if not torch.isfinite(tensor).all():
        raise AdapterError(
            f"{name!r} holds NaN or infinite values, so the file is not written",
            hint="an earlier epoch, or a lower learning rate",
        )
    if tensor.ndim == 0:
        return tensor.detach().float().cpu()
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}[precision]
    cast = tensor.detach().to("cpu", dtype).contiguous()
    if not torch.isfinite(cast).all():
        raise AdapterError(
            f"{name!r} holds values up to {tensor.abs().max().item():.3g}, "
            f"which {precision} cannot hold",
            where="save.precision",
            hint="'bf16' or 'fp32'",
        )
    return cast


def _hashes(
    plain: bytes, tensors: dict[str, Tensor], metadata: Mapping[str, str]
) -> dict[str, str]:
    """Hashes of the tensors, as sd-scripts and ModelSpec define them.

    The legacy hash is of 64 KiB at 1 MiB into a file whose header holds only `ss_*` entries.
    """
    import safetensors.torch

    tensor_hash = hashlib.sha256(plain[_data_start(plain) :]).hexdigest()
    known = {key: value for key, value in metadata.items() if key.startswith("ss_")}
    bare = safetensors.torch.save(tensors, known)
    return {
        "sshs_model_hash": tensor_hash,
        "sshs_legacy_hash": hashlib.sha256(bare[0x100000:0x110000]).hexdigest()[:8],
        "modelspec.hash_sha256": f"0x{tensor_hash}",
    }


def _with_metadata(plain: bytes, metadata: Mapping[str, str]) -> bytes:
    """The same file with metadata in a fixed order; the library's order is random."""
    start = _data_start(plain)
    header = {"__metadata__": dict(sorted(metadata.items())), **json.loads(plain[8:start])}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + plain[start:]


def _data_start(content: bytes) -> int:
    return 8 + int.from_bytes(content[:8], "little")


def _damaged(path: Path, why: str) -> AdapterError:
    return AdapterError(
        f"the file is damaged: {why}", where=str(path), hint="copy or download it again"
    )
