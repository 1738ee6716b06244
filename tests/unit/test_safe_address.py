"""What is public, however it is written; and that a name is asked for once."""

import asyncio
from collections.abc import Sequence

import httpx
import pytest

from rhapsode.errors import InvalidInput
from rhapsode.jobs.safe_address import Policy, SafeTransport, UnsafeAddress, check_url, safe_addresses

STRICT = Policy()
REFUSED = [
    "127.0.0.1",
    "127.1.2.3",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "169.254.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "0.0.0.0",
    "0.1.2.3",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "192.88.99.1",
    "168.63.129.16",
    "::1",
    "::",
    "fe80::1",
    "fc00::1",
    "fd00:ec2::254",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "2001::1",
    "3fff::1",
    "100::1",
    "5f00::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:a00:1::",
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"]
ODD = [
    "2130706433",
    "0x7f.1",
    "127.1",
    "0x7f000001",
    "134744072",
    "0x08080808",
    "017700000001",
    "127.0.1",
    "localhost",
    "a.localhost",
    "127.0.0.1.",
    "localhost.",
]
BROKEN = [
    "ftp://a.example/",
    "http://0177.0.0.1/",
    "file:///etc/passwd",
    "//a.example",
    "a.example",
    "http://",
    "http:///x",
    "https://u:p@a.example/",
    "http://u@a.example/",
    "http://a.example:99999/",
    "http://[::1",
    "http://a_b..c/",
    "javascript:alert(1)",
]


def url_of(host: str) -> str:
    return f"http://[{host}]/hook" if ":" in host else f"http://{host}/hook"


async def answer(host: str) -> Sequence[str]:
    async def resolver(_: str, __: int) -> Sequence[str]:
        return ["8.8.8.8", host]

    return await safe_addresses("a.example", 80, STRICT, resolver)


@pytest.mark.parametrize("host", REFUSED)
async def test_no_address_within_is_sent_to(host: str) -> None:
    with pytest.raises(UnsafeAddress, match="hook_url"):
        check_url(url_of(host), STRICT, "hook_url")
    with pytest.raises(UnsafeAddress):
        await answer(host)
    assert check_url(url_of(host), Policy(allow_private=True), "url")


@pytest.mark.parametrize("host", PUBLIC)
async def test_public_addresses_are(host: str) -> None:
    assert check_url(url_of(host), STRICT, "url") == url_of(host)
    assert await answer(host) == ["8.8.8.8", host]


@pytest.mark.parametrize("host", ODD)
def test_addresses_in_disguise_are_refused(host: str) -> None:
    with pytest.raises(UnsafeAddress):
        check_url(url_of(host), STRICT, "url")


@pytest.mark.parametrize("url", [*BROKEN, "http://a.example/\n", "http://a.example/" + "x" * 2048])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_url(url, Policy(allow_private=True), "url")
    assert caught.value.field == "url"


def test_an_allowed_host_is_trusted_alone() -> None:
    policy = Policy(allowed_hosts=frozenset({"10.0.0.1"}))
    assert check_url("http://10.0.0.1/", policy, "url")
    with pytest.raises(UnsafeAddress):
        check_url("http://10.0.0.2/", policy, "url")


async def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    asked: list[str] = []
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async def resolver(host: str, _: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    policy = Policy(allowed_hosts=frozenset({"hook.example"}))
    async with server, httpx.AsyncClient(transport=SafeTransport(policy, resolver), trust_env=False) as client:
        assert (await client.post(f"http://hook.example:{port}/x")).status_code == 200
    assert asked == ["hook.example"]
    assert f"host: hook.example:{port}".encode() in heard[0].lower()


async def test_a_name_that_turns_private_is_never_connected_to() -> None:
    answers = [["8.8.8.8"], ["127.0.0.1"]]
    tried: list[httpx.Request] = []

    async def resolver(_: str, __: int) -> Sequence[str]:
        return answers.pop(0)

    class Wire(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            tried.append(request)
            return httpx.Response(200)

    transport = SafeTransport(STRICT, resolver)
    transport._inner = Wire()  # type: ignore[assignment]
    async with httpx.AsyncClient(transport=transport) as client:
        await client.post("https://rebind.example/")
        with pytest.raises(UnsafeAddress):
            await client.post("https://rebind.example/")
    assert [(request.url.host, request.extensions["sni_hostname"]) for request in tried] == [
        ("8.8.8.8", "rebind.example")
    ]
    assert tried[0].headers["host"] == "rebind.example"
