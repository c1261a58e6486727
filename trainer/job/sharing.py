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
_GAP = r"[^A-Za-z0-9+/:]{0,8}"
"""What a chat may put in anywhere: spaces, line breaks, marks of quotes and of code."""
_HEAD = re.compile(rf"sweetspot:{_GAP}([0-9]{{1,6}}){_GAP}:((?:{_GAP}[0-9a-f]){{8}}){_GAP}:")
_PART = re.compile(r"[A-Za-z0-9+/]+")
_SEARCHED = 4 * MOST_BYTES
"""Letters of a text that are looked at."""


def to_string(preset: Preset) -> str:
    """The preset as a string, the same for the same preset."""
    about = preset.about.model_dump(mode="json", exclude_defaults=True)
    values = {"about": about, "job": preset.settings}
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    packed = base64.b64encode(zlib.compress(text.encode(), 9)).decode().rstrip("=")
    return f"{_START}:{FORMAT}:{_checksum(packed)}:{packed}"


def is_string(text: str) -> bool:
    """Whether the text means to be one, or has one in it, as a chat shows it."""
    if "\0" in text:  # a picture, or another file, that holds one in a way of its own
        return False
    return starts_as_string(text) or _HEAD.search(text[:_SEARCHED]) is not None


def starts_as_string(text: str) -> bool:
    """Whether the text means to be a string from its beginning."""
    return text.strip().strip("`").startswith(f"{_START}:")


def from_string(text: str) -> Preset:
    """The preset of the one string in a text.

    What stands around it does not matter, nor what a chat put into it: spaces, line breaks, marks.

    Raises:
        ConfigError: There is none, or several; it is not whole, of a newer format, or no preset.
    """
    where = "the preset string"
    text = text[:_SEARCHED]
    found = {_checksum_of(head): head for head in _HEAD.finditer(text)}
    if not found:
        raise ConfigError(
            "it is no preset string", where=where, hint="the whole of it, from 'sweetspot:' on"
        )
    if len(found) > 1:
        raise ConfigError(
            f"the text holds {len(found)} preset strings", where=where, hint="one at a time"
        )
    _require_format(int(next(iter(found.values()))[1]), where)
    for head in _HEAD.finditer(text):
        packed = _packed_after(head, text)
        if packed:
            return from_values({"preset": FORMAT} | _unpacked(packed, where), where)
    raise ConfigError(
        "its checksum is wrong: a part is missing, or a letter was changed",
        where=where,
        hint="copy the whole string again",
    )


def _require_format(number: int, where: str) -> None:
    if number < 1:
        raise ConfigError(
            f"there is no preset format {number}", where=where, hint="copy the whole string again"
        )
    if number > FORMAT:
        raise ConfigError(
            f"it is of preset format {number}, this Sweetspot reads up to {FORMAT}",
            where=where,
            hint="update Sweetspot",
        )


def _checksum_of(head: re.Match[str]) -> str:
    return "".join(re.findall("[0-9a-f]", head[2]))


def _packed_after(head: re.Match[str], text: str) -> str:
    """What follows a head, as far as its checksum says that it is whole; empty if it never is."""
    digest, parts, asked = hashlib.sha256(), [], _checksum_of(head)
    for part in _PART.findall(text, head.end()):
        digest.update(part.encode())
        parts.append(part)
        if digest.hexdigest()[:8] == asked:
            return "".join(parts)
    return ""


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
