"""The one process that knows Ray: a driver of the cluster, run as ``python -m rhapsode.fleet.ray_driver FD`` by the server.

A driver ends, or waits for ever, when its cluster goes away. In a process of its own that does the server no harm: it is begun anew
until there is a cluster again. ``FD`` is the inherited end of a socket pair; when the server is gone, so is this, and with
it all its workers.
"""

import asyncio
import contextlib
import ctypes
import hashlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayActorError, RayError, RayTaskError

from rhapsode.errors import RhapsodeError
from rhapsode.fleet.protocol import Frames, ProtocolError, frame
from rhapsode.fleet.ray_protocol import (
    Answered,
    Ask,
    Broken,
    Connect,
    Connected,
    Fire,
    Gone,
    Hire,
    Hired,
    Message,
    Share,
    Shared,
    Why,
    parse_request,
)
from rhapsode.fleet.ray_worker import RayWorker

_PR_SET_PDEATHSIG = 1
_RECEIVE_BYTES = 1 << 20
_PART = 32 * 1024 * 1024
"""Bytes of a file that travel as one object."""
_LOOK_S = 1.0
_LOOK_TIMEOUT_S = 2.0
_MISSED = 3
"""Looks in a row that the cluster may leave unanswered."""
_LOCAL_STORE_BYTES = 200_000_000
"""Of a cluster of our own: it holds what is in flight, and files on their way."""


class WorkerGone(RhapsodeError):
    """There is no such worker any more; nobody's fault."""


class Driver:
    """Answers the fleet."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._workers: dict[str, Any] = {}
        self._placing: dict[str, bool] = {}
        """Workers that the head is being asked for, and whether they are still wanted."""
        self._digests: dict[tuple[str, int, int], str] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Until the server is gone, or the cluster."""
        frames = Frames()
        while data := await self._reader.read(_RECEIVE_BYTES):
            for body in frames.feed(data):
                self._begin(parse_request(body))

    def _begin(self, request: Connect | Hire | Share | Ask | Fire) -> None:
        match request:
            case Connect():
                self._spawn(self._connect(request))
            case Fire():
                worker = self._workers.pop(request.worker, None)
                if worker is not None:
                    self._spawn(asyncio.to_thread(ray.kill, worker))
                elif request.worker in self._placing:
                    self._placing[request.worker] = False
            case _:
                self._spawn(self._explained(request))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, message: Message) -> None:
        self._writer.write(frame(message))
        await self._writer.drain()

    # -- the cluster --------------------------------------------------------------------------------------------

    async def _connect(self, request: Connect) -> None:
        try:
            _join(request)
            places = _places()
        except Exception as error:  # noqa: BLE001 - Ray raises anything when there is no cluster
            await self._send(Broken(request.id, _brief(error), "lost"))
            return
        await self._send(Connected(request.id))
        await self._watch(places)

    async def _watch(self, places: list[tuple[str, int]]) -> None:
        """End this process when the cluster is gone; Ray itself would wait for it."""
        missed = 0
        while missed < _MISSED:
            await asyncio.sleep(_LOOK_S)
            answers = await asyncio.gather(*(_answers(*place) for place in places))
            missed = 0 if all(answers) else missed + 1
        host, port = places[answers.index(False)]
        await self._send(Gone("", f"nobody answers at {host}:{port}", "lost"))
        os._exit(1)

    # -- workers ------------------------------------------------------------------------------------------------

    async def _explained(self, request: Hire | Share | Ask) -> None:
        """Do it; what Ray raises becomes Broken."""
        try:
            match request:
                case Hire():
                    await self._send(await self._hire(request))
                case Share():
                    await self._send(await self._share(request))
                case Ask():
                    worker = self._worker(request.worker)
                    await self._send(Answered(request.id, await worker.answer.remote(request.engine, request.body)))
        except (RayError, RhapsodeError, OSError) as error:
            await self._send(Broken(request.id, _brief(error), _why(error)))

    def _worker(self, name: str) -> Any:
        if name not in self._workers:
            raise WorkerGone("it had ended before it was given anything")
        return self._workers[name]

    async def _hire(self, request: Hire) -> Hired:
        options: dict[str, Any] = {"num_cpus": request.cpus, "num_gpus": request.gpus, "max_restarts": 0}
        options["resources"] = dict(request.resources)
        if request.python:
            options["runtime_env"] = {"py_executable": request.python}
        # this asks the cluster's head and waits for its answer: in a thread, so that a head that is gone can be noticed
        self._placing[request.worker] = True
        try:
            worker = await asyncio.to_thread(_actor().options(**options).remote, request.cache)
        finally:
            wanted = self._placing.pop(request.worker)
        if not wanted:
            await asyncio.to_thread(ray.kill, worker)
            raise WorkerGone("it was ended before it was placed")
        self._workers[request.worker] = worker
        host, pid = await worker.where.remote()
        self._spawn(self._stay(request.worker, worker))
        return Hired(request.id, host, pid)

    async def _stay(self, name: str, worker: Any) -> None:
        try:
            await worker.stay.options(concurrency_group="watch").remote()
        except RayError as error:
            if self._workers.get(name) is worker:
                del self._workers[name]
                await self._send(Gone(name, _brief(error), _why(error)))

    # -- files --------------------------------------------------------------------------------------------------

    async def _share(self, request: Share) -> Shared:
        worker = self._worker(request.worker)
        source = Path(request.source)
        files = await asyncio.to_thread(self._manifest, source, request.only)
        paths = {digest: source / name for name, digest in files.items()}
        for digest in await worker.lacks.remote(sorted(paths)):
            draft = await worker.begin.remote()
            pieces = _parts(paths[digest])
            while piece := await asyncio.to_thread(next, pieces, b""):
                await worker.add.remote(draft, piece)
            await worker.keep.remote(draft, digest)
        folder = hashlib.sha256(f"{socket.gethostname()} {source}".encode()).hexdigest()[:16]
        shown = await worker.show.remote(f"{request.folder}-{folder}", files, request.only is None)
        return Shared(request.id, shown)

    def _manifest(self, source: Path, only: tuple[str, ...] | None) -> dict[str, str]:
        """Digests of files by their names; those that vanish meanwhile are left out."""
        names = only if only is not None else _names(source)
        found: dict[str, str] = {}
        for name in names:
            path = source / name
            with contextlib.suppress(FileNotFoundError):
                stat = path.stat()
                key = str(path), stat.st_size, stat.st_mtime_ns
                if key not in self._digests:
                    with path.open("rb") as file:
                        self._digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
                found[name] = self._digests[key]
        return found


