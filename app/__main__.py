"""`sweetspot` and `python -m app`."""

import sys


def main() -> None:
    """Run the command line; its exit codes are listed in docs/exit-codes.md."""
    if sys.argv[1:2] == ["app"]:
        from app.splash import at_once

        at_once(sys.argv[2:])
    from app.cli import run

    sys.exit(run())


if __name__ == "__main__":
    main()
