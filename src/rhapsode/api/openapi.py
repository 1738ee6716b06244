"""The machine-readable description: FastAPI's, with the errors as they really are."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from rhapsode.api.auth import COOKIE
from rhapsode.api.openai_form import PREFIX
from rhapsode.api.schemas import ProblemDetails

_REF = "#/components/schemas/{model}"
_PROBLEM = {
    "description": "An error; docs/errors.md lists the kinds.",
    "content": {"application/problem+json": {"schema": {"$ref": _REF.format(model="ProblemDetails")}}},
}
_THEIRS = {
    "description": "An error in OpenAI's form.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["error"],
                "properties": {
                    "error": {
                        "type": "object",
                        "required": ["message", "type", "param", "code"],
                        "properties": {
                            "message": {"type": "string"},
                            "type": {"type": "string"},
                            "param": {"type": ["string", "null"]},
                            "code": {"type": ["string", "null"]},
                        },
                    }
                },
            }
        }
    },
}
_NOT_OURS = ("HTTPValidationError", "ValidationError")
_METHODS = ("get", "post", "put", "patch", "delete")


_SCHEMES = {
    "key": {"type": "http", "scheme": "bearer", "description": "An API key."},
    "keyHeader": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same."},
    "session": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "A browser that signed in."},
}


def install(app: FastAPI) -> None:
    """Describe the application once, when it is first asked for."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _description(app)
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]


def _description(app: FastAPI) -> dict[str, Any]:
    found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    for name in _NOT_OURS:
        schemas.pop(name, None)
    problem = ProblemDetails.model_json_schema(ref_template=_REF)
    schemas.update(problem.pop("$defs", {}))
    schemas["ProblemDetails"] = problem
    found["components"]["securitySchemes"] = _SCHEMES
    found["security"] = [{}, *({name: []} for name in _SCHEMES)]  # none, while the server has no key
    for address, path in found["paths"].items():
        for method in _METHODS:
            if method in path:
                for content in path[method].get("requestBody", {}).get("content", {}).values():
                    schemas.update(content.get("schema", {}).pop("$defs", {}))
                answers = path[method]["responses"]
                answers.pop("422", None)  # FastAPI's own, which is never sent
                answers["default"] = _THEIRS if address.startswith(PREFIX) else _PROBLEM
    return found