def _actor() -> Any:
    """The actor's class: one call at a time, and beside them :meth:`RayWorker.stay`."""
    return ray.remote(concurrency_groups={"watch": 1})(RayWorker)  # type: ignore[call-overload]  # Ray takes it


def _join(request: Connect) -> None:
    """Become a driver of the cluster.

    Raises:
        Exception: There is none, or it cannot be joined; Ray has many kinds.
    """
    how: dict[str, Any] = {"namespace": request.namespace, "log_to_driver": True, "logging_level": logging.WARNING}
    if request.address == "local":
        how |= {"address": "local", "include_dashboard": False, "object_store_memory": _LOCAL_STORE_BYTES}
    else:
        how["address"] = request.address
    ray.init(**how)


def _places() -> list[tuple[str, int]]:
    """Where the cluster's head and this machine's part of it listen."""
    context = ray.get_runtime_context()
    host, _, port = context.gcs_address.rpartition(":")
    own = context.get_node_id()
    everywhere: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    nodes = [node for node in everywhere if node["NodeID"] == own]
    return [(host.strip("[]"), int(port)), *((node["NodeManagerAddress"], node["NodeManagerPort"]) for node in nodes)]


async def _answers(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(_LOOK_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _names(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file()]


def _parts(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(_PART):
            yield part


def _why(error: Exception) -> Why:
    """Whether it was the node that went, or the way to it, or the worker by itself."""
    if isinstance(error, WorkerGone):
        return "lost"
    if isinstance(error, RayTaskError | RhapsodeError | OSError):
        return "refused"
    return "died" if isinstance(error, ActorDiedError) and "worker process has died" in str(error) else "lost"


def _brief(error: Exception) -> str:
    """What Ray says, without its table and its advice."""
    if isinstance(error, RayTaskError):
        error = error.cause if isinstance(error.cause, Exception) else error
    text = str(error)
    if isinstance(error, RayActorError):
        text = text.partition("The actor is dead because ")[2] or text
    text = " ".join(text.partition("Some common causes")[0].split()).removesuffix(".")
    return f"{text[:299]}…" if len(text) > 300 else text


async def _main(sock: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=sock)
    with contextlib.suppress(ProtocolError, ConnectionError):
        await Driver(reader, writer).serve()


def main() -> None:
    """Entry point of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    fd = int(sys.argv[1])
    os.set_inheritable(fd, False)
    asyncio.run(_main(socket.socket(fileno=fd)))
    with contextlib.suppress(Exception):
        ray.shutdown()
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
