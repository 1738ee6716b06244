"""What a client raises. Each refusal is also the error of :mod:`rhapsode.errors` that the server raised, so that one ``except`` serves
a program that embeds the queue and one that calls it over HTTP.

RhapsodeError
├── Unreachable             there is no answer, or the connection broke
└── ServerRefused           the server answered with an error
    ├── InvalidRequest      a field is wrong: ``field`` names it (400, 416, 422)
    ├── Missing             no such job, segment, voice … (404)
    ├── OverLimit           the text or body is too large (413)
    ├── NoKey               a key is needed, or this one is unknown (401)
    ├── NotGranted          the key does not grant this (403)
    ├── QuotaUsedUp         a limit of the key is used up: ``retry_after_s`` (429)
    ├── WrongStatus         the job is not in a status that allows this (409)
    ├── NoLongerThere       cancelled, deleted or expired (410)
    ├── TooEarly            not finished yet: ``retry_after_s`` (425)
    ├── Busy                cannot serve now: ``retry_after_s`` (503)
    ├── DiskFull            too little of the server's disk is free (507)
    └── SpeechFailed        a segment could not be spoken (500)
"""

from collections.abc import Mapping
from contextlib import suppress

import httpx

from rhapsode import errors


class Unreachable(errors.RhapsodeError):
    """There is no answer: no server at this address, or the connection broke."""


class ServerRefused(errors.RhapsodeError):
    """The server answered with an error; the message is its own ``detail``.

    Args:
        status: The HTTP status.
        detail: One sentence for people.
        code: The stable word for programs (docs/errors.md), empty when the answer had none.
        field: The first field that is wrong, as a dotted path.
        retry_after_s: When to try again, as far as the server knows.
        request_id: Under which the server's log has it.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        code: str = "",
        field: str | None = None,
        retry_after_s: float = 0.0,
        request_id: str = "",
    ) -> None:
        errors.RhapsodeError.__init__(self, detail)  # the other base has arguments of its own
        self.status = status
        self.code = code
        self.field = field
        self.retry_after_s = retry_after_s
        self.request_id = request_id


class InvalidRequest(ServerRefused, errors.InvalidInput):
    """A field is missing, of the wrong type or out of its bounds."""


class Missing(ServerRefused, errors.NotFound):
    """No such job, segment, voice or key, or it belongs to somebody else."""


class OverLimit(ServerRefused, errors.TooLarge):
    """The text or the body is over a set limit."""


class NoKey(ServerRefused, errors.Unauthorized):
    """A key is needed, or this one is unknown, expired or revoked."""


class NotGranted(ServerRefused, errors.Forbidden):
    """The key does not grant this."""


class QuotaUsedUp(ServerRefused, errors.QuotaExceeded):
    """A limit of the key is used up."""


class WrongStatus(ServerRefused, errors.Conflict):
    """The job is not in a status that allows this."""


class NoLongerThere(ServerRefused, errors.Gone):
    """Cancelled, deleted or expired."""


class TooEarly(ServerRefused):
    """The job is queued or running."""


class Busy(ServerRefused, errors.Unavailable):
    """The server cannot take work now."""


class DiskFull(ServerRefused, errors.StorageFull):
    """Too little of the server's disk is free."""


class SpeechFailed(ServerRefused, errors.SynthesisError):
    """A segment could not be spoken; the message names it."""


_KINDS: Mapping[int, type[ServerRefused]] = {
    400: InvalidRequest,
    401: NoKey,
    403: NotGranted,
    404: Missing,
    409: WrongStatus,
    410: NoLongerThere,
    413: OverLimit,
    416: InvalidRequest,
    422: InvalidRequest,
    425: TooEarly,
    429: QuotaUsedUp,
    503: Busy,
    507: DiskFull,
}


def refusal(answer: httpx.Response) -> ServerRefused:
    """The error that an answer stands for; its body was read."""
    problem: object = None
    with suppress(ValueError):
        problem = answer.json()
    found = problem if isinstance(problem, dict) else {}
    detail = str(found.get("detail") or f"{answer.request.url} answers {answer.status_code} {answer.reason_phrase}")
    code = str(found.get("code", ""))
    kind = SpeechFailed if code == "synthesis_failed" else _KINDS.get(answer.status_code, ServerRefused)
    retry_after_s = 0.0
    with suppress(ValueError):  # it may be a date, from a proxy
        retry_after_s = float(answer.headers.get("retry-after", 0))
    name = answer.headers.get("x-request-id", "")
    return kind(answer.status_code, detail, code, _first_field(found), retry_after_s, name)


def _first_field(problem: Mapping[str, object]) -> str | None:
    wrong = problem.get("errors")
    first = wrong[0] if isinstance(wrong, list) and wrong else None
    pointer = str(first.get("pointer", "")) if isinstance(first, dict) else ""
    return pointer.strip("/").replace("/", ".") or None
