"""Settings from the command line, the environment and the configuration file: the only reader of all three.

Precedence: overrides (command line) > environment > file > defaults.
"""

import dataclasses
import difflib
import os
import re
import reprlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from rhapsode.environment import interpreters
from rhapsode.errors import ConfigError
from rhapsode.settings import OpenSection, Settings, sections

__all__ = [
    "FILE_NAME",
    "Loaded",
    "Origin",
    "Settings",
    "default_data_dir",
    "effective",
    "env_name",
    "load_settings",
    "without_password",
]

ENV_PREFIX = "RHAPSODE_"
FILE_NAME = "config.yaml"
"""Read from the data directory when no file is named."""

RETIRED: Mapping[str, str] = {
    "server.use_ngrok": "there is no tunnel here; use a reverse proxy",
    "server.use_auth": "there are no passwords yet, so this server is open to all who can reach server.host",
    "server.auth_username": "",
    "server.auth_password": "",
    "server.lazy_load_model": "",
    "server.model_idle_timeout_minutes": "use fleet.idle_unload_sec",
    "server.enable_performance_monitor": "",
}
"""Keys of the old server that mean nothing here, each with what to say when it is switched on; empty: say nothing."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What :func:`load_settings` was called with, so that the same can be read again."""

    config: Path | None = None
    data_dir: Path | None = None
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    overrides: Mapping[str, object] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings and where they come from."""

    settings: Settings
    warnings: tuple[str, ...]
    """One sentence each, fit for a user."""
    source: Path | None
    """The configuration file that was read, or None."""
    named: frozenset[str]
    """Keys that the file, the environment or the command line named, such as ``server.host``."""
    written: Mapping[str, str]
    """Path settings as they were written, by key; ``settings`` has them absolute."""
    origin: Origin

    @property
    def host_named(self) -> bool:
        """Whether the configuration names ``server.host``, so that binding it is the operator's choice."""
        return "server.host" in self.named


_SHOWN = reprlib.Repr()
"""Cuts before it writes: a few lines of YAML can stand for terabytes, by anchors."""
_SHOWN.maxlevel, _SHOWN.maxstring, _SHOWN.maxlong, _SHOWN.maxother = 3, 200, 200, 200

_OLD_CHOICES = {
    "chatterbox": "chatterbox",
    "original": "chatterbox",
    "chatterbox-multilingual": "chatterbox-multilingual",
    "multilingual": "chatterbox-multilingual",
    "chatterbox-turbo": "chatterbox-turbo",
    "turbo": "chatterbox-turbo",
}
"""Values of the old server's ``model.repo_id``, without the owner before a slash, and our engines."""


@dataclass(frozen=True, slots=True)
class _Given:
    """A value that something named."""

    value: object
    origin: str


def load_settings(
    config: Path | None = None,
    data_dir: Path | None = None,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
    content: str | None = None,
) -> Loaded:
    """Read all settings.

    Args:
        config: The configuration file. None: ``$RHAPSODE_CONFIG``, else ``config.yaml`` in the data directory if there is one.
        data_dir: Folder of everything that lasts. None: ``$RHAPSODE_DATA_DIR``, else the file's ``data_dir``, else the
            user's data folder.
        env: The environment; None means that of this process.
        overrides: Values by key (``{"server.port": 9000}``) that win over everything; a None is left out.
        content: What the file is to hold, instead of what it holds.

    Raises:
        ConfigError: The file cannot be read, or a value is wrong; names every wrong key with its value, origin and bound.
    """
    env = dict(os.environ) if env is None else env
    overrides = overrides or {}
    origin = Origin(config, data_dir, env, overrides)
    folder = data_dir or _path_of(overrides, "data_dir") or _path_of(env, "RHAPSODE_DATA_DIR")
    source = _find_file(config or _path_of(env, "RHAPSODE_CONFIG"), folder or default_data_dir(env))
    warnings: list[str] = []
    given: dict[str, _Given] = {}
    if content is not None:
        source = source or ((folder or default_data_dir(env)) / FILE_NAME).absolute()
        given |= _from_text(content, source, warnings)
    elif source is not None:
        given |= _from_text(read_file(source), source, warnings)
    given |= _from_env(env, warnings)
    given |= _from_overrides(overrides)
    in_file = given.pop("data_dir", None)
    if folder is None and in_file is not None:
        folder = (source.parent if source else Path()) / Path(str(in_file.value)).expanduser()
    folder = (folder or default_data_dir(env)).absolute()
    if "engine.name" not in given and (engine := _old_choice(given)) in interpreters(folder):
        given["engine.name"] = _Given(engine, "model.repo_id")
    warnings += _notes(given)
    base = source.parent if source else folder
    written = _paths_as_written(given)
    nested = _nest(given)
    nested["data_dir"] = folder
    for key, text in written.items():
        section, name = key.split(".")
        root = base if key in given or (key == "job_queue.output_path" and "paths.output" in given) else folder
        nested[section][name] = root / Path(text).expanduser()
    try:
        settings = Settings.model_validate(nested)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(error, given))) from None
    return Loaded(settings, tuple(warnings), source, frozenset(given), written, origin)


