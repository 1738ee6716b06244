"""The composition root: the one place that chooses and wires concrete parts, for the server, the CLI and embedding programs."""

import asyncio
import importlib
import importlib.util
import math
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from rhapsode.blobs.base import BlobStore
from rhapsode.blobs.local import LocalBlobs
from rhapsode.datadir import secret_key
from rhapsode.engines.registry import CLONING, engine_names, missing_packages, way_to_install
from rhapsode.environment import interpreters, missing
from rhapsode.errors import ConfigError
from rhapsode.fleet.layout import LocalFleetOptions, default_layout
from rhapsode.fleet.local import LocalFleet
from rhapsode.fleet.ray import RayFleet
from rhapsode.fleet.ray_hired import RayFleetOptions
from rhapsode.jobs.clips import Clips
from rhapsode.jobs.engine_choice import engine_choice
from rhapsode.jobs.events import EventHub
from rhapsode.jobs.metrics import Metrics
from rhapsode.jobs.nodes import NodeKeeper
from rhapsode.jobs.planner import Planner
from rhapsode.jobs.saved import SavedCopies
from rhapsode.jobs.scheduler import Scheduler, SchedulerOptions
from rhapsode.jobs.service import JobService, settle
from rhapsode.jobs.shop import Shop
from rhapsode.jobs.sweeper import Sweeper
from rhapsode.jobs.webhook_service import policy_of
from rhapsode.jobs.webhooks import Sender
from rhapsode.ledger.batches_sql import SqlBatches
from rhapsode.ledger.outbox_sql import SqlOutbox
from rhapsode.ledger.sql import SqlLedger
from rhapsode.settings import Settings

_MB = 1_000_000


def fleet_options(settings: Settings) -> LocalFleetOptions:
    """The local fleet that the settings describe."""
    fleet = settings.fleet
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    layout = default_layout(cores)
    choice = engine_choice(settings, installed_engines(settings))
    return LocalFleetOptions(
        **{field.name: getattr(choice, field.name) for field in fields(choice)},
        bulk_slots=fleet.bulk_slots or layout.bulk_slots,
        bulk_threads=fleet.bulk_threads,
        express_threads=None if fleet.express_threads < 0 else fleet.express_threads or layout.express_threads,
        nice=fleet.nice,
        takes_dir=_takes_folder(settings),
        python=fleet.python or sys.executable,
        interpreters=partial(interpreters, settings.data_dir),
        start_timeout_s=fleet.start_timeout_sec,
        deadline_base_s=fleet.deadline_base_sec,
        deadline_per_char_s=fleet.deadline_per_char_sec,
        heartbeat_timeout_s=fleet.heartbeat_timeout_sec,
        memory_cap_bytes=fleet.memory_cap_mb * _MB or None,
        memory_budget_bytes=fleet.memory_budget_mb * _MB or None,
        idle_unload_s=fleet.idle_unload_sec or None,
    )


def ray_fleet(settings: Settings) -> RayFleet:
    """The fleet of a Ray cluster that the settings describe.

    Raises:
        ConfigError: Ray is not installed.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigError("fleet.kind = ray needs ray: pip install 'rhapsode[ray]'")
    fleet, choice = settings.fleet, engine_choice(settings, installed_engines(settings))
    return RayFleet(
        RayFleetOptions(
            **{field.name: getattr(choice, field.name) for field in fields(choice)},
            address=fleet.address,
            min_workers=fleet.min_workers,
            max_workers=fleet.max_workers,
            express=fleet.express_threads >= 0,
            cpus=fleet.cpus_per_worker,
            gpus=fleet.gpus_per_worker,
            resources=fleet.custom_resources,
            node_cache=fleet.node_cache,
            threads=fleet.bulk_threads,
            express_threads=max(fleet.express_threads, 0),
            nice=fleet.nice,
            start_timeout_s=fleet.start_timeout_sec,
            deadline_base_s=fleet.deadline_base_sec,
            deadline_per_char_s=fleet.deadline_per_char_sec,
            memory_cap_bytes=fleet.memory_cap_mb * _MB or None,
            idle_s=fleet.idle_unload_sec or math.inf,
        )
    )


def installed_engines(settings: Settings) -> Mapping[str, str]:
    """Engines by name, with how to get what they lack; empty when they can be loaded. Environments under the data directory are this machine's."""
    here = settings.fleet.kind != "ray"
    own, absent = (interpreters(settings.data_dir), missing(settings.data_dir)) if here else ({}, {})
    found = {}
    for name in engine_names({settings.engine.name, *settings.engine.others}):
        loads = bool(settings.engines.run(name).python) or name in own or not (name in absent or missing_packages(name))
        found[name] = "" if loads else absent.get(name) or way_to_install(name)
    return found


def _cloning(settings: Settings) -> Mapping[str, str]:
    """The engines of this package that clone, as in :func:`installed_engines`."""
    return {name: lacks for name, lacks in installed_engines(settings).items() if name in CLONING}


def scheduler_options(settings: Settings) -> SchedulerOptions:
    """The scheduler's bounds."""
    return SchedulerOptions(
        segment_failures=settings.scheduler.segment_failures,
        max_retries=settings.job_queue.max_retries,
        interactive_chars=settings.scheduler.interactive_chars,
        normal_delay_s=settings.scheduler.normal_delay_sec,
        batch_delay_s=settings.scheduler.batch_delay_sec,
        min_free_bytes=settings.limits.min_free_disk_mb * _MB,
    )


