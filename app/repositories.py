"""Git repositories of presets: fetched with git, so that nothing of them is run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from trainer.core.errors import ConfigError

_SECONDS = 300
"""After which fetching a repository is given up."""


def address(folder: Path) -> str:
    """Where a copy was fetched from."""
    done = _git(["-C", str(folder), "config", "--get", "remote.origin.url"])
    return done.stdout.strip()


def clone(source: str, folder: Path) -> None:
    """Copy a repository's newest state, without its history, its links or its hooks.

    Raises:
        ConfigError: It cannot be fetched.
    """
    if source.startswith("-") or "::" in source or not re.search(r"[:/]", source):
        raise ConfigError(
            f"{source!r} is neither a folder nor the address of a git repository", where=source
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    options = ["--depth=1", "--no-tags", "--single-branch", "--template=", "--quiet"]
    try:
        done = _git(["clone", *options, "--", source, str(folder)])
    except subprocess.TimeoutExpired:
        shutil.rmtree(folder, ignore_errors=True)
        raise ConfigError(f"git did not end within {_SECONDS} s", where=source) from None
    if done.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ConfigError(f"git could not fetch it: {said}", where=source)


def renew(source: str, folder: Path) -> None:
    """Fetch a copy anew; it is replaced when the new one is whole.

    Raises:
        ConfigError: It cannot be fetched; the copy is as it was.
    """
    new = folder.with_name(f".new-{folder.name}")
    shutil.rmtree(new, ignore_errors=True)
    clone(source, new)
    shutil.rmtree(folder)
    new.rename(folder)


def _git(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run git so that nothing of a repository, and no program that an address names, is run."""
    safe = ["-c", "core.symlinks=false", "-c", f"core.hooksPath={os.devnull}"]
    safe += ["-c", "protocol.ext.allow=never"]
    try:
        return subprocess.run(
            ["git", *safe, *arguments],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "1"},
        )
    except FileNotFoundError:
        raise ConfigError(
            "git is not installed",
            hint="install git, or add a folder of presets instead of a repository",
        ) from None
