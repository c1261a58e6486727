"""Files that are either whole or absent: atomic writes, content hashes, free space.

Every write is a temporary file in the same folder, fsync, rename, fsync of the folder.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from trainer.core.errors import ResourceError

_TEMPORARY = ".tmp-"


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replace the file at `path` by `content`, or leave it as it was.

    Raises:
        ResourceError: The disk is full, or the folder cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f"{path.name}{_TEMPORARY}{uuid.uuid4().hex[:8]}")
    with plain_disk_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            _replace(temporary, path)
            sync_folder(path.parent)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def _replace(temporary: Path, path: Path) -> None:
    """Rename over `path`; on Windows that waits for whoever has the old file open."""
    for _ in range(20 if os.name == "nt" else 0):
        try:
            temporary.replace(path)
        except PermissionError:
            time.sleep(0.1)
        else:
            return
    temporary.replace(path)


@contextlib.contextmanager
def folder_written_atomically(path: Path) -> Iterator[Path]:
    """A temporary folder that takes the name `path` when the block ends well.

    Raises:
        ResourceError: The disk is full, or the folder cannot be written.
    """
    temporary = path.with_name(f"{path.name}{_TEMPORARY}{uuid.uuid4().hex[:8]}")
    with plain_disk_errors(path):
        try:
            temporary.mkdir(parents=True)
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    with file.open("rb+") as opened:
                        os.fsync(opened.fileno())
            sync_folder(temporary)
            _replace(temporary, path)
            sync_folder(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def same_disk(one: Path, other: Path) -> bool:
    """Whether two places, which need not exist yet, share their free space."""
    return _existing(one).stat().st_dev == _existing(other).stat().st_dev


def sweep_temporaries(folder: Path) -> None:
    """Remove what killed writers left in `folder` (not below it)."""
    for left in folder.glob(f"*{_TEMPORARY}*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut. Windows has no such call and needs none."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def plain_disk_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system says of a write into a sentence with a cure.

    Raises:
        ResourceError: For a full disk, a quota, a read-only place, missing rights, a bad disk.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceError(
                "the disk is full", where=str(path), hint="free some space, then resume the run"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise ResourceError(
                "this place cannot be written",
                where=str(path),
                hint="choose a folder that you may write to",
            ) from error
        raise ResourceError(
            f"this place cannot be used: {error.strerror or error}",
            where=str(path),
            hint="choose another folder, or look after the disk",
        ) from error


def require_space(folder: Path, needed: int, what: str) -> None:
    """Check that the disk of `folder` has `needed` bytes free.

    Raises:
        ResourceError: It has not.
    """
    free = free_space(folder)
    if free < needed:
        raise ResourceError(
            f"{what} needs {needed / 1e9:.2f} GB, and the disk has {free / 1e9:.2f} GB left",
            where=str(folder),
            hint="free some space, or choose a folder on another disk",
        )


def free_space(folder: Path) -> int:
    """Bytes free on the disk that `folder` is, or would be, on."""
    return shutil.disk_usage(_existing(folder)).free


def _existing(folder: Path) -> Path:
    """The folder, or its nearest parent that is there; of a missing drive, its root."""
    path = folder.absolute()
    return next((p for p in (path, *path.parents) if p.exists()), Path(path.anchor))


def hash_file(path: Path) -> str:
    """SHA-256 of the file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_text(*parts: str) -> str:
    """SHA-256 of the parts, told apart, in hex."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()