def blob_stores(settings: Settings) -> tuple[BlobStore, BlobStore, BlobStore]:
    """Where takes, renditions and results lie.

    Raises:
        ConfigError: A bucket is named, and the extra for it is not installed.
    """
    if (folder := _takes_folder(settings)) is not None:
        results = folder.parent / "results" if settings.blobs.url else settings.job_queue.output_path
        renditions = folder.parent / "renditions"
        return LocalBlobs(folder), LocalBlobs(renditions, fan_out=False), LocalBlobs(results, fan_out=False)
    s3 = load_extra("rhapsode.blobs.s3", "s3", f"blobs.url = {settings.blobs.url}")
    options = s3.S3Options(settings.blobs.url, settings.blobs.endpoint, settings.blobs.region)
    scratch = settings.data_dir / "uploads"
    stores = [s3.S3Blobs(options, folder, scratch / folder) for folder in ("takes", "renditions", "results")]
    return stores[0], stores[1], stores[2]


def _takes_folder(settings: Settings) -> Path | None:
    """Where takes lie as files, so that workers of this machine can store them; None: they lie elsewhere."""
    url = settings.blobs.url
    if url and not url.startswith("file://"):
        return None
    return (Path(url.removeprefix("file://")) if url else settings.data_dir) / "takes"


def load_extra(module: str, extra: str, setting: str) -> Any:
    """A backend that needs packages of its own, imported only when it is configured.

    Raises:
        ConfigError: They are not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("rhapsode"):
            raise
        raise ConfigError(f"{setting} needs {error.name}: pip install 'rhapsode[{extra}]'") from error


@asynccontextmanager
async def open_shop(settings: Settings) -> AsyncIterator[Shop]:
    """Open the data directory and build the parts around it; nothing runs yet.

    The caller holds the data directory's lock (:class:`rhapsode.datadir.DataDirLock`).

    Raises:
        LedgerError: The ledger cannot be used.
    """
    ttl_s = settings.job_queue.job_ttl_hours * 3600
    ledger = SqlLedger(
        settings.ledger.url or settings.data_dir / "ledger.db",
        ttl_s=ttl_s,
        node=settings.ledger.node or _node_name(settings),
    )
    takes, renditions, results = blob_stores(settings)
    clips = LocalBlobs(settings.data_dir / "clips", fan_out=False)  # files: the workers read them
    hub = EventHub()
    ledger.on_event(hub.publish)
    metrics = Metrics()
    ledger.store.on_commit(metrics.committed)
    hub.listen(metrics.heard)
    key = await asyncio.to_thread(secret_key, settings.data_dir / "webhook.key")
    await ledger.open()
    try:
        if ledger.shared:  # all nodes sign alike: with the key of the first
            key = bytes.fromhex(await ledger.secret("webhook.key", key.hex()))
        fleet = ray_fleet(settings) if settings.fleet.kind == "ray" else LocalFleet(fleet_options(settings))
        metrics.counts_deaths(lambda: fleet.deaths)
        yield Shop(
            ledger=ledger,
            takes=takes,
            results=results,
            fleet=fleet,
            planner=Planner(),
            hub=hub,
            clock=time.time,
            access=ledger.access,
            outbox=SqlOutbox(ledger.store, key),
            batches=SqlBatches(ledger.store, ttl_s),
            renditions=renditions,
            clips=Clips(clips),
            metrics=metrics,
            installed_engines=installed_engines,
            cloning=partial(_cloning, settings),
            saved=SavedCopies(settings.paths.output) if settings.audio_output.save_to_disk else None,
        )
    finally:
        await ledger.close()
        takes.close()
        results.close()
        renditions.close()
        clips.close()


def _node_name(settings: Settings) -> str:
    """One that no other node has, and the same after a restart: the lock of the data directory sees to it."""
    return f"{socket.gethostname()}:{settings.data_dir}"


@asynccontextmanager
async def sweeping(shop: Shop, settings: Settings) -> AsyncIterator[None]:
    """Clean up by itself for as long as the block runs."""
    keep_s = settings.webhooks.keep_days * 86_400
    async with _in_background(Sweeper(shop, settings.job_queue.cleanup_interval_sec, webhook_keep_s=keep_s).run()):
        yield


@asynccontextmanager
async def sending(shop: Shop, settings: Settings) -> AsyncIterator[None]:
    """Send webhooks for as long as the block runs."""
    async with _in_background(Sender(shop, policy_of(settings), settings.webhooks.timeout_sec).run()):
        yield


@asynccontextmanager
async def _in_background(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def running_service(settings: Settings) -> AsyncIterator[JobService]:
    """Start the workers and go on with unfinished jobs; on leaving, segments in flight get a moment to finish.

    The caller holds the data directory's lock (:class:`rhapsode.datadir.DataDirLock`).

    Raises:
        LedgerError: The ledger cannot be used.
        EngineError: The engine cannot be started.
    """
    async with open_shop(settings) as shop:
        scheduler = Scheduler(shop, scheduler_options(settings))
        keeper = NodeKeeper(shop.ledger, scheduler)
        try:
            async with _in_background(keeper.hold()):
                await asyncio.gather(shop.fleet.start(), shop.planner.start())
            await scheduler.start(await shop.ledger.adopt())
            async with _in_background(keeper.run()), sweeping(shop, settings), sending(shop, settings):
                yield JobService(shop, scheduler, settings)
        finally:
            await settle(shop.fleet, scheduler)
            await scheduler.stop()
            await shop.planner.stop()
