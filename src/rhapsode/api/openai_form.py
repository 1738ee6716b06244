"""OpenAI's form of errors, for everything under /v1."""

import json
from collections.abc import Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

PREFIX = "/v1/"
_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_CODES: Mapping[str, str | None] = {
    "unauthorized": "invalid_api_key",
    "quota_exceeded": "rate_limit_exceeded",
    "invalid_input": None,
}
_WORDS: Mapping[str, str] = {
    "text": "input",
    "predefined_voice_id": "voice",
    "voice_mode": "voice",
    "reference_audio_filename": "voice",
    "speed_factor": "speed",
    "output_format": "response_format",
    "engine": "model",
}
"""What they call our fields."""


def is_theirs(request: Request) -> bool:
    """Whether a client of OpenAI's asks."""
    path: str = request.scope["path"]
    return path.removeprefix(str(request.scope.get("root_path", ""))).startswith(PREFIX)


def in_their_form(answer: Response) -> Response:
    """A problem document as their clients read it; status and headers stay. Anything else is left alone."""
    if answer.media_type != "application/problem+json":
        return answer
    found: dict[str, Any] = json.loads(bytes(answer.body))
    field, *rest = next((entry["pointer"] for entry in found.get("errors", ())), "").strip("/").split("/")
    pointer = ".".join([_WORDS.get(field, field), *rest])
    kind = _KINDS.get(answer.status_code) or ("server_error" if answer.status_code >= 500 else "invalid_request_error")
    error = {
        "message": found["detail"],
        "type": kind,
        "param": pointer or None,
        "code": _CODES.get(found["code"], found["code"]),
    }
    kept = {name: value for name, value in answer.headers.items() if name not in {"content-length", "content-type"}}
    status = 400 if answer.status_code == 422 else answer.status_code  # their word for it: BadRequestError
    return JSONResponse({"error": error}, status, headers=kept)
