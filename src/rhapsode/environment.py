"""Environments of engines whose libraries are better kept apart: a virtual environment each, under the data directory.

``<data-dir>/engines/<name>`` holds what the extra ``<name>`` of this package asks for, the few libraries that a worker needs,
and this very package, copied as it is installed here (an editable installation stays one). It is built next to its place and
moved there whole, so that what is there works: an interrupted installation starts over, a failed one leaves the old one alone.

Imports no engine.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution, entry_points
from pathlib import Path

from rhapsode.engines.base import GROUP
from rhapsode.errors import EngineError, InvalidInput

PACKAGE = "rhapsode"
FOLDER = "engines"
WORKER_NEEDS = ("av", "msgspec", "numpy", "soxr")
"""What ``rhapsode.fleet.worker`` imports. Without versions: the engine's libraries may ask for old ones."""
_DRAFT, _OLD = ".part", ".old"
_STAMP = "rhapsode-engine.json"
_EXTRA = re.compile(r"""^(?P<what>[^;]+);\s*extra\s*==\s*['"](?P<extra>[^'"]+)['"]\s*$""")
_NAME = re.compile(r"[\w.-]+")
_NETWORK_SIGNS = ("connection", "resol", "timed out", "proxy", "ssl", "no matching distribution", "unreachable")
_LAST_LINES = 8

Say = Callable[[str], None]


def requirements_of(name: str) -> list[str]:
    """What the extra ``name`` asks for; empty when there is none. Engines of one module share the extra that is called like it."""
    found = (_EXTRA.match(line) for line in distribution(PACKAGE).requires or ())
    return [match["what"].strip() for match in found if match and match["extra"] == name]


def families() -> Mapping[str, Sequence[str]]:
    """The engines of this package that have libraries of their own, by the extra that they come with; both sorted."""
    found: dict[str, list[str]] = {}
    for entry in entry_points(group=GROUP):
        extra = entry.module.rpartition(".")[2]
        if entry.dist and entry.dist.name == PACKAGE and requirements_of(extra):
            found.setdefault(extra, []).append(entry.name)
    return {extra: sorted(found[extra]) for extra in sorted(found)}


def interpreters(data_dir: Path) -> Mapping[str, Path]:
    """Interpreters of the engines that have an environment which fits this version, by engine."""
    folders = {extra: data_dir / FOLDER / extra for extra in families()}
    fitting = {extra: _python(folder) for extra, folder in folders.items() if _fits(folder)}
    return {name: fitting[extra] for extra, names in families().items() if extra in fitting for name in names}


def missing(data_dir: Path) -> Mapping[str, str]:
    """Engines of this package that cannot be spoken with here, and the command that installs each."""
    here = interpreters(data_dir)
    return {
        name: f"rhapsode engines install {extra}"
        for extra, names in families().items()
        for name in names
        if name not in here and not all(_is_installed(_NAME.match(what)) for what in requirements_of(extra))
    }


def install(data_dir: Path, name: str, say: Say, python: str = sys.executable, constraint: Path | None = None) -> Path:
    """Make the environment of an engine; a no-op when it is there and fits. The user's settings for pip count.

    Args:
        data_dir: The data directory.
        name: The engine.
        say: Told of each step.
        python: The interpreter to make it from.
        constraint: A file of versions that pip must keep to.

    Returns:
        Its interpreter.

    Raises:
        InvalidInput: No such engine, or it needs no environment.
        EngineError: It cannot be made; says why and what to do. What was there before is untouched.
    """
    name = family(name)
    if name not in families():
        raise InvalidInput(f"engine {name!r} cannot be installed; these can: {', '.join(families())}", "name")
    wanted = requirements_of(name)
    folder = data_dir / FOLDER / name
    with _alone(folder, say):
        if _fits(folder):
            say(f"{name} is there: {folder}")
            return _python(folder)
        draft = folder.with_name(f".{name}{_DRAFT}")
        say(f"making a virtual environment for {name} with {python}")
        _run([python, "-m", "venv", "--clear", str(draft)], "the virtual environment", say=None)
        keep_to = ["--constraint", str(constraint)] if constraint else []
        say(f"installing {', '.join(wanted)}: this may download gigabytes")
        pip = [str(_python(draft)), "-m", "pip", "--disable-pip-version-check", "--no-input"]
        _run([*pip, "install", "--retries", "2", *keep_to, *WORKER_NEEDS, *wanted], ", ".join(wanted), say)
        _copy_package(_site_packages(draft))
        (draft / _STAMP).write_text(json.dumps(_stamp(name)), encoding="utf-8")
        _swap(draft, folder)
    say(f"{name} is installed: {folder}")
    return _python(folder)


