#!/usr/bin/env bash
# Starts Sweetspot on Linux and macOS. After a double click its window stays open.
start="$(cd "$(dirname "$0")" && pwd)/start.py" || exit 1

for python in python3 python3.13 python3.12 python3.11 python3.14 python; do
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        "$python" "$start" "$@"
        code=$?
        [ -t 0 ] && [ $# -eq 0 ] && read -r -p "Press Enter to close. "
        exit "$code"
    fi
done
echo "Sweetspot needs Python 3.11 or newer. Install it from your system's store or python.org."
[ -t 0 ] && read -r -p "Press Enter to close. "
exit 1
