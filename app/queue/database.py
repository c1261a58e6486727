"""The queue's file: an SQLite database that is made, brought up to date, or refused in words.

Knows the tables' columns and not what they are for.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from trainer.core.errors import ResourceError, RunError, UserError
from trainer.core.files import plain_disk_errors

FILE = "queue.sqlite"
APPLICATION = 0x53_57_51_31
"""Marks the file as ours ("SWQ1")."""

MIGRATIONS = (
    """
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL,
        kind TEXT NOT NULL,
        device TEXT NOT NULL,
        place TEXT NOT NULL,
        ticket TEXT NOT NULL,
        priority INTEGER NOT NULL,
        position REAL NOT NULL,
        state TEXT NOT NULL,
        stage TEXT NOT NULL DEFAULT '',
        wish TEXT NOT NULL DEFAULT '',
        worker INTEGER,
        attempt INTEGER NOT NULL DEFAULT 0,
        folder TEXT NOT NULL DEFAULT '',
        sweep TEXT NOT NULL DEFAULT '',
        driven TEXT NOT NULL DEFAULT '',
        told INTEGER NOT NULL DEFAULT 0,
        deaths INTEGER NOT NULL DEFAULT 0,
        progress INTEGER NOT NULL DEFAULT 0,
        added REAL NOT NULL,
        ended REAL,
        seconds REAL NOT NULL DEFAULT 0,
        exit_code INTEGER,
        problem TEXT NOT NULL DEFAULT '',
        place_of_problem TEXT NOT NULL DEFAULT '',
        hint TEXT NOT NULL DEFAULT '',
        verdict TEXT NOT NULL DEFAULT ''
    );
    CREATE INDEX jobs_in_order ON jobs (state, priority DESC, position, id);
    CREATE INDEX jobs_by_name ON jobs (name);
    CREATE TABLE texts (job INTEGER PRIMARY KEY, text TEXT NOT NULL);
    CREATE TABLE workers (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        host TEXT NOT NULL,
        pid INTEGER NOT NULL,
        born REAL NOT NULL,
        device TEXT NOT NULL,
        beat INTEGER NOT NULL DEFAULT 0,
        seen REAL NOT NULL
    );
    CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
    """,
)
"""What brings the tables from one version to the next; the first makes them."""

_REMOTE = (
    *("nfs", "cifs", "smb", "9p", "afs", "lustre", "gpfs", "beegfs", "ceph", "gluster"),
    *("fuse", "vboxsf", "prl_fs", "drvfs", "ncpfs", "ocfs", "gfs", "virtiofs", "acfs", "davfs"),
)
"""How the names of file systems begin that other machines may write to at the same time."""
_LONGEST_WAIT = 30.0
"""Seconds that one process waits for another's change."""
_WAL_MARK = 2


def open_database(path: Path, wait: float = _LONGEST_WAIT) -> sqlite3.Connection:
    """The queue's file, made where there is none.

    Args:
        path: Where it is.
        wait: Seconds that it waits for another process's change.

    Raises:
        RunError: It is damaged, no queue, or of a newer Sweetspot; it is left as it is.
        ResourceError: The place cannot be written.
    """
    with plain_disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    _refuse_wal_from_afar(path)
    with plain_errors(path):
        database = sqlite3.connect(path, timeout=wait, isolation_level=None)
        try:
            _bring_up_to_date(database, path)
        except BaseException:
            database.close()
            raise
    return database


@contextlib.contextmanager
def transaction(database: sqlite3.Connection, path: Path) -> Iterator[sqlite3.Connection]:
    """All that the block writes, or nothing of it; nobody else writes meanwhile.

    Raises:
        ResourceError: The disk is full, or the place cannot be written.
        RunError: The file is damaged.
    """
    with plain_errors(path):
        database.execute("BEGIN IMMEDIATE")
        try:
            yield database
            database.execute("COMMIT")
        finally:
            if database.in_transaction:
                database.execute("ROLLBACK")


