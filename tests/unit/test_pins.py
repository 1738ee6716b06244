"""The lock files: every package in one version, by the digests of its files, from no place of its own."""

import re
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parents[2] / "requirements").glob("*.txt"))
_PIN = re.compile(r"[a-z0-9][a-z0-9.-]*==[\w.!+]+( ; .+)?( \\\n    --hash=sha256:[0-9a-f]{64})+")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_pin_has_its_hashes(path: Path) -> None:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    pins = re.split(r"\n(?! )", "\n".join(lines).strip())
    assert len(pins) > 5
    for pin in pins:
        assert _PIN.fullmatch(pin), pin[:200]
    names = [pin.partition("==")[0] for pin in pins]
    assert len(set(names)) == len(names), "one version of each"


def test_the_set_up_heeds_them() -> None:
    assert '"--require-hashes"' in (FILES[0].parents[1] / "scripts" / "setup.py").read_text(encoding="utf-8")
