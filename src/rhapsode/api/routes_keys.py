"""Keys: make, list, change, renew and end them. For administrators, and while no key is needed for everybody."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from rhapsode.api.body import described, read_small
from rhapsode.api.context import Admin, Ctx, Reader, SameSite
from rhapsode.errors import InvalidInput, NotFound
from rhapsode.jobs.keys import KeyWish, create_key, rotate_key
from rhapsode.jobs.status import iso
from rhapsode.ledger.access import ApiKey
from rhapsode.model import NO_LIMITS, Limits, Priority, Scope

router = APIRouter(tags=["keys"])

_NO_STORE = {"Cache-Control": "no-store"}
_MOST = 2**53
_LATEST = datetime(9999, 12, 31, tzinfo=UTC)
Bound = Annotated[int | None, Field(ge=0, le=_MOST)]


class LimitsBody(BaseModel):
    """What the owner of a key is granted; null is without bound."""

    model_config = ConfigDict(extra="forbid")

    requests_per_minute: Annotated[int | None, Field(ge=1, le=1_000_000)] = None
    queued_jobs: Bound = None
    chars_per_day: Bound = None
    stored_bytes: Bound = None
    priority: str = Field("interactive", pattern="^(interactive|normal|batch)$")

    def limits(self) -> Limits:
        """As the ledger keeps them."""
        return Limits(**self.model_dump() | {"priority": Priority[self.priority.upper()]})


class KeyChanges(BaseModel):
    """What is to be changed of a key; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field("", min_length=1, max_length=100)
    scopes: set[Scope] = Field(default_factory=lambda: {Scope.SUBMIT, Scope.READ}, min_length=1)
    limits: LimitsBody | None = None
    expires_at: AwareDatetime | None = Field(None, description="ISO 8601 with offset; null: never.")


class KeyBody(KeyChanges):
    """A key to make."""

    name: str = Field(min_length=1, max_length=100)
    owner: str | None = Field(
        None, pattern=r"^[\w.@-]{1,64}$", description="Keys of one owner share jobs; null: a new owner."
    )


@router.post("/keys", status_code=201, dependencies=[SameSite], openapi_extra=described(KeyBody))
async def create(request: Request, ctx: Ctx, _: Admin) -> JSONResponse:
    """Make a key. `secret` is in this answer and nowhere else. The first key must grant `admin`."""
    body = await read_small(request, KeyBody)
    limits = body.limits.limits() if body.limits else NO_LIMITS
    wish = KeyWish(body.name, frozenset(body.scopes), body.owner, limits, _expiry(ctx, body.expires_at))
    key, secret = await create_key(ctx.service.shop.access, wish, ctx.service.shop.clock)
    ctx.gate.changed()
    return JSONResponse(shown(key) | {"secret": secret}, 201, headers=_NO_STORE | {"Location": f"/keys/{key.id}"})


@router.get("/keys")
async def list_(ctx: Ctx, _: Admin) -> list[dict[str, Any]]:
    """All keys, oldest first, without their secrets."""
    return [shown(key) for key in await ctx.service.shop.access.list_keys()]


@router.get("/keys/{key_id}")
async def get(key_id: str, ctx: Ctx, _: Admin) -> dict[str, Any]:
    """One key, without its secret."""
    return shown(await _key(ctx, key_id))


@router.patch("/keys/{key_id}", dependencies=[SameSite], openapi_extra=described(KeyChanges))
async def change(key_id: str, request: Request, ctx: Ctx, _: Admin) -> dict[str, Any]:
    """Change name, scopes, limits or expiry of a key."""
    body = await read_small(request, KeyChanges)
    given = body.model_fields_set
    key = await _key(ctx, key_id)
    key = replace(
        key,
        name=body.name if "name" in given else key.name,
        scopes=frozenset(body.scopes) if "scopes" in given else key.scopes,
        limits=(body.limits.limits() if body.limits else NO_LIMITS) if "limits" in given else key.limits,
        expires_at=_expiry(ctx, body.expires_at) if "expires_at" in given else key.expires_at,
    )
    await ctx.service.shop.access.change_key(key)
    ctx.gate.changed()
    return shown(key)


@router.delete("/keys/{key_id}", status_code=204, dependencies=[SameSite])
async def revoke(key_id: str, ctx: Ctx, _: Admin) -> None:
    """End a key and its sessions at once. The server still needs a key, even when this was the last one."""
    await ctx.service.shop.access.revoke_key(key_id)
    ctx.gate.changed()


@router.post("/keys/{key_id}/rotate", dependencies=[SameSite])
async def rotate(key_id: str, ctx: Ctx, _: Admin) -> JSONResponse:
    """Give a key another secret; the old one and its sessions end at once."""
    key, secret = await rotate_key(ctx.service.shop.access, key_id)
    ctx.gate.changed()
    return JSONResponse(shown(key) | {"secret": secret}, headers=_NO_STORE)


@router.get("/usage")
async def usage(ctx: Ctx, caller: Reader) -> dict[str, Any]:
    """What you use now, and your limits (null: none). Days are UTC."""
    found = await ctx.service.shop.access.usage(caller.owner)
    used = {name: getattr(found, name) for name in found.__dataclass_fields__}
    return {"owner": caller.owner, "used": used, "limits": _limits(caller.limits)}


def shown(key: ApiKey) -> dict[str, Any]:
    """A key as clients see it."""
    return {
        "id": key.id,
        "owner": key.owner,
        "name": key.name,
        "hint": key.hint,
        "scopes": sorted(key.scopes),
        "limits": _limits(key.limits),
        **{name: iso(getattr(key, name)) for name in ("created_at", "expires_at", "revoked_at", "last_used_at")},
    }


def _limits(limits: Limits) -> dict[str, Any]:
    found = {name: getattr(limits, name) for name in limits.__dataclass_fields__}
    return found | {"priority": limits.priority.name.lower()}


def _expiry(ctx: Ctx, at: datetime | None) -> float | None:
    if at is None:
        return None
    if not datetime.fromtimestamp(ctx.service.shop.clock(), UTC) < at <= _LATEST:
        bounds = f"in the future and not after {_LATEST.isoformat()} (null: never)"
        raise InvalidInput(f"expires_at must be {bounds}; not {at.isoformat()}", "expires_at")
    return at.timestamp()


async def _key(ctx: Ctx, key_id: str) -> ApiKey:
    key = await ctx.service.shop.access.get_key(key_id)
    if key is None:
        raise NotFound(f"there is no key {key_id[:40]!r}", "id")
    return key
