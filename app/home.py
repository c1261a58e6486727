"""Where a person's own things lie: settings, presets, thumbnails. Light: nothing waits for it."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The folder of what a person keeps between runs; `SWEETSPOT_HOME` names another."""
    import platformdirs

    told = os.environ.get("SWEETSPOT_HOME")
    return Path(told) if told else platformdirs.user_data_path("sweetspot", appauthor=False)
