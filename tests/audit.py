"""Looks up known vulnerabilities of what is installed: `python -m tests.audit`.

It asks the advisory databases over the network, so it is no part of the checks and of no test.
Its exit code is 1 when something is found, or could not be asked about.
"""

import importlib.util
import json
import subprocess
import sys
from typing import Any

ACCEPTED: dict[str, str] = {
    "CVE-2026-134825": "Gradio's run history and server-side rendering are off; the guard "
    "refuses a forged Host (docs/security.md)",
}
"""Advisories that do not reach us, and why."""


def main() -> int:
    """Ask, and print what is vulnerable and what could not be asked about."""
    if importlib.util.find_spec("pip_audit") is None:
        print("pip-audit is not installed: python start.py setup audit", file=sys.stderr)
        return 6
    for name, why in ACCEPTED.items():
        print(f"passed over: {name}: {why}")
    ignored = [part for name in ACCEPTED for part in ("--ignore-vuln", name)]
    line = [sys.executable, "-m", "pip_audit", "--local", "--progress-spinner", "off"]
    done = subprocess.run(
        [*line, "--format", "json", *ignored, *sys.argv[1:]],
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    if not done.stdout:
        return done.returncode or 1
    asked = json.loads(done.stdout)["dependencies"]
    found, missed = vulnerable(asked), unasked(asked)
    print("\n".join(found) or "nothing that was asked about is known to be vulnerable")
    if missed:
        print(f"could not be asked about ({len(missed)} of {len(asked)}): {', '.join(missed)}")
    return 1 if found or missed else done.returncode


def vulnerable(asked: list[dict[str, Any]]) -> list[str]:
    """A line for each advisory."""
    return [
        f"{one['name']} {one['version']}: {each['id']}, mended in "
        f"{', '.join(each['fix_versions']) or 'no version'}"
        for one in asked
        for each in one.get("vulns", [])
    ]


def unasked(asked: list[dict[str, Any]]) -> list[str]:
    """What no database answered for, but for ourselves."""
    return [one["name"] for one in asked if "skip_reason" in one and one["name"] != "sweetspot"]


if __name__ == "__main__":
    sys.exit(main())
