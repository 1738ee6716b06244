"""Make .venv ready: the shared set-up step of start.sh and test.sh. Standard library only.

    python scripts/setup.py run            # what the server needs
    python scripts/setup.py test           # and what the checks need
    python scripts/setup.py --check run    # exit 0 when nothing is to be done, else 1

A stamp in .venv says what was installed; it is removed first and written last, so that an interrupted set-up starts over.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import BinaryIO

sys.path.insert(0, str(Path(__file__).resolve().parent))

import page  # type: ignore[import-not-found] # found at run time
import proxies  # type: ignore[import-not-found]

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "rhapsode-stamp"
ENGINES = ROOT / ".venv-engines"
"""Data directory of engines in interpreters of their own, for the checks."""
ENGINES_STAMP = ENGINES / "stamp"
POCKET_VERSIONS = ROOT / "tests" / "pocket_versions.txt"
"""Without hashes: the builds of torch for CPUs and for graphics cards have one version."""
CHATTERBOX_VERSIONS = ROOT / "tests" / "chatterbox_versions.txt"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
MODES = {"run": ("build", "run"), "test": ("build", "run", "dev")}
NETWORK_SIGNS = (
    "connection",
    "resolve",
    "resolution",
    "timed out",
    "proxy",
    "ssl",
    "no matching distribution",
    "unreachable",
)


class SetupFailed(Exception):
    """The set-up cannot go on; the message says why and what to do."""


def fingerprint(mode: str) -> str:
    """What .venv has to match: the pins, the project file, the Python and the place (scripts hold absolute paths)."""
    digest = hashlib.sha256(f"{sys.version_info[:3]} {ROOT}".encode())
    for path in [ROOT / "pyproject.toml", Path(__file__), *(requirements(name) for name in MODES[mode])]:
        digest.update(path.read_bytes())
    return f"{mode} {digest.hexdigest()}"


def requirements(name: str) -> Path:
    """The lock file of a group."""
    return ROOT / "requirements" / f"{name}.txt"


def is_ready(mode: str) -> bool:
    """Whether .venv holds what the mode needs; a set-up for the checks also serves the server."""
    try:
        stamp = STAMP.read_text(encoding="utf-8")
    except OSError:
        return False
    return stamp in {fingerprint(mode), fingerprint("test")}


def set_up(mode: str) -> None:
    """Create or update .venv.

    Raises:
        SetupFailed: Something is missing; .venv is left without its stamp.
    """
    started = time.monotonic()
    if STAMP.exists() and _runs(PYTHON):
        mode = "test" if STAMP.read_text(encoding="utf-8").startswith("test") else mode
        STAMP.unlink()
        say("The set-up has changed: updating .venv")
    else:
        half_made = " (the last set-up was not finished)" if VENV.exists() else ""
        say(f"Creating .venv with Python {'.'.join(map(str, sys.version_info[:3]))}{half_made}")
        _create_venv()
    say(
        "Installing packages; the first time this downloads some 300 MB"
        if mode == "run"
        else "Installing packages and test tools"
    )
    locked = [part for name in MODES[mode] for part in ("-r", str(requirements(name)))]
    _pip("install", "--require-hashes", "--no-deps", "--only-binary", ":all:", *locked)
    _pip("install", "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
    _pip("check")
    STAMP.write_text(fingerprint(mode), encoding="utf-8")
    say(f"Set-up done in {time.monotonic() - started:.0f} s")


def make_page(mode: str) -> None:
    """Build the page in the browser, unless nothing changed.

    Raises:
        SetupFailed: It cannot be built, and the checks need it; the server runs without.
    """
    if page.is_built() and (mode == "run" or (page.UI / "node_modules").is_dir()):
        return
    say("Building the page")
    try:
        page.install(str(PYTHON))
        page.build(str(PYTHON))
    except page.PageFailed as error:
        if mode == "test":
            raise SetupFailed(f"The page cannot be built. {error}") from None
        say(f"The page cannot be built, so the server runs without one; the next start tries again. {error}")


def engines_fingerprint() -> str:
    """What .venv-engines has to match; of the project file only what its interpreters were made from."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    made_from = [project["version"], project["optional-dependencies"]["pocket"], project["entry-points"]]
    digest = hashlib.sha256(f"{sys.version_info[:3]} {ROOT} {made_from}".encode())
    for path in (POCKET_VERSIONS, CHATTERBOX_VERSIONS, ROOT / "tests" / "pocket_model.py"):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def engines_are_ready() -> bool:
    """Whether .venv-engines holds what the checks need."""
    return ENGINES_STAMP.exists() and ENGINES_STAMP.read_text(encoding="utf-8") == engines_fingerprint()


