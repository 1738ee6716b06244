"""``GET /metrics``, and the measure of every request."""

import math
import time

from fastapi import APIRouter, Request, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rhapsode.api.context import Ctx, Reader
from rhapsode.jobs.metrics import Metrics
from rhapsode.jobs.service import JobService

router = APIRouter(tags=["health"])

_NO_ROUTE = "unmatched"


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"description": "Prometheus text, or OpenMetrics.", "content": {"text/plain": {}}}},
)
async def metrics(request: Request, ctx: Ctx, _: Reader) -> Response:
    """What a monitoring system wants to know (docs/operations.md)."""
    found = ctx.service.shop.metrics
    await _look(found, ctx.service)
    text, media_type = found.text(request.headers.get("accept", ""))
    return Response(text, headers={"Content-Type": media_type, "Cache-Control": "no-store"})


async def _look(found: Metrics, service: JobService) -> None:
    """Look up what has a present value."""
    shop, overview = service.shop, service.scheduler.overview
    if found.counts_are_old():
        found.counted((await shop.ledger.counts()).jobs)
    found.queue_jobs.set(len(overview))
    found.queue_chars.set(overview.chars_left)
    free = {slot.id for slot in shop.fleet.free_slots()}
    for kind in ("bulk", "express"):
        slots = [slot.id for slot in shop.fleet.slots() if slot.express == (kind == "express")]
        idle = sum(slot in free for slot in slots)
        found.workers.labels(kind, "idle").set(idle)
        found.workers.labels(kind, "busy").set(len(slots) - idle)
    for check, state in (await service.readiness()).items():
        found.ready.labels(check).set(state == "ok")
    for name, store in (("takes", shop.takes), ("results", shop.results)):
        try:
            space: float | None = await store.free_bytes()
        except OSError:  # which "ready" tells of
            space = math.nan
        if space is not None:
            found.disk_free.labels(name).set(space)


class Measure:
    """ASGI middleware: how long requests take, by the template of their route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and measure."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        began = time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", _NO_ROUTE)
            self._metrics.answered(scope["method"], route, status, time.perf_counter() - began)
