"""Looks up known vulnerabilities of what is installed: `python -m tests.audit`.

It asks the advisory databases over the network, so it is no part of the checks and of no test.
Its exit code is that of pip-audit: 1 when something is found.
"""

import importlib.util
import subprocess
import sys

ACCEPTED: dict[str, str] = {
    "CVE-2026-134825": "Gradio's run history and server-side rendering are off; the guard "
    "refuses a forged Host (docs/security.md)",
}
"""Advisories that do not reach us, and why."""


def main() -> int:
    """Run pip-audit on this environment."""
    if importlib.util.find_spec("pip_audit") is None:
        print("pip-audit is not installed: python start.py setup audit", file=sys.stderr)
        return 6
    for name, why in ACCEPTED.items():
        print(f"passed over: {name}: {why}")
    ignored = [part for name in ACCEPTED for part in ("--ignore-vuln", name)]
    line = [sys.executable, "-m", "pip_audit", "--local", "--skip-editable", *ignored]
    return subprocess.run([*line, *sys.argv[1:]], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
