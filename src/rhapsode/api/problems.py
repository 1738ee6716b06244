"""The catalogue of errors: each word that a program may meet as ``code``, once. ``docs/errors.md`` is made from it."""

from dataclasses import dataclass

TYPE_PREFIX = "urn:rhapsode:problem:"


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of error."""

    code: str
    """Stable word for programs; also the end of ``type``."""
    statuses: tuple[int, ...]
    """HTTP statuses it comes with."""
    title: str
    meaning: str
    remedy: str

    @property
    def type(self) -> str:
        """The problem's URI (RFC 9457)."""
        return TYPE_PREFIX + self.code


_ALL = (
    Problem(
        "invalid_input", (400, 416, 422), "Invalid input",
        "A field, a parameter or a header is missing, of the wrong type or out of its bounds.",
        "Correct what `errors` names: `pointer` leads to it, `detail` gives its bounds.",
    ),
    Problem(
        "unauthorized", (401,), "Key needed",
        "No API key was sent, or one that is unknown, expired or revoked.",
        "Send `Authorization: Bearer <key>`, or sign in.",
    ),
    Problem(
        "forbidden", (403,), "Not granted",
        "The key does not grant this, or the request comes from another site.",
        "Use a key with the scope that `detail` names.",
    ),
    Problem(
        "not_found", (404,), "Not found",
        "There is no such address, job, batch, segment, voice or key, or it belongs to somebody else.",
        "Check the id; `GET /tts` lists the jobs.",
    ),
    Problem(
        "method_not_allowed", (405,), "Method not allowed",
        "The address exists, but not with this method.",
        "See the `Allow` header.",
    ),
    Problem(
        "conflict", (409,), "Not in this status",
        "The job's status does not allow this: a completed job cannot be cancelled, a running one not retried.",
        "Look at the job's status first.",
    ),
    Problem(
        "gone", (410,), "Gone",
        "The job was cancelled, deleted or has expired.",
        "A cancelled one comes back with `POST /tts/{id}/retry`; one that was deleted or has expired does not.",
    ),
    Problem(
        "too_large", (413,), "Too large",
        "The body or the text is over a set limit, which `detail` names.",
        "Split the text, or raise the limit.",
    ),
    Problem(
        "too_early", (425,), "Not finished yet",
        "The job is queued or running.",
        "Ask again after `Retry-After` seconds, send `Prefer: wait=60`, follow `GET /tts/{id}/events`, or listen to `GET /tts/{id}/audio`.",
    ),
    Problem(
        "quota_exceeded", (429,), "Quota used up",
        "A limit of the key is used up; `limit` names it.",
        "Send it again after `Retry-After` seconds.",
    ),
    Problem(
        "internal", (500,), "Internal error",
        "Something that nobody expected.",
        "The server's log has the cause under the `request_id`; please report it.",
    ),
    Problem(
        "synthesis_failed", (500,), "Synthesis failed",
        "A segment could not be spoken; `detail` names it.",
        "Change the text, or `POST /tts/{id}/retry`: what is spoken already is kept.",
    ),
    Problem(
        "engine_not_loaded", (500,), "Engine not loaded",
        "The engine could not be loaded with its settings as they are now; what ran before goes on.",
        "`detail` says why: correct the settings, or `rhapsode doctor`, and load it again.",
    ),
    Problem(
        "unavailable", (503,), "Cannot take work now",
        "The engine is unloaded, or too many jobs wait.",
        "Send it again after `Retry-After` seconds.",
    ),
    Problem(
        "storage_full", (507,), "Disk full",
        "Free disk space is below `limits.min_free_disk_mb`.",
        "Free some; jobs that wait go on by themselves.",
    ),
    Problem(
        "http_error", (), "HTTP error",
        "The request could not be understood as HTTP.",
        "See `detail`.",
    ),
)  # fmt: skip

CATALOGUE = {problem.code: problem for problem in _ALL}


def catalogue_page() -> str:
    """``docs/errors.md``."""
    lines = [
        "# Errors",
        "",
        "<!-- Made from src/rhapsode/api/problems.py by scripts/docs.py; do not edit. -->",
        "",
        "Every error is `application/problem+json` ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)): `type`, `title`, `status`, `code`, `detail`",
        "(one sentence for people), `request_id` (also the header `X-Request-Id`, and in the server's log), and `errors` with one entry per wrong",
        "field: `pointer` (a JSON pointer into the body, or the name of a parameter or header) and `detail`. `type` and `code` never change.",
        "`/v1/…` answers in OpenAI's form instead.",
        "",
    ]
    for problem in _ALL:
        statuses = ", ".join(map(str, problem.statuses)) or "any"
        lines += [
            f"## `{problem.code}`",
            "",
            f"{problem.title} · status {statuses} · `{problem.type}`",
            "",
            f"{problem.meaning} {problem.remedy}",
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"
