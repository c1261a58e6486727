"""A preset as a string that is short enough for a chat message.

    sweetspot:1:5f0c2a9b:eNpd...

The format, eight digits of a SHA-256 of what follows, and the preset as JSON, packed by zlib and
written in base64 without padding: none of its letters means anything to Markdown. A string that
was cut short or mistyped is refused for its checksum, which is no signature: it says that the
string is whole, not who wrote it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import zlib

from trainer.core.errors import ConfigError
from trainer.job.preset import FORMAT, MOST_BYTES, Preset, from_values

_START = "sweetspot"
_STRING = re.compile(r"sweetspot:(\d{1,6}):([0-9a-f]{8}):([A-Za-z0-9+/]+)")


def to_string(preset: Preset) -> str:
    """The preset as a string, the same for the same preset."""
    about = preset.about.model_dump(mode="json", exclude_defaults=True)
    values = {"about": about, "job": preset.settings}
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    packed = base64.b64encode(zlib.compress(text.encode(), 9)).decode().rstrip("=")
    return f"{_START}:{FORMAT}:{_checksum(packed)}:{packed}"


def is_string(text: str) -> bool:
    """Whether the text means to be one."""
    return text.strip().strip("`").startswith(f"{_START}:")


def from_string(text: str) -> Preset:
    """The preset in a string; spaces and line breaks that a chat put in do not matter.

    Raises:
        ConfigError: It is not whole, of a newer format, or no preset.
    """
    where = "the preset string"
    found = _STRING.fullmatch(re.sub(r"[\s`]+", "", text[: 4 * MOST_BYTES]))
    if found is None:
        raise ConfigError(
            "it is no preset string", where=where, hint="the whole of it, from 'sweetspot:' on"
        )
    number, checksum, packed = found.groups()
    if int(number) > FORMAT:
        raise ConfigError(
            f"it is of preset format {number}, this Sweetspot reads up to {FORMAT}",
            where=where,
            hint="update Sweetspot",
        )
    if _checksum(packed) != checksum:
        raise ConfigError(
            "its checksum is wrong: a part is missing, or a letter was changed",
            where=where,
            hint="copy the whole string again",
        )
    return from_values({"preset": FORMAT} | _unpacked(packed, where), where)


def _unpacked(packed: str, where: str) -> dict[str, object]:
    try:
        content = base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(content, MOST_BYTES)
        if unpacker.unconsumed_tail or not unpacker.eof:
            raise ConfigError(
                f"it unpacks to more than {MOST_BYTES // 1024} KiB, or not to its end", where=where
            )
        values = json.loads(text)
    except (binascii.Error, zlib.error, ValueError, RecursionError):
        raise ConfigError("what it holds cannot be read", where=where) from None
    if not isinstance(values, dict):
        raise ConfigError("what it holds is no preset", where=where)
    return values


def _checksum(packed: str) -> str:
    return hashlib.sha256(packed.encode()).hexdigest()[:8]
