"""nginx and Caddy in front of a server, with the configurations that docs/reverse-proxy.md prints."""

import datetime as dt
import ipaddress
import os
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scripts.proxies import find
from tests.browser.site import free_port

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ROOT / "docs" / "reverse-proxy.md"
PREFIX = "/speech"
_STARTED_S = 20.0


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that answers by HTTPS."""

    url: str
    """With the path below which the server lives."""
    host: str
    port: int
    tls: ssl.SSLContext
    """Trusts its certificate."""
    certificate: Path


def printed(name: str) -> str:
    """The configuration of one proxy, as the guide has it."""
    (found,) = re.findall(rf"^<!-- proxy: {name} -->\n```\w+\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    return str(found)


def put_in(text: str, **changes: str) -> str:
    """Replace names; each must be there."""
    for old, new in changes.items():
        assert old in text, f"the guide no longer has {old!r}"
        text = text.replace(old, new)
    return text


@contextmanager
def proxying(name: str, upstream: int, folder: Path) -> Iterator[Proxy]:
    """Run a proxy in front of the server at port ``upstream``.

    Args:
        name: nginx, nginx-cut (which cuts the path off) or caddy.
        upstream: Port of the server on this machine.
        folder: For its files; short, since sockets lie in it.
    """
    certificate, key, port = folder / "proxy.pem", folder / "proxy.key", free_port()
    write_certificate(certificate, key)
    if name == "caddy":
        command = _caddy(folder, upstream, port, certificate, key)
    else:
        command = _nginx(folder, upstream, port, certificate, key, is_cut=name == "nginx-cut")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            cwd=folder,
            env=os.environ | {"HOME": str(folder), "XDG_DATA_HOME": str(folder)},
        )
    tls = ssl.create_default_context(cafile=str(certificate))
    found = Proxy(f"https://127.0.0.1:{port}{PREFIX}", "127.0.0.1", port, tls, certificate)
    try:
        _until_up(found, process, folder / "log")
        yield found
    finally:
        process.terminate()
        process.wait(10)


def _nginx(folder: Path, upstream: int, port: int, certificate: Path, key: Path, is_cut: bool) -> list[str]:
    server = put_in(
        printed("nginx"),
        **{
            "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
            "server_name speech.example.org": "server_name 127.0.0.1",
            "/etc/ssl/speech.example.org.pem": str(certificate),
            "/etc/ssl/speech.example.org.key": str(key),
            "http://127.0.0.1:8004;": f"http://127.0.0.1:{upstream}{'/' if is_cut else ''};",
        },
    )
    (folder / "rhapsode.conf").write_text(server)
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; {user}\nerror_log stderr;\nevents {{}}\n"
        f"http {{ access_log off;\n{temporary}include {folder}/rhapsode.conf; }}\n"
    )
    return [str(find("nginx")), "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def _caddy(folder: Path, upstream: int, port: int, certificate: Path, key: Path) -> list[str]:
    site = put_in(
        printed("caddy"),
        **{
            "speech.example.org {": f"https://127.0.0.1:{port} {{\n    tls {certificate} {key}",
            "127.0.0.1:8004": f"127.0.0.1:{upstream}",
        },
    )
    (folder / "Caddyfile").write_text("{\n    admin off\n    auto_https disable_redirects\n}\n" + site)
    return [str(find("caddy")), "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


def _until_up(proxy: Proxy, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _STARTED_S
    while True:
        try:
            socket.create_connection((proxy.host, proxy.port), 1).close()
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)


def write_certificate(certificate: Path, key: Path) -> None:
    """A certificate of 127.0.0.1 that signs itself."""
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(secret, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem, pkcs8, plain = (
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    key.write_bytes(secret.private_bytes(pem, pkcs8, plain))
