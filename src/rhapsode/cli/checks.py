"""What ``rhapsode doctor`` looks at. Each check looks at one thing and says how to mend it; none changes anything that lasts."""

import asyncio
import importlib.metadata
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

import httpx
import numpy as np
import psutil

from rhapsode.api.routes_page import web_folder
from rhapsode.audio.encode import FileEncoder
from rhapsode.cli.checks_data import check_data
from rhapsode.cli.connection import local_client
from rhapsode.cli.engine import try_engine
from rhapsode.cli.finding import Finding, Verdict
from rhapsode.cli.options import human_size, human_time
from rhapsode.compose import fleet_options, installed_engines
from rhapsode.config import Loaded
from rhapsode.datadir import read_holder, running_url
from rhapsode.environment import interpreters
from rhapsode.errors import RhapsodeError
from rhapsode.fleet.base import find_voice
from rhapsode.model import AudioFormat
from rhapsode.server import listen
from rhapsode.settings import Settings

_MB = 1_000_000
_SYNCS = 20
_SLOW_SYNC_S = 0.05
_OLDEST_PYTHON = (3, 11)
_WORKER_MB = 350
"""Memory of one Piper worker in use (docs/performance.md)."""
_RATE = 22_050


def examine(loaded: Loaded) -> Iterator[Finding]:
    """Every check in turn; one that breaks is a failure of what it looked at."""
    settings = loaded.settings
    checks: Sequence[tuple[str, Callable[[], Iterator[Finding]]]] = (
        ("python", _python),
        ("packages", lambda: _packages(settings)),
        ("machine", lambda: _machine(settings)),
        ("configuration", lambda: _configuration(loaded)),
        ("data directory", lambda: _data_directory(settings)),
        ("permissions, ledger and clock", lambda: check_data(settings)),
        ("server", lambda: _server(settings)),
        ("page", lambda: _page(settings)),
        ("codecs", _codecs),
        ("engine", lambda: _engine(settings)),
    )
    for name, check in checks:
        try:
            yield from check()
        except (RhapsodeError, OSError) as error:
            yield Finding(name, Verdict.FAIL, str(error), _WAYS_OUT.get(name, "see the message"))


_WAYS_OUT = {
    "data directory": "make the folder writable, or choose another --data-dir",
    "engine": "rhapsode --verbose doctor shows what the worker said",
}


def _python() -> Iterator[Finding]:
    found = f"{platform.python_version()} on {platform.platform(terse=True)}, {sys.executable}"
    old = sys.version_info[:2] < _OLDEST_PYTHON
    yield Finding("python", Verdict.FAIL if old else Verdict.OK, found, "install Python 3.11 or newer" if old else "")


def _packages(settings: Settings) -> Iterator[Finding]:
    engine = settings.engine.name
    apart = bool(settings.engines.run(engine).python) or engine in interpreters(settings.data_dir)
    lines = _requirements("" if apart else engine)
    needed = [re.split(r"[\s;<>=!~\[(]", line, maxsplit=1)[0] for line in lines]
    missing = []
    for name in needed:
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    lacks = installed_engines(settings).get(engine)
    if missing or lacks:
        what = ", ".join(missing) or f"the libraries of {engine}"
        yield Finding("packages", Verdict.FAIL, f"missing: {what}", lacks or "pip install rhapsode")
    else:
        own = importlib.metadata.version("rhapsode")
        yield Finding("packages", Verdict.OK, f"rhapsode {own} and the {len(needed)} it needs")


def _requirements(extra: str) -> Iterator[str]:
    """What the package asks for on every platform that has it, and for this extra."""
    for line in importlib.metadata.requires("rhapsode") or ():
        of_extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", line)
        if of_extra is None or of_extra.group(1) == extra:
            yield line


def _machine(settings: Settings) -> Iterator[Finding]:
    fleet = fleet_options(settings)
    workers = fleet.bulk_slots + (fleet.express_threads is not None)
    free = psutil.virtual_memory().available
    tight = free < workers * _WORKER_MB * _MB
    found = f"{os.cpu_count()} cores, {human_size(free)} of memory free, {workers} workers"
    mend = f"a worker takes about {_WORKER_MB} MB: close something, or set fleet.bulk_slots lower"
    yield Finding("machine", Verdict.WARN if tight else Verdict.OK, found, mend if tight else "")


def _configuration(loaded: Loaded) -> Iterator[Finding]:
    where = str(loaded.source) if loaded.source else "none, all defaults"
    for warning in loaded.warnings:
        yield Finding("configuration", Verdict.WARN, warning, f"correct {loaded.source or 'the environment'}")
    if not loaded.warnings:
        yield Finding("configuration", Verdict.OK, where)


