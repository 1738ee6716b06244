"""``rhapsode jobs`` and ``rhapsode cancel``: through the server, or through the ledger itself when none runs."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TypeVar

import click
import msgspec
from rich.console import Console
from rich.table import Table

from rhapsode.cli.connection import patiently, running_server
from rhapsode.cli.options import EXIT_FAILED, Options, human_time, print_json
from rhapsode.client import Client, JobInfo
from rhapsode.compose import open_shop
from rhapsode.datadir import DataDirLock
from rhapsode.errors import NotFound, RhapsodeError
from rhapsode.jobs.shop import Shop
from rhapsode.jobs.status import job_status
from rhapsode.ledger.base import JobFilter, Ledger, Listed
from rhapsode.model import JobStatus
from rhapsode.settings import Settings

T = TypeVar("T")

_PAGE = 500
_WIDTH = 120


@click.command("jobs")
@click.option("--status", type=click.Choice([status.value for status in JobStatus]), help="Only jobs of this status.")
@click.option("--tag", "tags", multiple=True, help="Only jobs with this tag; repeated: with all of these.")
@click.option("--search", default="", help="Only jobs whose text, tags or id have these words.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Most jobs to list.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def jobs_command(
    options: Options, status: str | None, tags: tuple[str, ...], search: str, limit: int, as_json: bool
) -> None:
    """List jobs, newest first."""
    statuses = (JobStatus(status),) if status else ()
    wanted = JobFilter(statuses=statuses, tags=tags, words=tuple(search.split()))
    found = at_the_source(
        options,
        lambda client: _list_pages(client, wanted, limit),
        lambda settings: (
            [] if _is_new(settings) else with_shop(settings, lambda shop: _list(shop.ledger, wanted, limit))
        ),
    )
    if as_json:
        print_json([asdict(job) for job in found])
    elif found:
        _print_table(found)
    else:
        options.say("no jobs")


@click.command("cancel")
@click.argument("job_ids", metavar="ID…", nargs=-1, required=True)
@click.pass_obj
def cancel_command(options: Options, job_ids: tuple[str, ...]) -> None:
    """Cancel unfinished jobs. What is done of them is kept until they expire."""
    failed = False
    for job_id in job_ids:
        try:
            _cancel(options, job_id)
        except RhapsodeError as error:
            options.say(f"rhapsode: {error}")
            failed = True
        else:
            click.echo(f"{job_id} cancelled")
    if failed:
        click.get_current_context().exit(EXIT_FAILED)


def _cancel(options: Options, job_id: str) -> None:
    async def in_ledger(shop: Shop) -> None:
        await shop.ledger.cancel_job(job_id, "cancelled by the user")

    def offline(settings: Settings) -> None:
        if _is_new(settings):
            raise NotFound(f"there is no job {job_id!r}: {settings.data_dir} holds none")
        with_shop(settings, in_ledger)

    at_the_source(options, lambda client: client.cancel(job_id), offline)


def at_the_source(options: Options, online: Callable[[Client], T], offline: Callable[[Settings], T]) -> T:
    """Ask the server that was named or runs; without one, do it on the data directory, which is ours meanwhile."""
    if options.server:
        with Client(options.server, api_key=options.api_key) as client:
            return online(client)
    settings = options.load().settings

    def attempt() -> tuple[T]:
        client = running_server(settings)
        if client is None:
            return (offline(settings),)
        with client:
            return (online(client),)

    return patiently(attempt)[0]


def _is_new(settings: Settings) -> bool:
    return not settings.ledger.url and not (settings.data_dir / "ledger.db").exists()


def with_shop(settings: Settings, work: Callable[[Shop], Awaitable[T]]) -> T:
    """Do something on the data directory, which no server holds."""

    async def locked() -> T:
        async with open_shop(settings) as shop:
            return await work(shop)

    with DataDirLock(settings.data_dir):
        return asyncio.run(locked())


async def _list(ledger: Ledger, wanted: JobFilter, limit: int) -> Sequence[JobInfo]:
    found: list[Listed] = []
    before: tuple[float, str] | None = None
    while len(found) < limit:
        page = await ledger.list_jobs(wanted, before, limit - len(found))
        found += page.jobs
        before = page.behind
        if before is None:
            break
    return [msgspec.convert(job_status(one.job, None, "no server runs", time.time()), JobInfo) for one in found]


def _list_pages(client: Client, wanted: JobFilter, limit: int) -> Sequence[JobInfo]:
    found: list[JobInfo] = []
    cursor: str | None = None
    status = wanted.statuses[0] if wanted.statuses else None
    while len(found) < limit:
        at_most = min(limit - len(found), _PAGE)
        page = client.jobs(status, at_most, cursor, tags=wanted.tags, search=" ".join(wanted.words))
        found += page.jobs
        cursor = page.next_cursor
        if cursor is None:
            break
    return found


def _print_table(jobs: Sequence[JobInfo]) -> None:
    table = Table(box=None, pad_edge=False)
    for title in ("job", "status", "done", "segments", "audio", "submitted", "voice", "format"):
        table.add_column(title, no_wrap=True, justify="right" if title in {"done", "segments", "audio"} else "left")
    for job in jobs:
        table.add_row(
            job.job_id,
            job.status.value,
            f"{job.progress:.0f} %",
            f"{job.segments.done}/{job.segments.total}",
            human_time(job.audio_seconds),
            _local_time(job.created_at),
            job.voice,
            job.output_format,
        )
    console = Console(highlight=False, markup=False)
    console.width = max(console.width, _WIDTH)  # ids are to be copied: a narrow terminal wraps them, nothing cuts them
    console.print(table)
    for job in jobs:
        if job.error:
            console.print(f"{job.job_id}: {job.error}", soft_wrap=True)


def _local_time(iso: str | None) -> str:
    return datetime.fromisoformat(iso).astimezone().strftime("%Y-%m-%d %H:%M:%S") if iso else ""
