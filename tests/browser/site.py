"""A real server in a process of its own, as a browser meets it: one address, which it keeps when it is started again."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from rhapsode.datadir import running_url

STARTED_S = 90.0


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def until(condition: Callable[[], Any], timeout_s: float = 60.0, what: str = "it") -> Any:
    """Wait until ``condition`` gives something; that."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not come about within {timeout_s:g} s"
        time.sleep(0.05)
    return found


class Site:
    """``rhapsode serve`` on one port and data directory.

    Args:
        folder: Holds configuration, log and data.
        settings: Its configuration.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(json.dumps(dict(settings) | {"server": {"port": self.port}}))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Site":
        """Start it and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from rhapsode.cli import entry; entry()",
                 "--config", str(self.folder / "config.yaml"), "--data-dir", str(self.data_dir), "serve"],
                stdout=log, stderr=log, env=dict(os.environ),
            )  # fmt: skip

        def answers() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.log[-3000:]
            return running_url(self.data_dir) == self.url

        until(answers, STARTED_S, "the server")
        return self

    def kill(self) -> None:
        """``kill -9``."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)

    @property
    def log(self) -> str:
        """What it has logged."""
        return (self.folder / "log").read_text()

    def get(self, path: str) -> Any:
        """What it answers, as JSON."""
        return httpx.get(self.url + path, timeout=30).raise_for_status().json()

    def enqueue(self, text: str, **fields: Any) -> str:
        """Queue a job without the page; its id."""
        answer = httpx.post(f"{self.url}/tts/enqueue", json={"text": text} | fields, timeout=30)
        return str(answer.raise_for_status().json()["job_id"])

    def status(self, job: str) -> dict[str, Any]:
        """A job's status."""
        return dict(self.get(f"/tts/{job}/status"))

    def ended(self, job: str, timeout_s: float = 120.0) -> dict[str, Any]:
        """Wait for a job's end."""
        until(lambda: self.status(job)["status"] not in ("queued", "running"), timeout_s, f"the end of job {job}")
        return self.status(job)

    def clear(self) -> None:
        """Delete all jobs."""
        for job in self.get("/tts?limit=500")["jobs"]:
            httpx.delete(f"{self.url}/tts/{job['job_id']}?purge=true", timeout=30)
