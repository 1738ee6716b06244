"""Under which names this server may be called: a page of another site that points its own name here (DNS rebinding) is nobody's guest.

Such a page is "same origin" to its browser, so neither CORS nor Origin tells it apart. Only the Host header does: it still has the name of
the other site.
"""

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from rhapsode.settings import Server

_LOCAL_ENDINGS = (".local", ".localhost", ".localdomain", ".lan", ".home", ".home.arpa", ".internal", ".intranet")
"""Names that no public name server gives out."""


class Hosts:
    """What may stand in a Host header.

    Args:
        server: Where the server listens, and the names the operator allows.
        origins: Sites whose pages are allowed; their hosts are too.
    """

    def __init__(self, server: Server, origins: Iterable[str] = ()) -> None:
        self._loopback = server.is_loopback
        self._named = frozenset(server.hosts)
        self._known = self._named | {host_of(origin) for origin in origins} | {socket.gethostname().lower()}

    def admits(self, host: str, is_closed: bool) -> bool:
        """Whether a request for ``host`` is answered at all.

        With ``server.allowed_hosts``, what stands there and this machine. Without: everything, unless this machine alone can reach the
        server and needs no key; then this machine alone is what it can be called.
        """
        if not host or "*" in self._named or is_this_machine(host):
            return True
        if self._named:
            return host in self._named
        return is_closed or not self._loopback or host in self._known

    def trusts(self, host: str) -> bool:
        """Whether a browser's page that was loaded from ``host`` can be this server's own: no name that a stranger can register."""
        return "*" in self._named or host in self._known or is_this_machine(host) or _is_local(host)


def host_of(address: str) -> str:
    """The host of an origin or of a Host header, in lower case, without port, brackets and the dot at its end; empty when there is none."""
    try:
        found = urlsplit(address if "://" in address else f"//{address}").hostname
    except ValueError:
        return address.lower()  # nobody's name
    return (found or "").removesuffix(".")


def called(connection: HTTPConnection) -> str:
    """The host that the client asked for; empty when it did not say, which no browser does."""
    return host_of(connection.headers.get("host", ""))


def is_this_machine(host: str) -> bool:
    """Whether the name can mean nothing but the machine that the client runs on."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _is_local(host: str) -> bool:
    if "." not in host or host.endswith(_LOCAL_ENDINGS):
        return True
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True  # a page that was loaded from an address, not from a name, was loaded from there
