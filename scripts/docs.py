"""Write the pages of docs/ that are made from the code: ``.venv/bin/python scripts/docs.py [--check]``.

``docs/errors.md`` is the catalogue of errors; the end of ``docs/api.md`` is the reference made from the server's own OpenAPI document.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from rhapsode.api.app import create_app
from rhapsode.api.problems import catalogue_page
from rhapsode.config import Loaded, Origin
from rhapsode.jobs.service import JobService
from rhapsode.settings import Settings

DOCS = Path(__file__).resolve().parents[1] / "docs"
MARK = "<!-- Below: made from OpenAPI by scripts/docs.py; do not edit. -->"
METHODS = ("get", "post", "put", "patch", "delete")

Schema = Mapping[str, Any]


class Reference:
    """The reference part of docs/api.md."""

    def __init__(self, openapi: Schema) -> None:
        self._paths = openapi["paths"]
        self._schemas = openapi["components"]["schemas"]

    def lines(self) -> Iterator[str]:
        """Markdown: every call, then every shape."""
        yield "### Calls"
        for path, methods in sorted(self._paths.items()):
            for method in METHODS:
                if method in methods:
                    yield from self._call(path, method, methods[method])
        yield ""
        yield "### Shapes"
        for name, schema in sorted(self._schemas.items()):
            yield from self._shape(name, schema)

    def _call(self, path: str, method: str, call: Schema) -> Iterator[str]:
        yield ""
        yield f"#### `{method.upper()} {path}` (reference)"
        yield ""
        yield _one_line(call.get("description") or call.get("summary", ""))
        rows = [self._parameter(parameter) for parameter in call.get("parameters", ())]
        body = call.get("requestBody", {}).get("content", {})
        for kind, content in body.items():
            rows += [(f"body ({kind})", *row) for row in self._fields(content.get("schema", {}))]
        if rows:
            yield from ("", "| in | name | type | default | meaning |", "|---|---|---|---|---|")
            yield from ("| " + " | ".join(row) + " |" for row in rows)
        yield ""
        yield "Answers: " + "; ".join(
            f"{status} {self._answer(answer)}" for status, answer in call["responses"].items() if status != "default"
        )

    def _parameter(self, parameter: Schema) -> tuple[str, ...]:
        schema = parameter.get("schema", {})
        name = f"`{parameter['name']}`" + (" (required)" if parameter.get("required") else "")
        what = _one_line(parameter.get("description", ""))
        return parameter["in"], name, self._type(schema), _default(schema), what

    def _fields(self, schema: Schema) -> Iterator[tuple[str, ...]]:
        schema = self._resolved(schema)
        required = schema.get("required", ())
        for name, field in schema.get("properties", {}).items():
            label = f"`{name}`" + (" (required)" if name in required else "")
            yield label, self._type(field), _default(field), _one_line(field.get("description", ""))

    def _shape(self, name: str, schema: Schema) -> Iterator[str]:
        yield ""
        yield f"#### {name}"
        yield ""
        yield _one_line(schema.get("description", ""))
        if "enum" in schema:
            yield ""
            yield "One of " + ", ".join(f"`{value}`" for value in schema["enum"])
        rows = list(self._fields(schema))
        if rows:
            yield from ("", "| name | type | default | meaning |", "|---|---|---|---|")
            yield from ("| " + " | ".join(row) + " |" for row in rows)

    def _resolved(self, schema: Schema) -> Schema:
        return cast(Schema, self._schemas.get(_name(schema), schema)) if "$ref" in schema else schema

    def _answer(self, answer: Schema) -> str:
        kinds = []
        for kind, content in answer.get("content", {}).items():
            shape = self._type(content.get("schema", {}))
            kinds.append(shape if kind == "application/json" and shape else f"`{kind}`")
        return " or ".join(kinds)

    def _type(self, schema: Schema) -> str:
        if "$ref" in schema:
            name = _name(schema)
            return f"[{name}](#{name.lower()})" if name in self._schemas else name
        if "anyOf" in schema:
            return " or ".join(dict.fromkeys(filter(None, map(self._type, schema["anyOf"]))))
        if "enum" in schema:
            return ", ".join(f"`{value}`" for value in schema["enum"])
        if "const" in schema:
            return f"`{schema['const']}`"
        if schema.get("type") == "array":
            return f"list of {self._type(schema.get('items', {})) or 'anything'}"
        bounds = [
            f"{sign} {schema[key]}"
            for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
            if key in schema
        ]
        kind = str(schema.get("format") or schema.get("type", ""))
        return " ".join([kind, *bounds]).strip()


def _name(schema: Schema) -> str:
    return str(schema["$ref"]).rsplit("/", 1)[-1]


def _default(schema: Schema) -> str:
    if "default" not in schema:
        return ""
    value = schema["default"]
    return "null" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")


def pages() -> dict[Path, str]:
    """Each page with what it should hold."""
    shop = SimpleNamespace(metrics=None)  # described, not served
    loaded = Loaded(Settings(), (), None, frozenset(), {}, Origin())
    app = create_app(loaded, cast(JobService, SimpleNamespace(shop=shop)))
    guide, mark, _ = (DOCS / "api.md").read_text(encoding="utf-8").partition(MARK)
    if not mark:
        sys.exit(f"docs/api.md has lost its mark: {MARK}")
    reference = "\n".join(Reference(app.openapi()).lines())
    return {DOCS / "errors.md": catalogue_page(), DOCS / "api.md": f"{guide}{MARK}\n\n{reference}\n"}


def main() -> int:
    """Write or check; 1 when a page is out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is out of date")
    check = parser.parse_args().check
    stale = [page for page, text in pages().items() if not page.exists() or page.read_text(encoding="utf-8") != text]
    for page in stale:
        if not check:
            page.write_text(pages()[page], encoding="utf-8")
        print(f"{page.name} {'is out of date: run scripts/docs.py' if check else 'written'}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
