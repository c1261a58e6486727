"""Pictures, folders and a stand-in model for the data tests."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trainer.core.device import Plan
from trainer.job.pictures import DatasetConfig


def picture(seed: int = 0, size: tuple[int, int] = (96, 64)) -> Image.Image:
    """A smooth random picture."""
    rough = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(rough).resize(size, Image.Resampling.BICUBIC)


def put(path: Path, *, seed: int = 0, size: tuple[int, int] = (96, 64), caption: str = "") -> Path:
    """Save a picture, and a caption beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed, size).save(path)
    if caption:
        path.with_suffix(".txt").write_text(caption)
    return path


def dataset(folder: Path, **settings: Any) -> DatasetConfig:
    return DatasetConfig(folder=folder, **settings)


def png(size: tuple[int, int], depth: int, colour: int, rows: bytes, *, before=b"", behind=b""):
    """A PNG file put together by hand, for what Pillow does not write."""
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)),
            before,
            chunk(b"IDAT", zlib.compress(rows)),
            behind,
            chunk(b"IEND", b""),
        )
    )


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


class Encoder:
    """A small convolution and a table of letters, behind the two verbs that caching calls."""

    plan = Plan("cpu", "fp32")
    image_key = "image weights"
    text_key = "text weights"

    def __init__(self) -> None:
        import torch

        torch.manual_seed(0)
        self.layer = torch.nn.Conv2d(3, 8, 3, stride=8, padding=1)
        self.pictures = self.captions = 0

    def encode_images(self, pixels):
        self.pictures += len(pixels)
        mean, deviation = self.layer(pixels).chunk(2, dim=1)
        import torch

        return torch.stack((mean, deviation.abs()), dim=1)

    def encode_captions(self, captions):
        import torch

        self.captions += len(captions)
        letters = [[float(ord(c)) for c in caption[:4].ljust(4)] for caption in captions]
        words = torch.tensor(letters).reshape(len(captions), 2, 2)
        return {"encoder_hidden_states": words, "pooled": words.sum(1).bfloat16()}
