"""The Hugging Face token, kept where the hub's own library keeps it and shown to nobody.

`python -m app.tokens` reads a token from its standard input, asks the hub whether it is one,
and keeps it. A process of its own, so that the token stands in no command line and the
server's offline switch does not reach into it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from app.effect import OFFLINE, offline
from trainer.core.errors import ConfigError, ResourceError

_PATIENCE = 60.0


def state() -> dict[str, str]:
    """Where the token in use comes from, and what the hub calls it; empty where there is none."""
    if os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN"):
        return {"from": "the environment (HF_TOKEN)", "name": "", "fixed": "yes"}
    from huggingface_hub import constants
    from huggingface_hub.utils._auth import get_stored_tokens

    path = Path(constants.HF_TOKEN_PATH)
    held = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
    if not held:
        return {"from": "", "name": "", "fixed": ""}
    name = next((name for name, token in get_stored_tokens().items() if token == held), "")
    return {"from": str(path), "name": name, "fixed": ""}


def keep(token: str) -> None:
    """Check a token with the hub and keep it.

    Raises:
        ConfigError: It is no token, or the hub does not know it.
        ResourceError: The hub cannot be asked.
    """
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError("this is no token", where="token", hint="copy it whole; it begins hf_")
    if offline():
        raise ConfigError(
            "a new token is checked with the hub, and the network is not asked",
            where="token",
            hint="switch offline off and save",
        )
    env = {name: text for name, text in os.environ.items() if name != OFFLINE}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "app.tokens"],
            input=token,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
            env=env,
        )
        told = json.loads((done.stdout.strip().splitlines() or ["{}"])[-1])
    except (subprocess.TimeoutExpired, ValueError):
        told = {}
    if told.get("state") == "wrong":
        raise ConfigError("the hub does not know this token", where="token", hint="make a new one")
    if told.get("state") != "kept":
        raise ResourceError("the hub cannot be asked about the token", where="token", hint="later")


def forget() -> None:
    """Delete the token from this machine; others that the hub's library keeps stay."""
    from huggingface_hub import constants, logout

    told = state()
    if told["fixed"]:
        raise ConfigError(
            "the token comes from the environment", where="token", hint="unset HF_TOKEN there"
        )
    if told["name"]:
        logout(told["name"])
    Path(constants.HF_TOKEN_PATH).unlink(missing_ok=True)


def _check() -> str:
    from huggingface_hub import login
    from huggingface_hub.errors import HfHubHTTPError

    try:
        login(token=sys.stdin.read().strip())
    except ValueError:
        return "wrong"
    except HfHubHTTPError as error:
        refused = error.response is not None and error.response.status_code in (401, 403)
        return "wrong" if refused else "unreachable"
    except OSError:
        return "unreachable"
    return "kept"


if __name__ == "__main__":
    print(json.dumps({"state": _check()}))  # noqa: T201
