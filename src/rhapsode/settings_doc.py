"""Every setting with its environment variable, default, unit, bounds and help, as rows and as the page of the docs."""

import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from rhapsode.config import ENV_PREFIX, env_name
from rhapsode.settings import OpenSection, Section, Settings, sections


@dataclass(frozen=True, slots=True)
class SettingDoc:
    """One setting, in words."""

    key: str
    """Section and name as in the file, ``server.port``."""
    env: str
    default: str
    unit: str
    bounds: str
    """What is allowed, and what special values mean."""
    help: str


def describe_settings() -> list[SettingDoc]:
    """All settings in the order of the file."""
    data_dir = Settings.model_fields["data_dir"]
    rows = [SettingDoc("data_dir", f"{ENV_PREFIX}DATA_DIR", "", "", _bounds(data_dir), data_dir.description or "")]
    for name, section in sections().items():
        rows += [_describe(f"{name}.{key}", field) for key, field in section.model_fields.items()]
        if issubclass(section, OpenSection) and section.member:
            rows += [_describe(f"{name}.<name>.{key}", field) for key, field in section.member.model_fields.items()]
        elif issubclass(section, OpenSection):
            rows.append(
                SettingDoc(f"{name}.*", f"{ENV_PREFIX}{name.upper()}__*", "", "", "anything", "Kept as written.")
            )
    return rows


def settings_markdown() -> str:
    """The page ``docs/configuration.md``; ``rhapsode settings --markdown`` prints it."""
    return "\n".join(_page()) + "\n"


def _page() -> Iterator[str]:
    rows = describe_settings()
    yield _INTRODUCTION
    yield from _table("Data", "Where everything lives.", [rows[0]])
    for name, section in sections().items():
        own = [row for row in rows if row.key.startswith(f"{name}.")]
        yield from _table(name, _summary(section), own)


def _table(title: str, summary: str, rows: list[SettingDoc]) -> Iterator[str]:
    yield f"\n## {title}\n\n{summary}\n"
    yield "| setting | default | unit | allowed | meaning |"
    yield "|---|---|---|---|---|"
    for row in rows:
        default = f"`{row.default}`" if row.default else ""
        cells = [f"`{row.key}`<br>`{row.env}`", default, row.unit, row.bounds, row.help]
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _summary(section: type[Section]) -> str:
    return " ".join((section.__doc__ or "").split())


def _describe(key: str, field: FieldInfo) -> SettingDoc:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    default = "" if key == "job_queue.output_path" else _plain(field.default)
    return SettingDoc(key, env_name(key), default, str(extra.get("unit", "")), _bounds(field), field.description or "")


def _plain(value: object) -> str:
    """A value as it is written in the file."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def _bounds(field: FieldInfo) -> str:
    """What is allowed, in words."""
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    parts = [_kind(field.annotation)]
    for bound in field.metadata:
        match bound:
            case Ge(ge=limit):
                parts.append(f"≥ {limit}")
            case Gt(gt=limit):
                parts.append(f"> {limit}")
            case Le(le=limit):
                parts.append(f"≤ {limit}")
            case Lt(lt=limit):
                parts.append(f"< {limit}")
    if extra.get("special"):
        parts.append(str(extra["special"]))
    return ", ".join(part for part in parts if part)


def _kind(annotation: object) -> str:
    """The type of a setting, in words."""
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation))
    if get_origin(annotation) in {Union, types.UnionType}:
        return _kind(next(part for part in get_args(annotation) if part is not type(None)))
    names: dict[object, str] = {int: "whole number", float: "number", bool: "true, false", str: "text", Path: "path"}
    return names.get(annotation, "anything")


_INTRODUCTION = """\
# Configuration

<!-- Generated: rhapsode settings --markdown > docs/configuration.md. A test fails when this page differs. -->

A fresh install needs no configuration. Settings come from, the first that names one wins:

1. the command line (`--data-dir`, `--host`, `--port` …),
2. the environment (`RHAPSODE_<SECTION>__<KEY>`, two underscores between),
3. the configuration file: `--config FILE`, else `$RHAPSODE_CONFIG`, else `config.yaml` in the data directory,
4. the defaults below.

```yaml
# config.yaml
server:
  port: 8004
job_queue:
  job_ttl_hours: 72
```

- A relative path in the file, or in the environment, is taken from the folder of the file; without a file, from the data directory.
  A path that nothing names lies in the data directory.
- Numbers may be written as text (`"8004"`). A null, or an empty environment variable of a setting that can be empty, counts as not set.
- An unknown key is a warning at start that names it. A wrong value stops the start and names key, value and bound.
- A file of Chatterbox TTS Server loads as it is. What has no effect here is a warning."""
