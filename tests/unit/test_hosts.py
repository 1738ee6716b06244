"""Under which names a server may be called."""

import socket

import pytest

from rhapsode.api.hosts import Hosts, host_of, is_this_machine
from rhapsode.settings import Server


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("tts.example.com", "tts.example.com"), ("TTS.Example.com.:8004", "tts.example.com"), ("[::1]:8004", "::1"),
        ("https://a.example:444", "a.example"), ("127.0.0.1", "127.0.0.1"), ("", ""), ("[broken", "[broken"), ("null", "null"),
    ],
)  # fmt: skip
def test_host_of(address: str, host: str) -> None:
    assert host_of(address) == host


@pytest.mark.parametrize(
    ("host", "same"),
    [
        ("localhost", True), ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False), ("10.0.0.1", False), ("", False),
    ],
)  # fmt: skip
def test_this_machine(host: str, same: bool) -> None:
    assert is_this_machine(host) is same


@pytest.mark.parametrize(
    ("settings", "host", "is_closed", "admitted"),
    [
        ({}, "evil.example", False, False),
        ({}, "10.0.0.9", False, False),
        ({}, "localhost", False, True),
        ({}, "", False, True),
        ({}, "evil.example", True, True),  # without a key it gets nothing, and browsers send it no cookie of ours
        ({"host": "0.0.0.0"}, "nas.example", False, True),
        ({"allowed_hosts": "tts.example, b.example"}, "tts.example", False, True),
        ({"allowed_hosts": "tts.example"}, "evil.example", True, False),
        ({"allowed_hosts": "tts.example", "host": "0.0.0.0"}, "10.0.0.9", False, False),
        ({"allowed_hosts": "tts.example"}, "127.0.0.1", False, True),
        ({"allowed_hosts": "*"}, "evil.example", False, True),
    ],
)
def test_who_is_admitted(settings: dict[str, object], host: str, is_closed: bool, admitted: bool) -> None:
    assert Hosts(Server.model_validate(settings)).admits(host, is_closed) is admitted


@pytest.mark.parametrize(
    ("host", "trusted"),
    [
        ("192.168.1.5", True), ("fd00::5", True), ("nas", True), ("nas.local", True), ("tts.home.arpa", True),
        (socket.gethostname().lower(), True), ("a.example", True), ("evil.example", False), ("local.evil.com", False),
    ],
)  # fmt: skip
def test_whose_pages_are_trusted(host: str, trusted: bool) -> None:
    hosts = Hosts(Server(host="0.0.0.0"), ["https://a.example"])
    assert hosts.trusts(host) is trusted
    assert hosts.admits(host, is_closed=False)
