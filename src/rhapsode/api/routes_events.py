"""News instead of questions: the events of one job, or of all jobs, as they happen."""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from functools import partial
from typing import Annotated

import msgspec
from fastapi import APIRouter, Header, Query, Request, Response, WebSocket, WebSocketDisconnect
from starlette.status import WS_1001_GOING_AWAY, WS_1008_POLICY_VIOLATION, WS_1013_TRY_AGAIN_LATER

from rhapsode.api.context import Context, Ctx, Reader, origin_allowed, root_of
from rhapsode.api.sse import COMMENT, EventStream, message
from rhapsode.errors import InvalidInput
from rhapsode.jobs.event_stream import Resync, all_events, envelope, job_events
from rhapsode.jobs.status import iso
from rhapsode.model import Caller, Job

router = APIRouter(tags=["events"])

_DIGITS = 18
_FIRST_S = 1.0
"""How long a WebSocket client has to say where it wants to begin."""
_SEND_S = 30.0
"""A WebSocket client that takes nothing for so long is cut off."""
_STREAM: Mapping[int | str, Mapping[str, object]] = {
    200: {"description": "Events.", "content": {"text/event-stream": {}}},
    204: {"description": "The job has ended, and all its events were seen."},
}


@router.get("/tts/{job_id}/events", responses={key: dict(value) for key, value in _STREAM.items()})
async def events_of_job(
    job_id: str,
    request: Request,
    ctx: Ctx,
    caller: Reader,
    after: Annotated[str | None, Query(description="`id` of the last event that was seen.")] = None,
    last_event_id: Annotated[str | None, Header(description="The same, as browsers send it; it wins.")] = None,
) -> Response:
    """What happens to the job, from `after` on, as server-sent events; ends with the job."""
    job = await ctx.service.living(job_id, caller)
    seen = _seq(last_event_id, "Last-Event-ID") if last_event_id else _seq(after, "after") if after else 0
    if job.status.is_terminal and seen == job.event_seq:
        return Response(status_code=204)
    refused = partial(ctx.gate.until_refused, request, caller)
    return EventStream(request, _job_pieces(ctx, request, job, seen), ctx.closing.wait, refused)


@router.get("/events", responses={200: dict(_STREAM[200])})
async def events_of_all(
    request: Request,
    ctx: Ctx,
    caller: Reader,
    cursor: Annotated[
        str | None, Query(description="`id` of the last event that was seen; without: from now on.")
    ] = None,
    last_event_id: Annotated[str | None, Header(description="The same, as browsers send it; it wins.")] = None,
) -> Response:
    """What happens to all your jobs, as server-sent events."""
    after = await _start(ctx, last_event_id or cursor, "Last-Event-ID" if last_event_id else "cursor")
    refused = partial(ctx.gate.until_refused, request, caller)
    return EventStream(request, _all_pieces(ctx, caller, after), ctx.closing.wait, refused)


@router.websocket("/ws")
async def websocket(socket: WebSocket, ctx: Ctx, caller: Reader) -> None:
    """The same over a WebSocket: each message is an envelope with its `cursor`."""
    if not origin_allowed(socket):
        await socket.close(WS_1008_POLICY_VIOLATION, "this origin is not allowed")
        return
    await socket.accept()
    try:
        after = await _start(ctx, socket.query_params.get("cursor") or await _asked(socket), "cursor")
    except (InvalidInput, WebSocketDisconnect) as error:
        with contextlib.suppress(RuntimeError):
            await socket.close(WS_1008_POLICY_VIOLATION, str(error)[:100])
        return
    tasks = [
        asyncio.ensure_future(work)
        for work in (
            _send_all(socket, ctx, caller, after),
            ctx.gate.until_refused(socket, caller),
            _left(socket),
            ctx.closing.wait(),
        )
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        behind, refused = (task.done() for task in tasks[:2])
        code = WS_1008_POLICY_VIOLATION if refused else WS_1013_TRY_AGAIN_LATER if behind else WS_1001_GOING_AWAY
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await socket.close(code)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _job_pieces(ctx: Context, request: Request, job: Job, seen: int) -> AsyncGenerator[bytes, None]:
    async with aclosing(job_events(ctx.service.shop, job.id, seen, ctx.beat_s)) as batches:
        async for batch in batches:
            if isinstance(batch, Resync):
                status = await ctx.service.status(batch.job or job, root_of(request))
                yield message(str(batch.at), "resync", {"job_id": job.id, "seq": batch.at, "data": status})
            else:
                yield (
                    b"".join(
                        message(str(event.seq), event.type, envelope(event, iso(event.at) or "")) for event in batch
                    )
                    or COMMENT
                )


async def _all_pieces(ctx: Context, caller: Caller, after: int) -> AsyncGenerator[bytes, None]:
    yield message(_cursor(after), "hello", {"cursor": _cursor(after)})
    async for cursor, type_, data in _envelopes(ctx, caller, after):
        yield message(cursor, type_, data) if type_ else COMMENT


async def _envelopes(
    ctx: Context, caller: Caller, after: int
) -> AsyncGenerator[tuple[str, str, Mapping[str, object]], None]:
    """Cursor, type and envelope of each event; an empty type says only that the stream is alive."""
    async with aclosing(all_events(ctx.service.shop, ctx.owners, caller.sees, after, ctx.beat_s)) as batches:
        async for at, batch in batches:
            if isinstance(batch, Resync):
                yield _cursor(at), "resync", {"type": "resync", "cursor": _cursor(at)}
            elif not batch:
                yield "", "", {}
            else:
                for event in batch:
                    yield _cursor(event.pos), event.type, envelope(event, iso(event.at) or "")


async def _send_all(socket: WebSocket, ctx: Context, caller: Caller, after: int) -> None:
    """Send until the client takes nothing more; uvicorn's pings tell whether it is there."""
    await socket.send_text(_json({"type": "hello", "cursor": _cursor(after)}))
    async for cursor, type_, data in _envelopes(ctx, caller, after):
        if type_:
            try:
                async with asyncio.timeout(_SEND_S):
                    await socket.send_text(_json({**data, "cursor": cursor}))
            except TimeoutError:
                return


async def _asked(socket: WebSocket) -> str | None:
    """Where the client's first message wants to begin: ``{"subscribe": {"cursor": …}}``; None when none comes."""
    try:
        async with asyncio.timeout(_FIRST_S):
            asked = msgspec.json.decode(await socket.receive_text())
    except TimeoutError:
        return None
    except (msgspec.DecodeError, KeyError):
        raise InvalidInput('the first message must be {"subscribe": {"cursor": "…"}}', "cursor") from None
    wanted = asked.get("subscribe") if isinstance(asked, dict) else None
    cursor = wanted.get("cursor") if isinstance(wanted, dict) else None
    return cursor if isinstance(cursor, str) else None


async def _left(socket: WebSocket) -> None:
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


async def _start(ctx: Context, cursor: str | None, field: str) -> int:
    if cursor is None:
        return (await ctx.service.shop.ledger.event_marks())[0]
    if not re.fullmatch(r"p[0-9a-f]{1,15}", cursor):
        raise InvalidInput(f"{field} must be the id of an earlier event of this stream; not {cursor[:40]!r}", field)
    return int(cursor[1:], 16)


def _cursor(pos: int) -> str:
    """Opaque to clients."""
    return f"p{pos:x}"


def _seq(text: str, field: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS:
        raise InvalidInput(f"{field} must be the id of an event, a whole number ≥ 0; not {text[:40]!r}", field)
    return int(text)


def _json(data: Mapping[str, object]) -> str:
    return msgspec.json.encode(data).decode()
