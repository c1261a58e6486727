#!/bin/sh
# A double click on macOS starts Sweetspot.
exec "$(dirname "$0")/start.sh"
