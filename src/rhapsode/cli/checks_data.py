"""What ``rhapsode doctor`` looks at in a data directory: who can read it, whether the ledger is whole, and what time it was last."""

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from rhapsode.cli.finding import Finding, Verdict
from rhapsode.cli.options import human_size, human_time
from rhapsode.errors import LedgerError, RhapsodeError
from rhapsode.ledger.database import count_jobs
from rhapsode.ledger.snapshot import Summary, check_ledger, summary_of
from rhapsode.ledger.sqlite import require_fit
from rhapsode.settings import Settings

_PRIVATE = ("webhook.key", "server.lock")
_OTHERS = 0o077
_EARLIEST = 1_735_689_600
"""2025-01-01: before this program was."""
_AHEAD_S = 60.0


def check_data(settings: Settings) -> Iterator[Finding]:
    """Every check of what lies in the data directory; a server may run on it."""
    yield _permissions(settings.data_dir)
    if settings.ledger.url:
        yield _database(settings.ledger.url)
        yield _clock(None)
        return
    path = settings.data_dir / "ledger.db"
    if not path.exists():
        yield Finding("ledger", Verdict.OK, "not made yet")
        yield _clock(None)
        return
    try:
        require_fit(path)
        check_ledger(path)
        summary = summary_of(path)
    except LedgerError as error:
        mend = f"stop the server, then rhapsode restore BACKUP into an empty folder, or move {path} away (docs/operations.md)"
        yield Finding("ledger", Verdict.FAIL, str(error), mend)
        return
    yield Finding("ledger", Verdict.OK, f"whole, {human_size(path.stat().st_size)}: {_jobs(summary.jobs)}")
    yield _clock(summary)


def _database(url: str) -> Finding:
    try:
        found = count_jobs(url)
    except RhapsodeError as error:
        return Finding(
            "ledger", Verdict.FAIL, str(error), "correct ledger.url, or start the database (docs/scaling.md)"
        )
    return Finding("ledger", Verdict.OK, "PostgreSQL, not made yet" if found is None else f"PostgreSQL: {_jobs(found)}")


def _jobs(by_status: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(by_status.items())) or "no jobs"


def _permissions(folder: Path) -> Finding:
    open_to = [path.name for name in _PRIVATE if (path := folder / name).exists() and path.stat().st_mode & _OTHERS]
    if open_to:
        mend = f"chmod 600 {' '.join(str(folder / name) for name in open_to)}"
        return Finding("permissions", Verdict.FAIL, f"others can read {', '.join(open_to)}", mend)
    owner = folder.stat().st_uid if folder.exists() else os.getuid()
    if owner != os.getuid():
        mend = f"run the server as that user, or chown -R {os.getuid()} {folder}"
        return Finding(
            "permissions", Verdict.WARN, f"{folder} belongs to user {owner}, this is user {os.getuid()}", mend
        )
    return Finding("permissions", Verdict.OK, "keys are readable by this user alone")


def _clock(summary: Summary | None) -> Finding:
    now = time.time()
    mend = "set the clock (timedatectl, or an NTP service): expiry and keys go by it"
    if now < _EARLIEST:
        return Finding(
            "clock", Verdict.FAIL, f"it is {time.strftime('%Y-%m-%d', time.gmtime(now))}, says this machine", mend
        )
    if summary is not None and summary.newest > now + _AHEAD_S:
        ahead = human_time(summary.newest - now)
        return Finding("clock", Verdict.WARN, f"the ledger was written {ahead} from now: the clock was set back", mend)
    return Finding("clock", Verdict.OK, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)))
