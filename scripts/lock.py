"""Write requirements/*.txt: every package of the set-up, pinned, with the SHA-256 of all files of its release.

    .venv/bin/python scripts/lock.py              # keep the pins there are, add and drop what pyproject.toml asks for
    .venv/bin/python scripts/lock.py --upgrade    # take the newest versions

Index, certificates and proxies are those that pip is configured with. Hashes of all files, not only of those that fit this
machine, so that one lock serves every platform and Python version.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag

from packaging.requirements import Requirement
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version
from pip._internal.commands import create_command  # pip has no public way to ask its configured index

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
EXTRAS = ("piper", "wyoming")
"""What the set-up installs besides the package itself."""
DEV_EXTRAS = ("kokoro", "ray", "postgres", "s3")
"""What the checks need besides that."""
ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"


@dataclass(frozen=True, slots=True)
class Pin:
    """One package of the lock."""

    name: str
    version: Version
    marker: str
    hashes: tuple[str, ...]

    def __str__(self) -> str:
        marker = f" ; {self.marker}" if self.marker else ""
        return " \\\n".join([f"{self.name}=={self.version}{marker}", *(f"    --hash=sha256:{h}" for h in self.hashes)])


class Index:
    """The package indexes that pip is configured with."""

    def __init__(self, command: Any) -> None:
        options, _ = command.parse_args([])
        self._urls = [options.index_url, *options.extra_index_urls]
        self._session = command.get_default_session(options)

    def hashes(self, name: str, version: Version) -> list[str]:
        """SHA-256 of every file of a release, from the first index that has it.

        Raises:
            SystemExit: No index has it, or it does not run on all of PYTHONS.
        """
        for url in self._urls:
            answer = self._session.get(f"{url.rstrip('/')}/{name}/", headers={"Accept": ACCEPT})
            if answer.status_code == 404:
                continue
            answer.raise_for_status()
            files = (
                _json_files(answer.text)
                if "json" in answer.headers.get("Content-Type", "")
                else _html_files(answer.text)
            )
            found = [file for file in files if _version_of(file[0]) == version]
            for _, _, requires in found:
                if requires and not all(Requirement(f"x{requires}").specifier.contains(f"{p}.99") for p in PYTHONS):
                    raise SystemExit(f"{name} {version} needs Python {requires}, but must run on {', '.join(PYTHONS)}")
            if found:
                return sorted({digest for _, digest, _ in found if digest})
        raise SystemExit(f"no index has {name} {version}")


class _Links(HTMLParser):
    """File names, hashes and Python bounds on a simple index page."""

    def __init__(self) -> None:
        super().__init__()
        self.files: list[tuple[str, str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "a" and values.get("href"):
            url, fragment = urldefrag(values["href"] or "")
            digest = fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else ""
            self.files.append((unquote(url.rsplit("/", 1)[-1]), digest, values.get("data-requires-python") or ""))


def _html_files(page: str) -> list[tuple[str, str, str]]:
    parser = _Links()
    parser.feed(page)
    return parser.files


def _json_files(page: str) -> list[tuple[str, str, str]]:
    return [
        (file["filename"], file["hashes"].get("sha256", ""), file.get("requires-python") or "")
        for file in json.loads(page)["files"]
    ]


def _version_of(filename: str) -> Version | None:
    try:
        return parse_wheel_filename(filename)[1] if filename.endswith(".whl") else parse_sdist_filename(filename)[1]
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        return None


def _resolve(wanted: Iterable[str], pins: dict[str, Version]) -> dict[str, Version]:
    """Versions of the wanted packages and all they need, by canonical name; ``pins`` are kept."""
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "pins.txt"
        constraints.write_text("".join(f"{name}=={version}\n" for name, version in pins.items()), encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--dry-run",
            "--ignore-installed",
            "--quiet",
            "--report",
            "-",
        ]
        done = subprocess.run([*command, "-c", str(constraints), *wanted], check=True, stdout=subprocess.PIPE)
    entries = (entry["metadata"] for entry in json.loads(done.stdout)["install"])
    return {canonicalize_name(entry["name"]): Version(entry["version"]) for entry in entries}


def _present(path: Path) -> dict[str, Version]:
    """The pins that a lock file holds now."""
    pins: dict[str, Version] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        name, equals, rest = line.partition("==")
        if equals and not line.startswith(("#", " ")):
            pins[canonicalize_name(name)] = Version(rest.split()[0])
    return pins


def _write(path: Path, title: str, versions: dict[str, Version], markers: dict[str, str], index: Index) -> None:
    pins = [
        Pin(name, versions[name], markers.get(name, ""), tuple(index.hashes(name, versions[name])))
        for name in sorted(versions)
    ]
    header = f"# {title}\n# Written by scripts/lock.py; do not edit.\n"
    path.write_text(header + "\n".join(str(pin) for pin in pins) + "\n", encoding="utf-8")
    print(f"{path.relative_to(ROOT)}: {len(pins)} packages")


def main() -> None:
    """Resolve the three groups of the set-up and write their files."""
    parser = argparse.ArgumentParser(description="Pin every package of the set-up.")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    upgrade = parser.parse_args().upgrade
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    run = [*project["project"]["dependencies"], *(name for extra in EXTRAS for name in extras[extra])]
    dev = [*project["dependency-groups"]["dev"], *(name for extra in DEV_EXTRAS for name in extras[extra])]
    build = project["dependency-groups"]["build"]
    folder = ROOT / "requirements"
    pins: dict[str, Version] = {}
    for name in () if upgrade else ("run", "dev", "build"):
        pins |= _present(folder / f"{name}.txt")
    markers: dict[str, str] = {
        canonicalize_name(r.name): str(r.marker) for r in map(Requirement, [*run, *dev]) if r.marker
    }
    command: Any = create_command("download")
    with command.main_context():
        index = Index(command)
        run_versions = _resolve(run, pins)
        all_versions = _resolve([*run, *dev], pins | run_versions)
        dev_versions = {name: version for name, version in all_versions.items() if name not in run_versions}
        _write(folder / "run.txt", "What the server needs, with Piper and Wyoming.", run_versions, markers, index)
        _write(folder / "dev.txt", "What the checks need besides run.txt.", dev_versions, markers, index)
        _write(folder / "build.txt", "What builds the package.", _resolve(build, pins | all_versions), {}, index)


if __name__ == "__main__":
    main()
