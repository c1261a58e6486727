"""What the settings mean for this process and for those that it starts.

Processes hear of it through their environment. What was said there when this process began
stands above the settings.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from app.settings import AppSettings
from trainer.core.device import DEVICE, PRECISION_NAME

OFFLINE = "HF_HUB_OFFLINE"
_GIVEN: Mapping[str, str] = {
    name: os.environ[name] for name in (OFFLINE, DEVICE, PRECISION_NAME) if os.environ.get(name)
}


def take(settings: AppSettings) -> None:
    """From now on, work that is started follows these settings; what runs goes on as it is."""
    wanted = {
        OFFLINE: "1" if settings.offline else "",
        DEVICE: "" if settings.device == "auto" else settings.device,
        PRECISION_NAME: "" if settings.precision == "auto" else settings.precision,
    }
    for name, value in wanted.items():
        told = _GIVEN.get(name) or value
        if told:
            os.environ[name] = told
        else:
            os.environ.pop(name, None)


def offline() -> bool:
    """Whether work that is started asks the network for nothing."""
    return os.environ.get(OFFLINE, "") in ("1", "true", "True")


def fixed(setting: str) -> bool:
    """Whether a setting was said when the app was started, so that saving changes nothing."""
    names = {"offline": OFFLINE, "device": DEVICE, "precision": PRECISION_NAME}
    return names.get(setting, "") in _GIVEN