def _data_directory(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir
    folder.mkdir(parents=True, exist_ok=True)
    sync_s = _sync_time(folder)
    yield Finding("data directory", Verdict.OK, f"{folder} can be written")
    free = shutil.disk_usage(folder).free
    least = settings.limits.min_free_disk_mb * _MB
    verdict = Verdict.FAIL if free < least else Verdict.WARN if free < 4 * least else Verdict.OK
    mend = f"below {human_size(least)} submits are refused (limits.min_free_disk_mb): make room"
    yield Finding("free space", verdict, human_size(free), "" if verdict is Verdict.OK else mend)
    slow = sync_s > _SLOW_SYNC_S
    mend = "each acknowledged job waits for the disk: put the data directory on a faster, local one"
    found = f"{sync_s * 1000:.1f} ms to make a write durable"
    yield Finding("fsync", Verdict.WARN if slow else Verdict.OK, found, mend if slow else "")


def _sync_time(folder: Path) -> float:
    """Median seconds of a small write and fsync."""
    took = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(_SYNCS):
            began = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - began)
    return median(took)


def _server(settings: Settings) -> Iterator[Finding]:
    url = running_url(settings.data_dir)
    if url is not None:
        with local_client(url, settings) as client:
            alive = client.is_alive()
        mend = "" if alive else "it may be starting or stopping; if it stays so, end it and start it again"
        found = f"{'answers' if alive else 'does not answer'} at {url}"
        yield Finding("server", Verdict.OK if alive else Verdict.FAIL, found, mend)
        if alive:
            yield _version(url)
        return
    killed = read_holder(settings.data_dir).get("pid")
    left = f"; the last one (process {killed}) was killed, its work goes on at the next start" if killed else ""
    yield Finding("server", Verdict.OK, f"none runs on this data directory{left}")
    yield _port(settings)


def _version(url: str) -> Finding:
    """Whether the server that runs is the one that is installed."""
    own = importlib.metadata.version("rhapsode")
    try:
        runs = httpx.get(f"{url}/openapi.json", verify=not url.startswith("https"), timeout=10).json()["info"][
            "version"
        ]
    except (httpx.HTTPError, ValueError, KeyError) as error:
        return Finding("version", Verdict.WARN, f"the server does not tell its version ({type(error).__name__})")
    if runs == own:
        return Finding("version", Verdict.OK, own)
    return Finding("version", Verdict.WARN, f"the server runs {runs}, installed is {own}", "start the server again")


def _port(settings: Settings) -> Finding:
    where = f"{settings.server.host}:{settings.server.port}"
    try:
        listen(settings).close()
    except RhapsodeError as error:
        return Finding("port", Verdict.FAIL, str(error), "rhapsode serve --port N, or server.port")
    return Finding("port", Verdict.OK, f"{where} is free")


def _page(settings: Settings) -> Iterator[Finding]:
    own = settings.ui.directory
    index = (own or web_folder()) / "index.html"
    if index.is_file():
        yield Finding("page", Verdict.OK, str(own) if own else "built")
    else:
        mend = (
            "correct ui.directory"
            if own
            else "./start.sh, or python scripts/page.py, or install a wheel; the API works without"
        )
        yield Finding("page", Verdict.FAIL if own else Verdict.WARN, f"{index} is missing", mend)


def _codecs() -> Iterator[Finding]:
    broken = {}
    with tempfile.TemporaryDirectory() as folder:
        for audio_format in AudioFormat:
            try:
                encoder = FileEncoder(Path(folder) / f"a.{audio_format}", audio_format, _RATE)
                encoder.write(np.zeros(_RATE // 10, np.float32))
                encoder.finish()
            except (OSError, ValueError, RuntimeError) as error:
                broken[audio_format.value] = str(error)
    if broken:
        found = "; ".join(f"{name}: {error}" for name, error in broken.items())
        yield Finding("codecs", Verdict.FAIL, found, "reinstall PyAV from its wheel: pip install --force-reinstall av")
    else:
        yield Finding("codecs", Verdict.OK, ", ".join(AudioFormat))


def _engine(settings: Settings) -> Iterator[Finding]:
    voices, trial = asyncio.run(try_engine(settings))
    folder = settings.tts_engine.predefined_voices_path
    if trial is None:
        yield Finding("engine", Verdict.WARN, f"{settings.engine.name} starts, but has nothing to speak with")
        mend = f"rhapsode voices install NAME, or put a voice into {folder}"
        yield Finding("voices", Verdict.FAIL, "none", mend)
        return
    found = (
        f"{settings.engine.name} starts in {human_time(trial.start_s)}, speaks its first words in {human_time(trial.first_s)}, "
        f"then {trial.audio_s / max(trial.again_s, 1e-6):.1f}× real time on one worker"
    )
    slow = trial.again_s > trial.audio_s
    mend = "slower than real time: more workers, or a faster machine or voice"
    yield Finding("engine", Verdict.WARN if slow else Verdict.OK, found, mend if slow else "")
    wanted = settings.tts_engine.default_voice_id
    count = f"{len(voices)}, default {trial.voice}"
    if wanted and find_voice(voices, wanted) is None:
        mend = f"correct tts_engine.default_voice_id ({wanted!r}); see: rhapsode voices"
        yield Finding("voices", Verdict.WARN, f"{count}, because the configured one is not there", mend)
    else:
        yield Finding("voices", Verdict.OK, count)
