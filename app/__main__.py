"""`sweetspot` and `python -m app`."""

import sys


def main() -> None:
    """Run the command line; its exit codes are listed in docs/exit-codes.md."""
    from app.cli import run

    sys.exit(run())


if __name__ == "__main__":
    main()
