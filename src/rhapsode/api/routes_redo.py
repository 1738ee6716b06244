"""``POST /tts/{id}/segments/{n}/redo``: make one segment of a finished job again."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator

from rhapsode.api.body import SMALL_BYTES, described, read_body
from rhapsode.api.context import Ctx, Submitter, root_of
from rhapsode.api.schemas import RedoAccepted
from rhapsode.errors import NotFound
from rhapsode.jobs.remake import remake_segment
from rhapsode.jobs.status import links

router = APIRouter(tags=["segments"])

_DIGITS = 9


class RedoBody(BaseModel):
    """Body of a redo; may be left out. Unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    seed: int | None = Field(None, ge=-1, le=2**32 - 1, description="null, 0 and -1: another one than before.")
    text: str | None = Field(None, max_length=10_000, description="Another text for this segment; null: as it is.")

    @field_validator("text")
    @classmethod
    def _not_blank(cls, value: str | None) -> str | None:
        if value is not None and (not value or value.isspace()):
            raise ValueError("must not be blank")
        return value


@router.post(
    "/tts/{job_id}/segments/{n}/redo",
    status_code=202,
    openapi_extra=described(RedoBody, required=False),
    responses={202: {"model": RedoAccepted}},
)
async def redo(job_id: str, n: str, request: Request, ctx: Ctx, caller: Submitter) -> JSONResponse:
    """Make one segment of a completed job again; the job stays completed, and its result gets a new revision."""
    data = await read_body(request, SMALL_BYTES, setting="")
    asked = RedoBody.model_validate_json(b"{}" if data.strip() in (b"", b"null") else data)
    if not n.isascii() or not n.isdigit() or len(n) > _DIGITS:
        await ctx.service.living(job_id, caller)
        raise NotFound(f"there is no segment {n[:40]!r}", "n")
    parent, made = await remake_segment(ctx.service, job_id, int(n), caller, asked.seed, asked.text)
    root = root_of(request)
    about = {"job_id": made.id, "segment": int(n), "status": made.status.value, "links": links(made.id, root)}
    return JSONResponse(await ctx.service.status(parent, root) | {"redo": about}, 202)
