"""A real PostgreSQL server for the tests: its own folder, socket and processes, gone afterwards."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg
import psycopg.sql

BINARIES = "RHAPSODE_POSTGRES"
"""Names the folder of ``initdb`` and ``postgres``."""
_ACCOUNTS = ("postgres", "nobody")
_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def binaries() -> Path:
    """The folder of the newest server on this machine."""
    named = os.environ.get(BINARIES)
    folders = [Path(named)] if named else sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version)
    folders += [Path(found).parent for found in filter(None, [shutil.which("initdb")])]
    for folder in reversed(folders):
        if (folder / "initdb").exists():
            return folder
    raise RuntimeError(f"There is no PostgreSQL server: apt install postgresql, or name its folder in ${BINARIES}.")


def _version(folder: Path) -> int:
    name = folder.parent.name
    return int(name) if name.isdigit() else 0


class Postgres:
    """A server that can be stopped, killed and started again.

    Args:
        durable: Whether commits await the disk, as they do for users.
        parent: Where its folder is made; by default that of temporary files.
    """

    def __init__(self, durable: bool, parent: Path | None = None) -> None:
        self._binaries = binaries()
        self.folder = Path(tempfile.mkdtemp(prefix="rh-pg-", dir=parent))
        self._account: str | None = None
        if os.geteuid() == 0:  # it refuses to run as root
            self._account = next(name for name in _ACCOUNTS if name in {entry.pw_name for entry in pwd.getpwall()})
            os.chown(self.folder, pwd.getpwnam(self._account).pw_uid, -1)
        self.folder.chmod(0o700 if self._account is None else 0o711)
        self._data = self.folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._settings: dict[str, str] = {} if durable else dict(_FAST)
        self._run("initdb", "-D", str(self._data), "-U", "rhapsode", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
        self.start()

    def url(self, database: str, **parameters: str) -> str:
        """Address of a database."""
        more = "".join(f"&{name}={value}" for name, value in parameters.items())
        return f"postgresql://rhapsode@/{database}?host={self.folder}{more}"

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        settings = {
            "listen_addresses": "", "unix_socket_directories": str(self.folder), "max_connections": "100",
            "shared_buffers": "64MB", **self._settings,
        }  # fmt: skip
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(
            [str(self._binaries / "postgres"), "-D", str(self._data), *options],
            stdout=log, stderr=log, cwd=self.folder, user=self._account,
        )  # fmt: skip
        log.close()
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self.folder / "log").read_text()) from None
                time.sleep(0.02)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT breaks connections off, SIGQUIT is a crash that the next start recovers from."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None

    def execute(self, statement: str, *parameters: object, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement outside of any transaction."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def create(self, template: str = "template1") -> str:
        """Make a database; its name."""
        name = f"t{uuid.uuid4().hex[:16]}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return name

    def drop(self, name: str) -> None:
        """Remove a database, whoever still uses it."""
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def remove(self) -> None:
        """Stop and delete it."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        done = subprocess.run(
            [str(self._binaries / program), *arguments], check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, cwd=self.folder, user=self._account, env=env,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stdout)


@contextmanager
def running_postgres(*, durable: bool, parent: Path | None = None) -> Iterator[Postgres]:
    """A server of one's own."""
    server = Postgres(durable, parent)
    try:
        yield server
    finally:
        server.remove()
