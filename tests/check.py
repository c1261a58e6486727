"""Every check, in one command, the same here and in CI: `python -m tests.check`.

Anything after it goes to pytest: `python -m tests.check -k cache`. pytest comes last, so that
its closing line ends the output. Where there are two cores and nothing was asked of pytest, two
processes share the test files; each has one thread, since tiny models gain nothing by more.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINT_IMPORTS = "from importlinter.cli import lint_imports_command as main; main()"
CHECKS = {
    "ruff check": ["-m", "ruff", "check", "--quiet", "."],
    "ruff format": ["-m", "ruff", "format", "--check", "--quiet", "."],
    "mypy": ["-m", "mypy", "--no-error-summary"],
    "lint-imports": ["-c", LINT_IMPORTS, "--no-cache"],
}
SHARED = ["-n", "2", "--dist", "loadfile"]


def main(arguments: list[str]) -> int:
    """Run all checks, whatever the earlier ones found; 0 when all passed."""
    failed = [name for name, line in CHECKS.items() if not passes(name, line)]
    print("pytest", flush=True)
    shared = [] if arguments or (os.cpu_count() or 1) < 2 else SHARED
    threads = {"OMP_NUM_THREADS": "1"} if shared else {}
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", *shared, *arguments],
        cwd=ROOT,
        env={**os.environ, **threads},
        check=False,
    )
    if failed:
        print(f"failed: {', '.join(failed)} (told above)", file=sys.stderr)
    return tests.returncode or int(bool(failed))


def passes(name: str, line: list[str]) -> bool:
    """Run one check; its output is shown only when it failed."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, *line], cwd=ROOT, capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - started
    print(f"{name:<14}{'failed' if done.returncode else 'ok':<7}{seconds:5.1f} s", flush=True)
    if done.returncode:
        print(done.stdout + done.stderr, flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
