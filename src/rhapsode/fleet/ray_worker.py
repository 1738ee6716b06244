"""A worker of a Ray fleet: an actor that holds engines and speaks one segment at a time. Runs in a process of its own on some node.

Files come by content: a folder is described by the SHA-256 of each file in it, the node keeps contents under these names, and what
it lacks is sent once. Workers of a node share its cache.
"""

import contextlib
import hashlib
import os
import socket
import tempfile
import threading
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from rhapsode.engines.base import Engine
from rhapsode.errors import EngineError
from rhapsode.fleet.protocol import Ready, Start, Stop, parse_request
from rhapsode.fleet.worker import answer, failed, start_engine


class RayWorker:
    """The actor. One call at a time, but for :meth:`stay`.

    Args:
        cache: Folder for files on this node; empty: in its temporary folder.
    """

    def __init__(self, cache: str) -> None:
        self._cache = Path(cache) if cache else Path(tempfile.gettempdir()) / f"rhapsode-files-{os.getuid()}"
        self._engines: dict[str, Engine] = {}

    def where(self) -> tuple[str, int]:
        """Host and process id."""
        return socket.gethostname(), os.getpid()

    def stay(self) -> None:
        """Never return: whoever waits for this hears of the actor's end at once."""
        threading.Event().wait()

    # -- speaking -----------------------------------------------------------------------------------------------

    def answer(self, engine: str, body: bytes) -> bytes:
        """What an engine answers to a request; both as in :mod:`rhapsode.fleet.protocol`."""
        request = parse_request(body)
        if isinstance(request, Start):
            return msgspec.msgpack.encode(self._start(request))
        if isinstance(request, Stop) or engine not in self._engines:
            raise EngineError(f"the worker holds no engine {engine!r}")
        return msgspec.msgpack.encode(answer(self._engines[engine], request))

    def _start(self, request: Start) -> object:
        nice = 0 if self._engines else request.nice  # it is the process's, and lasts
        threads = request.threads or os.cpu_count() or 1
        try:
            self._engines[request.engine] = start_engine(msgspec.structs.replace(request, nice=nice, threads=threads))
        except Exception as error:  # noqa: BLE001 - importing a model library can raise anything
            return failed(request.id, error)
        return Ready(request.id)

    # -- files --------------------------------------------------------------------------------------------------

    def lacks(self, digests: Sequence[str]) -> list[str]:
        """Which of these contents are not on this node."""
        return [digest for digest in digests if not self._content(digest).is_file()]

    def begin(self) -> str:
        """A name for a content that is to come in pieces."""
        return f".tmp-{uuid.uuid4().hex}"

    def add(self, draft: str, piece: bytes) -> None:
        """The next piece of it."""
        path = self._content(draft)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(piece)

    def keep(self, draft: str, digest: str) -> None:
        """That was all of it.

        Raises:
            EngineError: It is not what its digest says.
        """
        path = self._content(draft)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o644)
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != digest:
                raise EngineError(f"a file was damaged on its way: {found} instead of {digest}")
            path.chmod(0o444)
            path.replace(self._content(digest))
        finally:
            path.unlink(missing_ok=True)

    def show(self, folder: str, files: Mapping[str, str], only_these: bool) -> str:
        """Give the folder these files, digests by name; its path. Their contents must be here.

        Files that an engine made itself stay; of those that were given before only the ones that are named now, if so asked.
        """
        root = self._cache / "folders" / folder
        root.mkdir(parents=True, exist_ok=True)
        for name, digest in files.items():
            _link(root / name, self._content(digest))
        if only_these:
            for path in root.rglob("*"):
                if path.is_symlink() and str(path.relative_to(root)) not in files:
                    path.unlink(missing_ok=True)
        return str(root)

    def _content(self, digest: str) -> Path:
        return self._cache / "content" / digest


def _link(path: Path, content: Path) -> None:
    """Have ``path`` lead to ``content``; several workers may do so at once."""
    with contextlib.suppress(OSError):
        if path.readlink() == content:
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".tmp-{uuid.uuid4().hex}")
    draft.symlink_to(content)
    draft.replace(path)
