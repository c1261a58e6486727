"""What the doctor found, looked for by a process of its own and remembered.

To look takes seconds and the memory of a whole torch, which a server that is open all day should
not hold.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from app.settings import home
from trainer.core.errors import UserError
from trainer.core.files import write_atomically

FILE = "doctor.json"
_STALE = 7 * 86400.0
"""Seconds after which it is looked again, without being asked."""
_PATIENCE = 300
"""Seconds that a look may take."""


class Health:
    """The doctor's findings, of which there is one set for all pages."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looks = False
        self._problem = ""

    def told(self, runs: Path, *, again: bool = False) -> dict[str, Any]:
        """What was found, and whether it is being looked just now.

        Args:
            runs: The runs folder, whose disk is looked at.
            again: Look, though it is known.
        """
        kept = _kept()
        with self._lock:
            stale = time.time() - kept.get("at", 0.0) > _STALE and not self._problem
            if (again or stale) and not self._looks:
                self._looks = True
                threading.Thread(target=self._look, args=(runs,), daemon=True).start()
            return {**kept, "looking": self._looks, "problem": self._problem}

    def _look(self, runs: Path) -> None:
        try:
            found = _examined(runs)
            write_atomically(home() / FILE, json.dumps({"at": time.time(), "found": found}))
            problem = ""
        except (OSError, ValueError, subprocess.SubprocessError, UserError) as error:
            problem = f"The doctor could not look: {error}"
        with self._lock:
            self._looks, self._problem = False, problem


def _kept() -> dict[str, Any]:
    try:
        told = json.loads((home() / FILE).read_text(encoding="utf-8"))
        return {"at": float(told["at"]), "found": list(told["found"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _examined(runs: Path) -> list[dict[str, str]]:
    """Ask the command line's doctor, behind everything else that the machine does."""
    command = [sys.executable, "-m", "app", "doctor", "--json", "--runs", str(runs)]
    polite = ["nice", "-n", "10"] if os.name == "posix" else []
    done = subprocess.run(
        [*polite, *command],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=_PATIENCE,
    )
    found: list[dict[str, str]] = json.loads(done.stdout)
    return found