@contextlib.contextmanager
def plain_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite says into a sentence with a cure.

    Raises:
        ResourceError: The disk is full, busy, or cannot be written.
        RunError: The file is damaged.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        told = _in_words(getattr(error, "sqlite_errorcode", 0) & 0xFF, str(error), path)
        if told is None:
            raise
        raise told from error


def share(database: sqlite3.Connection, path: Path) -> None:
    """Make the queue one that several machines can work at: it keeps no memory shared by processes.

    Raises:
        ResourceError: Another process has it open.
    """
    with plain_errors(path):
        (mode,) = database.execute("PRAGMA journal_mode = DELETE").fetchone()
    if mode != "delete":
        raise ResourceError("another process has the queue open", where=str(path))


def is_remote(folder: Path) -> bool:
    """Whether other machines may write to the folder's disk, as far as its file system tells."""
    path = str(folder.resolve())
    if path.startswith("\\\\"):
        return True
    mounts = [m for m in psutil.disk_partitions(all=True) if folder.resolve().is_relative_to(m[1])]
    if not mounts:
        return False
    nearest = max(mounts, key=lambda mount: len(mount.mountpoint))
    return nearest.fstype.lower().startswith(_REMOTE) or "remote" in nearest.opts.split(",")


def _bring_up_to_date(database: sqlite3.Connection, path: Path) -> None:
    database.execute("BEGIN")  # what is read belongs together, though others may make the tables
    version = _version(database, path)
    database.execute("COMMIT")
    if version == len(MIGRATIONS):
        return
    if version == 0:
        _set_journal(database, "DELETE" if is_remote(path.parent) else "WAL")
    with transaction(database, path):
        for migration in MIGRATIONS[_version(database, path) :]:
            for statement in filter(str.strip, migration.split(";")):
                database.execute(statement)
        database.execute(f"PRAGMA application_id = {APPLICATION}")
        database.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _version(database: sqlite3.Connection, path: Path) -> int:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (mark,) = database.execute("PRAGMA application_id").fetchone()
    (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if mark != APPLICATION and (version or tables):
        raise RunError(
            "this file is no queue, but another program's",
            where=str(path),
            hint="name another folder with --queue",
        )
    if version > len(MIGRATIONS):
        raise RunError(
            f"the queue is of version {version}, and this Sweetspot reads up to {len(MIGRATIONS)}",
            where=str(path),
            hint="update Sweetspot, or name another folder with --queue",
        )
    return int(version)


def _set_journal(database: sqlite3.Connection, mode: str) -> None:
    """Set how changes are written; SQLite does not wait by itself for others who do the same."""
    deadline = time.monotonic() + _LONGEST_WAIT
    while True:
        try:
            database.execute(f"PRAGMA journal_mode = {mode}")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _refuse_wal_from_afar(path: Path) -> None:
    """Raise for a queue of one machine that is looked at from another."""
    if not path.is_file():
        return
    with plain_disk_errors(path), path.open("rb") as file:
        head = file.read(19)
    if len(head) == 19 and head[18] == _WAL_MARK and is_remote(path.parent):
        raise RunError(
            "this queue is for one machine only, and lies on another machine's disk",
            where=str(path),
            hint="run `sweetspot queue share` on the machine that has the disk",
        )


def _in_words(code: int, said: str, path: Path) -> UserError | None:
    where = str(path)
    match code:
        case sqlite3.SQLITE_FULL:
            return ResourceError(
                "the disk is full; the queue is as it was",
                where=where,
                hint="free some space, then try again",
            )
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED | sqlite3.SQLITE_PROTOCOL:
            return ResourceError(
                "another process holds the queue, and does not let go",
                where=where,
                hint="try again; on a network drive, see that its locks work",
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return ResourceError(
                "this place cannot be written",
                where=where,
                hint="choose a folder that you may write to",
            )
        case sqlite3.SQLITE_IOERR:
            return ResourceError(
                f"this place cannot be used: {said}", where=where, hint="look after the disk"
            )
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return RunError(
                f"the queue's file is damaged ({said}); it is left as it is",
                where=where,
                hint="move it away and add the jobs again; the runs' own folders are whole",
            )
    return None
