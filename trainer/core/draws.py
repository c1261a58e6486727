"""Random draws named by what they are for.

No draw depends on how many were made before it, on which process makes it, or on whether
the run was interrupted: each comes from a generator seeded with (run seed, purpose, epoch,
index). This is what makes a resumed run, or one of several processes, equal to an
unbroken one.
"""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator

Key = str | int


def seed_of(seed: int, *key: Key) -> int:
    """A whole number in [0, 2^63), the same for the same key on every machine."""
    text = "\x1f".join(map(str, (seed, *key)))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def chance(seed: int, *key: Key) -> random.Random:
    """Python's generator for this key."""
    return random.Random(seed_of(seed, *key))


def generator(seed: int, *key: Key) -> Generator:
    """Torch's generator for this key, on the CPU."""
    import torch

    return torch.Generator().manual_seed(seed_of(seed, *key))
