"""Browsers sign in once with a key and get a cookie that no script can read."""

import secrets
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from rhapsode.api.auth import COOKIE
from rhapsode.api.body import described, read_small
from rhapsode.api.context import Ctx, SameSite, root_of
from rhapsode.errors import InvalidInput, Unauthorized
from rhapsode.jobs.keys import digest_of
from rhapsode.model import LOCAL, Caller

router = APIRouter(tags=["session"])

_DAY_S = 86_400


class SignIn(BaseModel):
    """What a browser shows once."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    key: object = Field(description="The key, as text.")


@router.post("/session", dependencies=[SameSite], openapi_extra=described(SignIn))
async def sign_in(request: Request, ctx: Ctx) -> JSONResponse:
    """Sign this browser in with a key."""
    ctx.gate.count_login(request.client.host if request.client else "")
    body = await read_small(request, SignIn)
    if not isinstance(body.key, str) or not body.key:
        raise InvalidInput("key must be text that is not empty", "key")  # what was sent is not repeated
    caller = await ctx.gate.caller_of(body.key.strip())
    if caller.key_id is None:
        raise Unauthorized("this key is unknown")
    token, lifetime_s = secrets.token_urlsafe(32), ctx.settings.auth.session_days * _DAY_S
    await ctx.service.shop.access.open_session(digest_of(token), caller.key_id, lifetime_s)
    answer = JSONResponse(_state(caller, await ctx.gate.is_closed()), headers={"Cache-Control": "no-store"})
    answer.set_cookie(
        COOKIE,
        token,
        max_age=int(lifetime_s),
        path=root_of(request) or "/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return answer


@router.get("/session")
async def session(request: Request, ctx: Ctx) -> JSONResponse:
    """Who you are to this server."""
    is_closed = await ctx.gate.is_closed()
    try:
        caller = await ctx.gate.identify(request) if is_closed else LOCAL
    except Unauthorized:
        caller = None
    return JSONResponse(_state(caller, is_closed), headers={"Cache-Control": "no-store"})


@router.delete("/session", status_code=204, dependencies=[SameSite])
async def sign_out(request: Request, ctx: Ctx) -> Response:
    """Sign this browser out."""
    if token := request.cookies.get(COOKIE):
        await ctx.service.shop.access.close_session(digest_of(token))
        ctx.gate.changed()
    answer = Response(status_code=204)
    answer.delete_cookie(COOKIE, path=root_of(request) or "/", httponly=True, samesite="strict")
    return answer


def _state(caller: Caller | None, auth_required: bool) -> dict[str, Any]:
    return {
        "signed_in": caller is not None and auth_required,
        "owner": caller.owner if caller else None,
        "scopes": sorted(caller.scopes) if caller else [],
        "auth_required": auth_required,
    }
