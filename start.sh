#!/bin/sh
# Set up what is needed, then run Rhapsode:
#   ./start.sh                        serve on http://127.0.0.1:8004
#   ./start.sh serve --port 9000      arguments go to the command line tool
#   ./start.sh speak book.txt -o book.mp3
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$root/scripts/setup.sh"
set_up run
[ $# -gt 0 ] || set -- serve
exec "$venv/bin/rhapsode" "$@"
