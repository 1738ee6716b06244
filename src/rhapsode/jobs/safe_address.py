"""Where the server may be sent by a user: to public addresses, and to no other by any trick of names or numbers.

A name is resolved once, every address it has is checked, and the connection goes to a checked address; the name is kept
for the Host header, SNI and the certificate. A second look at the name could be answered with another address.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import httpx

from rhapsode.errors import InvalidInput

MAX_URL = 2048
_PORTS = 65_535
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]

_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_CLOSED = tuple(
    ipaddress.ip_network(text)
    for text in (
        "168.63.129.16/32",  # the host of an Azure machine
        "192.88.99.0/24",  # relays of 6to4
        "3fff::/20",  # documentation
        "2001::/23",  # Teredo and other protocols
    )
)


class UnsafeAddress(InvalidInput):
    """The address is not public."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What is allowed besides public addresses."""

    allow_private: bool = False
    allowed_hosts: frozenset[str] = frozenset()
    """Names and literal addresses, in lower case."""

    def trusts(self, host: str) -> bool:
        """Whether the host's addresses need no check."""
        return self.allow_private or host in self.allowed_hosts


def is_public(address: Address) -> bool:
    """Whether an address, and any that it embeds, belongs to the public internet."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(address.packed[-4:])
        if inner is not None:
            return is_public(inner)
        if address not in _UNICAST:
            return False
    if any(address in network for network in _CLOSED):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def check_url(url: str, policy: Policy, field: str) -> str:
    """The URL as it came, when messages may be sent there as far as can be told without resolving its name.

    Raises:
        InvalidInput: It is no such URL; names ``field``.
    """
    if len(url) > MAX_URL:
        raise InvalidInput(f"{field} must have at most {MAX_URL:,} characters; it has {len(url):,}", field)
    if any(character.isspace() or not character.isprintable() for character in url):
        raise InvalidInput(f"{field} must not contain blanks or control characters", field)
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise InvalidInput(f"{field} must be an http or https URL: {error}", field) from None
    if parsed.scheme not in ("http", "https"):
        raise InvalidInput(f"{field} must begin with http:// or https://; not {url[:40]!r}", field)
    if parsed.port is not None and not 1 <= parsed.port <= _PORTS:
        raise InvalidInput(f"{field}: the port must be 1 … {_PORTS:,}; not {parsed.port}", field)
    if parsed.userinfo:
        raise InvalidInput(f"{field} must not contain a user name or password", field)
    literal_of(host_of(parsed), policy, field)
    return url


def host_of(url: httpx.URL) -> str:
    """The host in the form in which it is resolved: lower case, without the dot at its end."""
    return url.raw_host.decode("ascii").lower().removesuffix(".")


def literal_of(host: str, policy: Policy, field: str) -> Address | None:
    """The address that ``host`` spells, or None for a name.

    Raises:
        InvalidInput: It is neither.
        UnsafeAddress: It spells an address that is not public, or an address in another way than anybody needs.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if not _NAME.fullmatch(host):
            raise InvalidInput(f"{field} must name a host; not {host[:100]!r}", field) from None
        if _NUMBER.fullmatch(host.rsplit(".", 1)[-1]):
            raise UnsafeAddress(f"{field}: write the address {host[:100]!r} as four decimal numbers", field) from None
        if host.rsplit(".", 1)[-1] == "localhost" and not policy.trusts(host):
            raise UnsafeAddress(_refusal(field, host), field) from None
        return None
    if not policy.trusts(host) and not is_public(address):
        raise UnsafeAddress(_refusal(field, host), field)
    return address


async def resolve(host: str, port: int) -> Sequence[str]:
    """All addresses of a name, as the system knows them."""
    found = await asyncio.to_thread(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def safe_addresses(host: str, port: int, policy: Policy, resolver: Resolver = resolve) -> Sequence[str]:
    """Addresses to connect to for ``host``.

    Raises:
        UnsafeAddress: Any of them is not public.
        InvalidInput: No host.
        OSError: The name cannot be resolved.
    """
    literal = literal_of(host, policy, "url")
    if literal is not None:
        return [host]
    found = await resolver(host, port)
    if not found:
        raise OSError(f"{host} has no address")
    if not policy.trusts(host):
        for text in found:
            if not is_public(ipaddress.ip_address(text.partition("%")[0])):
                raise UnsafeAddress(_refusal("url", host, text), "url")
    return found


class SafeTransport(httpx.AsyncBaseTransport):
    """Sends each request to a checked address of its host, over a connection of its own.

    Args:
        policy: What is allowed.
        resolver: Gives a name's addresses; asked once per request.
    """

    def __init__(self, policy: Policy, resolver: Resolver = resolve) -> None:
        self._policy = policy
        self._resolver = resolver
        # No connection is kept: one to the same address may have been opened, and its certificate checked, for another name.
        self._inner = httpx.AsyncHTTPTransport(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See :class:`httpx.AsyncBaseTransport`."""
        host = host_of(request.url)
        port = request.url.port or (443 if request.url.scheme == "https" else 80)
        addresses = await safe_addresses(host, port, self._policy, self._resolver)
        for place, address in enumerate(addresses, 1):
            pinned = httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,  # the Host header among them
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": host},
            )
            try:
                return await self._inner.handle_async_request(pinned)
            except httpx.ConnectError:
                if place == len(addresses):
                    raise
        raise AssertionError  # there is at least one address

    async def aclose(self) -> None:
        """Close it."""
        await self._inner.aclose()


def _refusal(field: str, host: str, address: str = "") -> str:
    seen = f"{host[:100]!r} is {address}, which is" if address else f"{host[:100]!r} is"
    return (
        f"{field}: {seen} not an address of the public internet; "
        "to allow it set webhooks.allowed_hosts or webhooks.allow_private"
    )
