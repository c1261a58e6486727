"""Processes of this machine, by what can be noted of them and asked after later."""

from __future__ import annotations

import socket
from pathlib import Path

import psutil


def host() -> str:
    """This machine's name; with the number of its space of processes where it is a container."""
    name = socket.gethostname()
    space = Path("/proc/self/ns/pid")
    found = str(space.readlink()) if space.is_symlink() else ""
    return name if found in ("", "pid:[4026531836]") else f"{name} {found}"


def lives(pid: int, born: float) -> bool:
    """Whether the process of this number is there and is the one that was started at `born`."""
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - born) < 1
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
