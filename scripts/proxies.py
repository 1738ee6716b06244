"""nginx and Caddy for the check of docs/reverse-proxy.md, unpacked from Debian's packages into .venv/proxies: nothing is installed, nothing started.

    python scripts/proxies.py     # get what is missing

``$RHAPSODE_NGINX`` and ``$RHAPSODE_CADDY`` name others; a system that has them keeps its own. Standard library only.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / ".venv" / "proxies"
PLACES = {"nginx": "usr/sbin/nginx", "caddy": "usr/bin/caddy"}


class ProxiesFailed(Exception):
    """One cannot be had; the message says why and what to do."""


def find(name: str) -> str | None:
    """The program, if there is one."""
    own = FOLDER / PLACES[name]
    found = os.environ.get(f"RHAPSODE_{name.upper()}") or shutil.which(name) or shutil.which(f"/usr/sbin/{name}")
    return found or (str(own) if own.exists() else None)


def get() -> None:
    """Have both.

    Raises:
        ProxiesFailed: One is missing, and apt-get cannot bring it.
    """
    missing = [name for name in PLACES if find(name) is None]
    if not missing:
        return
    way_out = f"Install {' and '.join(missing)}, or name them in RHAPSODE_NGINX and RHAPSODE_CADDY"
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise ProxiesFailed(f"The check of the reverse proxies needs {' and '.join(missing)}. {way_out}")
    with tempfile.TemporaryDirectory() as folder:
        done = _download(missing, folder)
        if done.returncode:  # the lists may be missing, or old
            subprocess.run(["apt-get", "update", "-qq"], check=False, capture_output=True)
            done = _download(missing, folder)
        if done.returncode:
            raise ProxiesFailed(
                f"apt-get cannot download {', '.join(missing)}: {done.stdout.strip()[-500:]}\n{way_out}"
            )
        FOLDER.mkdir(parents=True, exist_ok=True)
        for package in Path(folder).glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", str(package), str(FOLDER)], check=True)


def _download(names: list[str], folder: str) -> "subprocess.CompletedProcess[str]":
    command = ["apt-get", "download", "-qq", *names]
    return subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder)


if __name__ == "__main__":
    try:
        get()
    except ProxiesFailed as error:
        sys.exit(str(error))