def make_engines() -> None:
    """Install Pocket TTS the way users do, in an interpreter of its own, with small random weights; unpack Chatterbox beside it.

    Raises:
        SetupFailed: It cannot be installed.
    """
    if engines_are_ready():
        return
    started = time.monotonic()
    say("Installing Pocket TTS and Chatterbox in an interpreter of their own, for the checks")
    shutil.rmtree(ENGINES, ignore_errors=True)
    install = ["engines", "install", "pocket", "--constraint", str(POCKET_VERSIONS), "--no-models"]
    done = subprocess.run(
        [str(VENV / "bin" / "rhapsode"), "--data-dir", str(ENGINES), *install],
        check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    if done.returncode:
        raise SetupFailed(f"Pocket TTS cannot be installed: {done.stdout.strip()[-1500:]}")
    small = [str(ENGINES / "engines" / "pocket" / "bin" / "python"), str(ROOT / "tests" / "pocket_model.py")]
    done = subprocess.run(
        [*small, str(ENGINES / "models")], check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        raise SetupFailed(f"The small model of Pocket TTS cannot be made: {done.stdout.strip()[-1500:]}")
    sources = ENGINES / "sources"
    _pip("install", "--no-deps", "--target", str(sources), "-r", str(CHATTERBOX_VERSIONS))
    for library in (sources / "torchaudio" / "lib").glob("*.so"):
        library.unlink()  # for graphics cards, and not needed
    ENGINES_STAMP.write_text(engines_fingerprint(), encoding="utf-8")
    say(f"Pocket TTS and Chatterbox installed in {time.monotonic() - started:.0f} s")


def find_chromium() -> str | None:
    """The browser that the checks of the page drive; $RHAPSODE_CHROMIUM names another one."""
    named = os.environ.get("RHAPSODE_CHROMIUM")
    return named or next(filter(None, map(shutil.which, BROWSERS)), None)


def find_postgres() -> str | None:
    """The folder of a PostgreSQL server, against which the ledger is checked; $RHAPSODE_POSTGRES names another one."""
    named = os.environ.get("RHAPSODE_POSTGRES")
    found = [str(path.parent) for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    in_path = shutil.which("initdb")
    return named or next(iter(found), os.path.dirname(in_path) if in_path else None)  # noqa: PTH120 - as it is named


def get_chromium() -> None:
    """Have a browser for the checks.

    Raises:
        SetupFailed: There is none, and it cannot be installed.
    """
    way_out = "Install chromium (apt install chromium), or name one: RHAPSODE_CHROMIUM=/path/to/chrome ./test.sh"
    _get("chromium", find_chromium, "The checks of the page need a Chromium browser.", way_out)


def get_postgres() -> None:
    """Have a database server for the checks.

    Raises:
        SetupFailed: There is none, and it cannot be installed.
    """
    way_out = (
        "Install PostgreSQL (apt install postgresql), or name the folder of initdb and postgres: "
        "RHAPSODE_POSTGRES=/usr/lib/postgresql/15/bin ./test.sh"
    )
    _get("postgresql", find_postgres, "The checks of the ledger need a PostgreSQL server, 13 or newer.", way_out)


def get_programs() -> None:
    """Have everything for the checks that pip cannot bring, one after another: the system installs no two things at once.

    Raises:
        SetupFailed: Something cannot be had.
    """
    get_chromium()
    get_proxies()
    get_postgres()


def _get(package: str, find: Callable[[], str | None], need: str, way_out: str) -> None:
    """Install a package of the system, unless what it brings can be found.

    Raises:
        SetupFailed: It cannot be installed.
    """
    if find():
        return
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        raise SetupFailed(f"{need} {way_out}")
    say(f"Installing {package} for the checks")
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    install = [apt, "install", "-y", "-qq", "--no-install-recommends", package]
    for command in (install, [apt, "update", "-qq"], install):
        done = subprocess.run(
            command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env
        )
        if find():
            return
    raise SetupFailed(f"{package} cannot be installed: {done.stdout.strip()[-500:]}\n{way_out}")


def has_programs() -> bool:
    """Whether everything is there that the checks need and pip cannot bring."""
    return find_chromium() is not None and find_postgres() is not None and all(map(proxies.find, proxies.PLACES))


def get_proxies() -> None:
    """Have the reverse proxies of the guide.

    Raises:
        SetupFailed: One cannot be had.
    """
    try:
        proxies.get()
    except proxies.ProxiesFailed as error:
        raise SetupFailed(str(error)) from None


def _create_venv() -> None:
    command = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise SetupFailed(
            f"{sys.executable} cannot create a virtual environment in {VENV}:\n{done.stdout.strip()}\n"
            "On Debian and Ubuntu its package is python3-venv: apt install python3-venv"
        )


def _runs(python: Path) -> bool:
    """Whether the virtual environment still works, with the Python that runs this."""
    command = [str(python), "-c", "import sys, pip; print(sys.version_info[:3])"]
    try:
        done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    except OSError:
        return False
    return done.returncode == 0 and done.stdout.strip() == str(sys.version_info[:3])


def _pip(action: str, *arguments: str) -> None:
    """Run pip in .venv; its output is shown only when it fails."""
    quick = ["--quiet", "--retries", "2"] if action == "install" else []
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input", action, *quick, *arguments]
    # A user's settings for other projects must not reach into this one.
    foreign = {"PIP_CONSTRAINT", "PIP_PREFIX", "PIP_REQUIREMENT", "PIP_TARGET", "PYTHONPATH"}
    env = {key: value for key, value in os.environ.items() if key not in foreign} | {"PIP_USER": "0"}
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
    if done.returncode == 0:
        return
    lines = [line for line in done.stdout.splitlines() if line.strip() and not line.startswith("WARNING: Retrying")]
    output = "\n".join(lines[-8:])
    if action == "check":
        raise SetupFailed(f"pyproject.toml and requirements/ disagree; run scripts/lock.py:\n{output}")
    if any(sign in done.stdout.lower() for sign in NETWORK_SIGNS):
        raise SetupFailed(
            "The package index cannot be reached, or lacks a package. Check the network, or the index-url and\n"
            f"proxy in pip's settings (pip config list), and run this again. pip says:\n{output}"
        )
    raise SetupFailed(f"pip {action} failed:\n{output}")


def say(message: str) -> None:
    """One line of progress."""
    print(f"[set-up] {message}", file=sys.stderr, flush=True)


def _side_by_side(steps: Sequence[Callable[[], None]]) -> None:
    """Take steps that do not need each other at once.

    Raises:
        SetupFailed: One failed; the others have come to their end.
    """
    with ThreadPoolExecutor(len(steps)) as threads:
        taken = [threads.submit(step) for step in steps]
    for step in taken:
        step.result()


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Let no second set-up of this repository run at the same time (where the file system can lock)."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        with contextlib.suppress(OSError):
            _lock(file)
        yield


def _lock(file: BinaryIO) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("Waiting for another set-up to finish")
        fcntl.flock(file, fcntl.LOCK_EX)


def main() -> int:
    """Exit status: 0 ready, 1 not."""
    *flags, mode = sys.argv[1:]
    if flags == ["--check"]:
        checks_can_run = mode == "run" or (has_programs() and engines_are_ready())
        return 0 if is_ready(mode) and page.is_built() and checks_can_run else 1
    with _alone():
        try:
            if not is_ready(mode):
                set_up(mode)
            _side_by_side([partial(make_page, mode), *([get_programs, make_engines] if mode == "test" else [])])
        except SetupFailed as error:
            say(f"Failed. {error}")
            return 1
        except KeyboardInterrupt:
            say("Interrupted; run it again to go on")
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
