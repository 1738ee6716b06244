"""Every call is written once, as a *flow*: a generator that says step by step what it needs, is given it, and knows no socket.

:class:`Blocking` performs the steps with threads that wait, :class:`Awaiting` within an event loop. :class:`Operation` and
:class:`Iteration` turn a flow into a method of both, with the types that each of them has.
"""

import functools
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator, Mapping
from contextlib import aclosing, closing, contextmanager
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, Self, TypeAlias, TypeVar, overload

import anyio
import anyio.to_thread
import httpx
import msgspec

from rhapsode.client.errors import ServerRefused, Unreachable, refusal

P = ParamSpec("P")
T = TypeVar("T")

CONNECT_S = 5.0
ANSWER_S = 60.0


@dataclass(frozen=True, slots=True)
class Ask:
    """Send a request; gives the answer, read to its end unless ``open``. An error status is raised."""

    method: str
    path: str
    json: object = None
    params: Mapping[str, str | list[str]] | None = None
    headers: Mapping[str, str] | None = None
    files: list[tuple[str, tuple[str, bytes]]] | None = None
    silence_s: float = ANSWER_S
    """How long nothing may come."""
    open: bool = False
    """Leave the body to :class:`Read`; it replaces the one that was open before."""


@dataclass(frozen=True, slots=True)
class Read:
    """Gives the next bytes of the open answer, empty at its end."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Do:
    """Gives what a function returns that may wait for the disk."""

    work: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Give:
    """Hand something to whoever iterates."""

    item: Any


Step = Ask | Read | Pause | Do | Give
Flow: TypeAlias = Generator[Step, Any, T]


def ask(
    method: str,
    path: str,
    kind: type[T],
    *,
    json: object = None,
    params: Mapping[str, str | list[str]] | None = None,
    headers: Mapping[str, str] | None = None,
    files: list[tuple[str, tuple[str, bytes]]] | None = None,
) -> Flow[T]:
    """Send a request and decode its JSON.

    Raises:
        ServerRefused: The answer is an error, or no JSON of this kind: this is no Rhapsode server.
    """
    answer: httpx.Response = yield Ask(method, path, json, params, headers, files)
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        where = answer.request.url
        raise ServerRefused(answer.status_code, f"{where} is no Rhapsode server: {error}") from None


@contextmanager
def _reaching(url: str) -> Iterator[None]:
    try:
        yield
    except httpx.TransportError as error:
        reason = str(error) or type(error).__name__
        raise Unreachable(f"no answer from {url}: {reason}") from error


def _options(url: str, verify: ssl.SSLContext | bool, api_key: str | None) -> dict[str, Any]:
    """Arguments of both kinds of httpx clients.

    Raises:
        Unreachable: ``url`` is not the address of a server.
    """
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise Unreachable(f"{url!r} is not the address of a server: {error}") from None
    if address.scheme not in {"http", "https"} or not address.host:
        raise Unreachable(f"{url!r} is not the address of a server; it begins with http:// or https://")
    return {
        "base_url": address,
        "verify": verify,
        "trust_env": address.host not in {"127.0.0.1", "::1", "localhost"},  # no proxy between us and ourselves
        "headers": {"Accept-Encoding": "identity"} | ({"X-API-Key": api_key} if api_key else {}),
    }


def _request(http: httpx.Client | httpx.AsyncClient, step: Ask) -> httpx.Request:
    return http.build_request(
        step.method,
        step.path,
        json=step.json,
        params=step.params,
        headers=step.headers,
        files=step.files,
        timeout=httpx.Timeout(step.silence_s, connect=CONNECT_S),
    )


class _Play(Generic[T]):
    """A flow that is being performed: where it is, and the one answer it reads from."""

    def __init__(self, flow: Flow[T], url: str) -> None:
        self.flow = flow
        self.url = url
        self.answer: httpx.Response | None = None
        self.returned: T

    def next(self, found: object, error: Exception | None) -> Step | None:
        """The next step; None at the end, when ``returned`` is set."""
        try:
            return self.flow.throw(error) if error else self.flow.send(found)
        except StopIteration as end:
            self.returned = end.value
            return None


class _BlockingPlay(_Play[T]):
    def __init__(self, flow: Flow[T], client: "Blocking") -> None:
        super().__init__(flow, client.url)
        self._http = client.http
        self._sleep = client.sleep
        self._body: Iterator[bytes] = iter(())

    def advance(self) -> Give | None:
        """Go on to what is given, or to the end."""
        found: object = None
        error: Exception | None = None
        while (step := self.next(found, error)) is not None:
            if isinstance(step, Give):
                return step
            found = error = None
            try:
                found = self._perform(step)
            except Exception as raised:  # noqa: BLE001 - the flow decides
                error = raised
        return None

    def close(self) -> None:
        self.flow.close()
        if self.answer is not None:
            self.answer.close()

    def _perform(self, step: Ask | Read | Pause | Do) -> object:
        match step:
            case Ask():
                return self._ask(step)
            case Read():
                with _reaching(self.url):
                    return next(self._body, b"")
            case Pause():
                self._sleep(step.seconds)
                return None
            case Do():
                return step.work()

    def _ask(self, step: Ask) -> httpx.Response:
        if self.answer is not None:
            self.answer.close()
        with _reaching(self.url):
            self.answer = answer = self._http.send(_request(self._http, step), stream=True)
            if answer.is_error or not step.open:
                answer.read()
        if answer.is_error:
            raise refusal(answer)
        self._body = answer.iter_bytes()
        return answer


class _AwaitingPlay(_Play[T]):
    def __init__(self, flow: Flow[T], client: "Awaiting") -> None:
        super().__init__(flow, client.url)
        self._http = client.http
        self._sleep = client.sleep
        self._body: AsyncIterator[bytes]

    async def advance(self) -> Give | None:
        """Go on to what is given, or to the end."""
        found: object = None
        error: Exception | None = None
        while (step := self.next(found, error)) is not None:
            if isinstance(step, Give):
                return step
            found = error = None
            try:
                found = await self._perform(step)
            except Exception as raised:  # noqa: BLE001 - the flow decides
                error = raised
        return None

    async def aclose(self) -> None:
        self.flow.close()
        if self.answer is not None:
            await self.answer.aclose()

    async def _perform(self, step: Ask | Read | Pause | Do) -> object:
        match step:
            case Ask():
                return await self._ask(step)
            case Read():
                with _reaching(self.url):
                    return await anext(self._body, b"")
            case Pause():
                await self._sleep(step.seconds)
                return None
            case Do():
                return await anyio.to_thread.run_sync(step.work)

    async def _ask(self, step: Ask) -> httpx.Response:
        if self.answer is not None:
            await self.answer.aclose()
        with _reaching(self.url):
            self.answer = answer = await self._http.send(_request(self._http, step), stream=True)
            if answer.is_error or not step.open:
                await answer.aread()
        if answer.is_error:
            raise refusal(answer)
        self._body = answer.aiter_bytes()
        return answer


class Blocking:
    """Performs flows in the thread that calls. A context manager; may be used by several threads.

    Args:
        url: Where the server answers, with its root path if it has one.
        verify: Which HTTPS certificates are trusted; False trusts any: only for a server of this very user on this machine.
        api_key: Sent with every request; None: none.
        transport: Another way to carry requests, for tests.
        sleep: Waits between polls and tries, seconds.

    Raises:
        Unreachable: ``url`` is not the address of a server.
    """

    def __init__(
        self,
        url: str,
        verify: ssl.SSLContext | bool = True,
        api_key: str | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self.sleep = sleep
        self.http = httpx.Client(transport=transport, **_options(self.url, verify, api_key))

    def close(self) -> None:
        """Let go of the connections."""
        self.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, flow: Flow[T]) -> T:
        """Perform a flow; gives what it returns."""
        with closing(_BlockingPlay(flow, self)) as play:
            play.advance()
            return play.returned

    def iterate(self, flow: Flow[None]) -> Iterator[Any]:
        """Perform a flow; gives what it hands out."""
        with closing(_BlockingPlay(flow, self)) as play:
            while given := play.advance():
                yield given.item


class Awaiting:
    """Performs flows in an event loop (asyncio or trio). An asynchronous context manager.

    Args:
        url: Where the server answers, with its root path if it has one.
        verify: Which HTTPS certificates are trusted.
        api_key: Sent with every request; None: none.
        transport: Another way to carry requests, for tests.
        sleep: Waits between polls and tries, seconds.

    Raises:
        Unreachable: ``url`` is not the address of a server.
    """

    def __init__(
        self,
        url: str,
        verify: ssl.SSLContext | bool = True,
        api_key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self.sleep = sleep
        self.http = httpx.AsyncClient(transport=transport, **_options(self.url, verify, api_key))

    async def aclose(self) -> None:
        """Let go of the connections."""
        await self.http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def run(self, flow: Flow[T]) -> T:
        """Perform a flow; gives what it returns."""
        async with aclosing(_AwaitingPlay(flow, self)) as play:
            await play.advance()
            return play.returned

    async def iterate(self, flow: Flow[None]) -> AsyncGenerator[Any, None]:
        """Perform a flow; gives what it hands out."""
        async with aclosing(_AwaitingPlay(flow, self)) as play:
            while given := await play.advance():
                yield given.item


class Operation(Generic[P, T]):
    """A flow as a method: of a client that waits it returns the result, of one that is awaited a coroutine."""

    def __init__(self, flow: Callable[P, Flow[T]]) -> None:
        self._flow = flow
        self.__doc__ = flow.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: Blocking, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: Awaiting, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, client: Blocking | Awaiting | None, owner: type) -> object:
        """Bind it to a client."""
        return self if client is None else _bound(client.run, self._flow)


class Iteration(Generic[P, T]):
    """A flow that hands out items, as a method: an iterator, or an asynchronous one.

    Args:
        flow: What to perform.
        item: The kind of what it gives.
    """

    def __init__(self, flow: Callable[P, Flow[None]], item: type[T]) -> None:
        self._flow = flow
        self.item = item
        self.__doc__ = flow.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: Blocking, owner: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, client: Awaiting, owner: type) -> Callable[P, AsyncGenerator[T, None]]: ...
    def __get__(self, client: Blocking | Awaiting | None, owner: type) -> object:
        """Bind it to a client."""
        return self if client is None else _bound(client.iterate, self._flow)


def _bound(perform: Callable[[Flow[Any]], object], flow: Callable[P, Flow[Any]]) -> Callable[P, object]:
    @functools.wraps(flow)
    def call(*args: P.args, **kwargs: P.kwargs) -> object:
        return perform(flow(*args, **kwargs))

    return call
