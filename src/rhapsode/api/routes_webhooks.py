"""Be told: endpoints that messages are sent to, and what became of the messages."""

import base64
from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from rhapsode.api.body import described, read_small
from rhapsode.api.context import Ctx, Reader, SameSite, Submitter
from rhapsode.api.schemas import Message
from rhapsode.errors import InvalidInput
from rhapsode.jobs.status import iso
from rhapsode.ledger.outbox import Delivery, DeliveryStatus, Endpoint

router = APIRouter(prefix="/webhooks", tags=["webhooks"])

_MOST = 500


class EndpointBody(BaseModel):
    """Body of ``POST /webhooks``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(description="http or https.")
    types: list[str] | None = Field(None, description="What to be told of; the ends of jobs when left out.")
    secret: str | None = Field(None, description="whsec_ and base64 of 24 to 64 bytes; made when left out.")


class EndpointChange(BaseModel):
    """Body of ``PATCH /webhooks/{id}``; what is left out stays."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str | None = None
    types: list[str] | None = None
    enabled: bool | None = None


@router.post("", status_code=201, openapi_extra=described(EndpointBody), dependencies=[SameSite])
async def create(request: Request, ctx: Ctx, caller: Submitter) -> JSONResponse:
    """Register an endpoint. Its secret is shown now and when it is rotated, and never again."""
    body = await read_small(request, EndpointBody)
    endpoint = await ctx.service.webhooks.create(caller, body.url, body.types, body.secret)
    return JSONResponse({**_shown(endpoint), "secret": endpoint.secret}, 201)


@router.get("")
async def endpoints(ctx: Ctx, caller: Reader) -> JSONResponse:
    """Your endpoints, oldest first."""
    return JSONResponse({"endpoints": [_shown(found) for found in await ctx.service.webhooks.endpoints(caller)]})


@router.get("/secret", dependencies=[SameSite])
async def secret(ctx: Ctx, caller: Submitter) -> JSONResponse:
    """What signs messages to the `webhook_url` of your jobs."""
    return JSONResponse({"secret": ctx.service.webhooks.secret(caller)}, headers={"Cache-Control": "no-store"})


@router.get("/deliveries")
async def deliveries(
    ctx: Ctx,
    caller: Reader,
    status: Annotated[DeliveryStatus | None, Query(description="Only deliveries of this status.")] = None,
    job_id: Annotated[str | None, Query(description="Only of this job.")] = None,
    endpoint_id: Annotated[str | None, Query(description="Only to this endpoint.")] = None,
    limit: Annotated[int, Query(ge=1, le=_MOST, description="Most deliveries in one answer.")] = 50,
    cursor: Annotated[str | None, Query(description="``next_cursor`` of the answer before.")] = None,
) -> JSONResponse:
    """What was sent or is to be sent, newest first."""
    before = _read_cursor(cursor) if cursor else None
    found = await ctx.service.webhooks.deliveries(caller, status, job_id, endpoint_id, before, limit + 1)
    following = _cursor_behind(found[limit - 1]) if len(found) > limit else None
    return JSONResponse({"deliveries": [_told(one) for one in found[:limit]], "next_cursor": following})


@router.get("/deliveries/{delivery_id}")
async def delivery(delivery_id: str, ctx: Ctx, caller: Reader) -> JSONResponse:
    """One delivery with its payload."""
    found = await ctx.service.webhooks.delivery(delivery_id, caller)
    return JSONResponse({**_told(found), "payload": found.payload})


@router.post("/deliveries/{delivery_id}/replay", status_code=202, dependencies=[SameSite])
async def replay(delivery_id: str, ctx: Ctx, caller: Submitter) -> JSONResponse:
    """Send it again now, under the same id."""
    return JSONResponse(_told(await ctx.service.webhooks.replay(delivery_id, caller)), 202)


@router.get("/{endpoint_id}")
async def endpoint(endpoint_id: str, ctx: Ctx, caller: Reader) -> JSONResponse:
    """One endpoint."""
    return JSONResponse(_shown(await ctx.service.webhooks.endpoint(endpoint_id, caller)))


@router.patch("/{endpoint_id}", openapi_extra=described(EndpointChange), dependencies=[SameSite])
async def change(endpoint_id: str, request: Request, ctx: Ctx, caller: Submitter) -> JSONResponse:
    """Change it, switch it off, or switch it on again."""
    body = await read_small(request, EndpointChange)
    changed = await ctx.service.webhooks.change(endpoint_id, caller, body.url, body.types, body.enabled)
    return JSONResponse(_shown(changed))


@router.delete("/{endpoint_id}", responses={200: {"model": Message}}, dependencies=[SameSite])
async def remove(endpoint_id: str, ctx: Ctx, caller: Submitter) -> JSONResponse:
    """Delete it; what waits for it is not sent."""
    await ctx.service.webhooks.remove(endpoint_id, caller)
    return JSONResponse({"message": f"Webhook endpoint {endpoint_id} deleted"})


@router.post("/{endpoint_id}/rotate", dependencies=[SameSite])
async def rotate(endpoint_id: str, ctx: Ctx, caller: Submitter) -> JSONResponse:
    """Give it a new secret, which signs every message from now on."""
    changed = await ctx.service.webhooks.rotate(endpoint_id, caller)
    return JSONResponse({**_shown(changed), "secret": changed.secret}, headers={"Cache-Control": "no-store"})


@router.post("/{endpoint_id}/test", status_code=202, dependencies=[SameSite])
async def test(endpoint_id: str, ctx: Ctx, caller: Submitter) -> JSONResponse:
    """Send it a `webhook.test`."""
    return JSONResponse(_told(await ctx.service.webhooks.test(endpoint_id, caller)), 202)


def _shown(found: Endpoint) -> Mapping[str, object]:
    return {
        "id": found.id,
        "url": found.url,
        "types": list(found.types),
        "enabled": found.disabled_at is None,
        "created_at": iso(found.created_at),
        "disabled_at": iso(found.disabled_at),
        "disabled_because": found.disabled_because,
    }


def _told(found: Delivery) -> Mapping[str, object]:
    return {
        "id": found.id,
        "endpoint_id": found.endpoint_id,
        "job_id": found.job_id,
        "batch_id": found.batch_id,
        "url": found.url,
        "type": found.type,
        "status": found.status.value,
        "tries": found.tries,
        "created_at": iso(found.created_at),
        "next_at": iso(found.next_at),
        "delivered_at": iso(found.delivered_at),
        "last_try_at": iso(found.last_try_at),
        "last_status": found.last_status,
        "last_error": found.last_error,
    }


def _cursor_behind(found: Delivery) -> str:
    """Opaque to clients: the sort key of the last one they saw."""
    return base64.urlsafe_b64encode(f"{found.created_at.hex()} {found.id}".encode()).decode().rstrip("=")


def _read_cursor(text: str) -> tuple[float, str]:
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
        at, _, id_ = raw.partition(" ")
        return float.fromhex(at), id_
    except (ValueError, OverflowError):
        raise InvalidInput("cursor must be the next_cursor of an earlier answer", "cursor") from None
