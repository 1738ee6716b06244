"""Every error leaves as ``application/problem+json`` (RFC 9457), with ``detail`` as one string for old clients."""

import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from rhapsode.api.connection import ClientLeft
from rhapsode.api.openai_form import in_their_form, is_theirs
from rhapsode.api.problems import CATALOGUE
from rhapsode.api.request_id import HEADER, request_id
from rhapsode.errors import (
    Conflict,
    Forbidden,
    Gone,
    InvalidInput,
    NotFound,
    QuotaExceeded,
    RhapsodeError,
    StorageFull,
    TooLarge,
    Unauthorized,
    Unavailable,
)
from rhapsode.jobs.takes import JobEnded
from rhapsode.model import Job, JobStatus

log = logging.getLogger(__name__)

Handler = Callable[[Request, Exception], Awaitable[Response]]

_NOT_ALLOWED = 405
_CLIENT_LEFT = 499
"""nginx's number for a client that closed the connection; seen in logs only."""

_CODES: Sequence[tuple[type[RhapsodeError], int, str]] = (
    (NotFound, 404, "not_found"),
    (TooLarge, 413, "too_large"),
    (StorageFull, 507, "storage_full"),
    (Unavailable, 503, "unavailable"),
    (Unauthorized, 401, "unauthorized"),
    (Forbidden, 403, "forbidden"),
    (QuotaExceeded, 429, "quota_exceeded"),
    (Conflict, 409, "conflict"),
    (Gone, 410, "gone"),
)


def problem(
    status: int,
    code: str,
    detail: str,
    errors: Sequence[Mapping[str, str | int]] = (),
    headers: Mapping[str, str] | None = None,
    extra: Mapping[str, object] | None = None,
) -> JSONResponse:
    """A problem document.

    Args:
        status: HTTP status.
        code: Stable word for programs, from the catalogue.
        detail: One sentence for people.
        errors: One entry per wrong field: ``pointer`` (JSON pointer into the body) and ``detail``; ``line`` and ``column`` in a text.
        headers: More headers.
        extra: More members of the document.
    """
    kind = CATALOGUE[code]
    name = request_id()
    body: dict[str, object] = {
        "type": kind.type,
        "title": kind.title,
        "status": status,
        "code": code,
        "detail": detail,
        "request_id": name,
    }
    if errors:
        body["errors"] = list(errors)
    body |= extra or {}
    headers = {**(headers or {}), HEADER: name}
    return JSONResponse(body, status, headers=headers, media_type="application/problem+json")


def install(app: FastAPI, routes: Sequence[Route]) -> None:
    """Turn everything that is raised on purpose into its problem document.

    Args:
        app: What may raise.
        routes: All there are, to say which methods an address has.
    """

    async def on_http(request: Request, error: Exception) -> JSONResponse:
        return _on_http(request, error, routes)

    handlers: Mapping[type[Exception], Handler] = {
        RhapsodeError: _on_ours,
        ValidationError: _on_validation,
        RequestValidationError: _on_validation,
        HTTPException: on_http,
        Exception: _on_bug,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, _for_all(handler))


def _for_all(handler: Handler) -> Handler:
    """The handler; for clients of OpenAI's in their form."""

    async def handle(request: Request, error: Exception) -> Response:
        answer = await handler(request, error)
        return in_their_form(answer) if is_theirs(request) else answer

    return handle


async def _on_ours(_: Request, error: Exception) -> Response:
    if isinstance(error, ClientLeft):
        return Response(status_code=_CLIENT_LEFT)
    if isinstance(error, JobEnded):
        return job_failed(error.job) if error.job else problem(410, "gone", str(error))
    detail = str(error)
    status, code = kind_of(error)
    pointers = pointers_of(error)
    headers: dict[str, str] = {}
    if isinstance(error, Unavailable | QuotaExceeded):
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    extra = {"limit": error.limit} if isinstance(error, QuotaExceeded) else {}
    if status == 500:
        log.error("request %s failed: %s", request_id(), error)
    return problem(status, code, detail, pointers, headers, extra)


async def _on_validation(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, ValidationError | RequestValidationError):
        raise error
    found = pointers_of(error)
    return problem(422, "invalid_input", "; ".join(str(entry["detail"]) for entry in found), found)


def kind_of(error: Exception) -> tuple[int, str]:
    """HTTP status and code of an error that was raised on purpose."""
    for kind, status, code in _CODES:
        if isinstance(error, kind):
            return status, code
    if isinstance(error, InvalidInput):
        return error.status, "invalid_input"
    return (422, "invalid_input") if isinstance(error, ValidationError) else (500, "internal")


def pointers_of(error: Exception) -> list[dict[str, str | int]]:
    """One entry per wrong field: its JSON pointer, what is wrong, and where in a text."""
    if isinstance(error, InvalidInput) and error.field:
        where = {"line": error.place[0], "column": error.place[1]} if error.place else {}
        return [{"pointer": f"/{error.field}", "detail": str(error), **where}]
    if not isinstance(error, ValidationError | RequestValidationError):
        return []
    found: list[dict[str, str | int]] = []
    skipped = int(isinstance(error, RequestValidationError))  # it says first whether it is path, query, header or body
    for item in error.errors():
        is_json = item["type"] != "json_invalid"  # else its place is a column
        place = [str(part) for part in item["loc"][skipped:]] if is_json else []
        message = item["msg"].removeprefix("Value error, ")
        given = item["input"]
        shown = "" if isinstance(given, dict | list) or not is_json else f" (given: {str(given)[:80]!r})"
        pointer = "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in place)
        found.append({"pointer": pointer, "detail": f"{'.'.join(place) or 'body'}: {message}{shown}"})
    return found


def _on_http(request: Request, error: Exception, routes: Sequence[Route]) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
    headers = error.headers
    if error.status_code == _NOT_ALLOWED:  # Starlette knows the methods of the first route alone that fits
        fitting = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
        methods = {method for route in fitting if route.path == fitting[0].path for method in route.methods or ()}
        headers = {"Allow": ", ".join(sorted(methods))}
    return problem(error.status_code, code, str(error.detail), headers=headers)


async def _on_bug(request: Request, error: Exception) -> JSONResponse:
    log.error("request %s: %s %s failed", request_id(), request.method, request.url.path, exc_info=error)
    return problem(500, "internal", "internal error; the server's log has the cause")


def job_failed(job: Job) -> JSONResponse:
    """The answer for a result that there will never be: 410 for a cancelled job, 500 with the cause for a failed one."""
    if job.status is JobStatus.CANCELLED or job.deleted:
        return problem(410, "gone", f"job {job.id} was cancelled")
    return problem(500, "synthesis_failed", job.error or "synthesis failed", headers={"X-Job-Id": job.id})
