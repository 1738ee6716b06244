# Set-up that start.sh and test.sh share. Sourced, POSIX sh; expects $root (this repository).
# Finds a Python and lets scripts/setup.py do the work; $venv is ready afterwards.

venv=$root/.venv

# Print the first Python of at least 3.11; $RHAPSODE_PYTHON names another one.
find_python() {
    seen=
    for name in ${RHAPSODE_PYTHON:+"$RHAPSODE_PYTHON"} python3.13 python3.12 python3.11 python3 python; do
        path=$(command -v "$name" 2>/dev/null) || continue
        version=$("$path" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || continue
        case $version in
        3.1[1-9].* | 3.[2-9][0-9].*)
            echo "$path"
            return 0
            ;;
        esac
        seen="$seen
  $path is Python $version"
    done
    echo "Rhapsode needs Python 3.11 or newer. Found: ${seen:-no Python at all}." >&2
    echo "Install one (for instance: apt install python3.12 python3.12-venv, or brew install python@3.12)," >&2
    echo "or name it: RHAPSODE_PYTHON=/path/to/python3.12 $0" >&2
    return 1
}

# set_up run|test: make $venv ready; quick when nothing changed.
set_up() {
    if [ -x "$venv/bin/python" ] && "$venv/bin/python" -I -S "$root/scripts/setup.py" --check "$1" 2>/dev/null; then
        return 0
    fi
    python=$(find_python) || exit 1
    "$python" -I "$root/scripts/setup.py" "$1" || exit 1
}