def remove(data_dir: Path, name: str, say: Say) -> None:
    """Delete the environment of an engine.

    Raises:
        InvalidInput: It has none.
    """
    name = family(name)
    folder = data_dir / FOLDER / name
    here = [path.name for path in sorted((data_dir / FOLDER).glob("[!.]*"))]
    if name not in here:
        raise InvalidInput(
            f"engine {name!r} has no environment in {data_dir / FOLDER}; there are: {', '.join(here) or 'none'}", "name"
        )
    drafts = [folder.with_name(f".{name}{suffix}") for suffix in (_DRAFT, _OLD)]
    with _alone(folder, say):
        for path in (folder, *drafts):
            shutil.rmtree(path, ignore_errors=True)
    say(f"{name} is removed: {folder}")


def family(name: str) -> str:
    """The extra that an engine comes with, which is what its environment is called; other names stay as they are."""
    return next((extra for extra, names in families().items() if name in names), name)


def _stamp(name: str) -> dict[str, object]:
    """What an environment has to match."""
    return {"version": distribution(PACKAGE).version, "requirements": [*WORKER_NEEDS, *requirements_of(name)]}


def _fits(folder: Path) -> bool:
    try:
        return json.loads((folder / _STAMP).read_bytes()) == _stamp(folder.name) and _python(folder).exists()
    except (OSError, ValueError):
        return False


def _is_installed(name: re.Match[str] | None) -> bool:
    try:
        distribution(name.group() if name else "")
    except (PackageNotFoundError, ValueError):
        return False
    return True


def _python(folder: Path) -> Path:
    return folder / "Scripts" / "python.exe" if os.name == "nt" else folder / "bin" / "python"


def _site_packages(folder: Path) -> Path:
    """Where the environment's interpreter looks for packages."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    found = subprocess.run([str(_python(folder)), "-I", "-c", code], capture_output=True, text=True, check=True)
    return Path(found.stdout.strip())


def _copy_package(target: Path) -> None:
    """Put this package there, with its metadata, as it is installed here."""
    own = distribution(PACKAGE)
    for file in _files_of(own):
        copy = target / file
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(str(own.locate_file(file)), copy)


def _files_of(own: Distribution) -> Iterator[Path]:
    """The package's files, relative to its site-packages; neither commands nor compiled files.

    Raises:
        EngineError: It is not installed, only found on the path.
    """
    if not own.files:
        raise EngineError(f"{PACKAGE} is not installed here, so that it cannot be copied: pip install it first")
    for file in own.files:
        if ".." not in file.parts and "__pycache__" not in file.parts and Path(str(own.locate_file(file))).is_file():
            yield Path(file)


def _swap(draft: Path, folder: Path) -> None:
    """Put ``draft`` where ``folder`` is; whoever still runs from the old one keeps its open files only."""
    old = folder.with_name(f".{folder.name}{_OLD}")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    draft.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _run(command: Sequence[str], what: str, say: Say | None) -> None:
    """Run a step, telling its lines to ``say``.

    Raises:
        EngineError: It failed.
    """
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PIP_USER": "0"}
    lines: list[str] = []
    try:
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env
        ) as step:
            for line in step.stdout or ():
                if line.strip():
                    lines.append(line.rstrip())
                    if say:
                        say(lines[-1].strip())
    except OSError as error:
        raise EngineError(f"{command[0]!r} cannot be started: {error}") from error
    if step.returncode == 0:
        return
    told = " | ".join(lines[-_LAST_LINES:])
    why = ""
    if any(sign in "\n".join(lines).lower() for sign in _NETWORK_SIGNS):
        why = "; check the network, or index-url and proxy in pip's settings (pip config list), and run this again"
    raise EngineError(f"{what} could not be installed{why}: {told}")


@contextlib.contextmanager
def _alone(folder: Path, say: Say) -> Iterator[None]:
    """Let no second process change this environment at the same time."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another installation to end")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