def effective(loaded: Loaded) -> dict[str, Any]:
    """All settings in force as plain JSON values, with paths as they were written and without ``data_dir`` or secrets."""
    plain = loaded.settings.model_dump(mode="json", exclude={"data_dir"})
    for key, text in loaded.written.items():
        section, name = key.split(".")
        plain[section][name] = text
    plain["ledger"]["url"] = without_password(loaded.settings.ledger.url)
    return plain


def without_password(url: str) -> str:
    """The address of a database, fit to be shown."""
    return re.sub(r"([?&]password=)[^&]*", r"\1***", re.sub(r"(?<=//)([^:/@]*):[^@]*@", r"\1:***@", url))


def env_name(key: str) -> str:
    """The environment variable of a setting: ``server.port`` → ``RHAPSODE_SERVER__PORT``."""
    key = key.replace(".<name>.", ".<name>__")
    return ENV_PREFIX + key.upper().replace(".", "__")


def default_data_dir(env: Mapping[str, str]) -> Path:
    """The user's data folder of this platform, with ``rhapsode`` behind it."""
    if sys.platform == "win32":
        root = Path(env.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Application Support"
    else:
        root = Path(env.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return root / "rhapsode"


def _path_of(values: Mapping[str, object], name: str) -> Path | None:
    return Path(str(values[name])).expanduser() if values.get(name) else None


def _find_file(named: Path | None, folder: Path) -> Path | None:
    """The configuration file to read, absolute."""
    if named is None:
        found = (folder / FILE_NAME).absolute()
        return found if found.is_file() else None
    return named.expanduser().absolute()


def read_file(path: Path) -> str:
    """The text of a configuration file.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot read the configuration file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"the configuration file {path} is not UTF-8 text") from None


def _from_text(text: str, path: Path, warnings: list[str]) -> dict[str, _Given]:
    """The values that the file names. A null means that the key is not set."""
    try:
        content = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"the configuration file {path} is not valid YAML: {_yaml_problem(error)}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"the configuration file {path} must hold sections such as `server:`, not {_show(content)}")
    given: dict[str, _Given] = {}
    for key, value in _leaves(content, path):
        if _is_known(key):
            if value is not None:
                given[key] = _Given(value, str(path))
        elif key not in RETIRED:
            warnings.append(f"unknown setting {key} in {path}{_suggestion(key, [*sections(), *_keys()])}")
        elif RETIRED[key] and value:
            warnings.append(f"{key} in {path} has no effect: {RETIRED[key]}")
    return given


def _yaml_problem(error: Exception) -> str:
    """What is wrong, with its line where the parser knows it."""
    if isinstance(error, MarkedYAMLError) and error.problem and error.problem_mark:
        return f"{error.problem} in line {error.problem_mark.line + 1}"
    return " ".join(str(error).split())


def _leaves(content: Mapping[object, object], path: Path) -> Iterator[tuple[str, object]]:
    """Keys and values of a configuration file; an unknown section comes as one key."""
    known = sections()
    for section, values in content.items():
        name = str(section)
        if name not in known:
            yield name, values
        elif isinstance(values, dict):
            for key, value in values.items():
                yield f"{name}.{key}", value
        elif values is not None:
            raise ConfigError(f"{name} = {_show(values)} in {path}: must be a section of settings")


def _from_env(env: Mapping[str, str], warnings: list[str]) -> dict[str, _Given]:
    """The values that the environment names."""
    given: dict[str, _Given] = {}
    for variable in sorted(env):
        if not variable.startswith(ENV_PREFIX) or "__" not in variable:
            continue
        key = variable.removeprefix(ENV_PREFIX).lower().replace("__", ".", 1)
        if not _is_known(key):
            names = [env_name(known) for known in _keys()]
            warnings.append(f"unknown environment variable {variable}{_suggestion(variable, names)}")
        elif env[variable] or not _is_optional(key):
            given[key] = _Given(env[variable], f"${variable}")
    return given


def _from_overrides(overrides: Mapping[str, object]) -> dict[str, _Given]:
    """The values that the command line names."""
    for key in overrides:
        if not _is_known(key):
            raise ConfigError(f"unknown setting {key} on the command line{_suggestion(key, _keys())}")
    return {key: _Given(value, "the command line") for key, value in overrides.items() if value is not None}


def _notes(given: Mapping[str, _Given]) -> Iterator[str]:
    """Warnings about settings that are known but do not do here what they did on the old server."""
    repo = str(given["model.repo_id"].value) if "model.repo_id" in given else ""
    engine = str(given["engine.name"].value) if "engine.name" in given else Settings().engine.name
    old = _old_choice(given)
    if old and old != engine and "engine.name" not in given:
        yield (
            f"model.repo_id = {repo!r} is engine {old}, which is not installed here (rhapsode engines install chatterbox): "
            f"speaking with engine.name = {engine!r}"
        )
    elif repo and engine not in (repo, old):
        yield f"model.repo_id = {repo!r} chooses no engine here: speaking with engine.name = {engine!r}"
    rate = given.get("audio_output.sample_rate")
    if rate is not None and str(rate.value) != "0":
        yield f"audio_output.sample_rate = {_show(rate.value)} has no effect: files keep the sample rate of the voice"


def _old_choice(given: Mapping[str, _Given]) -> str:
    """The engine that the old server's ``model.repo_id`` means; empty when it names none that we know."""
    repo = str(given["model.repo_id"].value).lower() if "model.repo_id" in given else ""
    return _OLD_CHOICES.get(repo.rpartition("/")[2], "")


def _keys() -> list[str]:
    """All settings by key."""
    return ["data_dir", *(f"{name}.{key}" for name, section in sections().items() for key in section.model_fields)]


def _is_known(key: str) -> bool:
    section, _, name = key.partition(".")
    kind = sections().get(section)
    if kind is None:
        return key == "data_dir"
    return bool(name) and (name in kind.model_fields or issubclass(kind, OpenSection))


def _is_optional(key: str) -> bool:
    """Whether an empty environment variable means "not set" for this setting."""
    section, _, name = key.partition(".")
    field = sections()[section].model_fields.get(name)
    return field is not None and (field.default is None or isinstance(field.default, Path))


def _paths_as_written(given: Mapping[str, _Given]) -> dict[str, str]:
    """All path settings that have a value, by key, as the user (or the default) writes them."""
    written: dict[str, str] = {}
    for section, kind in sections().items():
        for name, field in kind.model_fields.items():
            key = f"{section}.{name}"
            if field.annotation not in {Path, Path | None}:
                continue
            value = given[key].value if key in given else field.default
            if value is not None and isinstance(value, str | Path):
                written[key] = str(value)
    if "job_queue.output_path" not in given:
        written["job_queue.output_path"] = written.get("paths.output", "")
    return written


def _nest(given: Mapping[str, _Given]) -> dict[str, Any]:
    """Values by section, for the model to check."""
    nested: dict[str, Any] = {section: {} for section in sections()}
    for key, entry in given.items():
        section, _, name = key.partition(".")
        name, _, inner = name.partition("__") if getattr(sections()[section], "member", None) else (name, "", "")
        before = nested[section].get(name)
        merged = {**(before if isinstance(before, dict) else {}), inner: entry.value}
        nested[section][name] = merged if inner else entry.value
    return nested


def _explain(error: ValidationError, given: Mapping[str, _Given]) -> Iterator[str]:
    """One line for each wrong value: key, value, where it was named, what is allowed."""
    for problem in error.errors(include_url=False):
        place = [str(part) for part in problem["loc"][:3]]
        key = ".".join(place[:2])
        reason = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
        if problem["type"] == "path_type":
            reason = "should be a path"
        entry = given.get("__".join([key, *place[2:]]), given.get(key))
        key, value = ".".join(place), problem["input"] if len(place) > 2 else entry and entry.value
        if isinstance(value, str) and "//" in value:
            value = without_password(value)
        yield f"{key} = {_show(value)} ({entry.origin}): {reason}" if entry else f"{key}: {reason}"


def _suggestion(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.75)
    return f"; did you mean {near[0]}?" if near else ""


def _show(value: object) -> str:
    """A value for a message, cut when it is long."""
    text = _SHOWN.repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
