"""The ASGI application."""

import asyncio
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from rhapsode.api import (
    errors,
    openapi,
    routes_events,
    routes_health,
    routes_history,
    routes_jobs,
    routes_speech,
    routes_voices,
    routes_webhooks,
)
from rhapsode.api.context import Context
from rhapsode.api.request_id import RequestId
from rhapsode.jobs.event_stream import Owners
from rhapsode.jobs.service import JobService
from rhapsode.settings import Settings


def create_app(settings: Settings, service: JobService) -> FastAPI:
    """Build the application around a running service; whoever calls this starts and stops the service."""
    app = FastAPI(
        title="Rhapsode",
        version=version("rhapsode"),
        description="A text-to-speech server that never loses work.",
        root_path=settings.server.root_path,
    )
    app.state.context = Context(service, settings, Owners(service.shop))
    app.add_middleware(
        CORSMiddleware,
        allow_origins=["*", "null"],
        allow_methods=["GET", "POST", "OPTIONS", "PATCH", "DELETE"],
        allow_headers=["*"],
        expose_headers=["Content-Disposition", "Retry-After", "X-Job-Id", "X-Seed", "X-Warnings", "X-Request-Id"],
    )
    app.add_middleware(RequestId)
    errors.install(app)
    for routes in (
        routes_speech,
        routes_events,
        routes_history,
        routes_jobs,
        routes_voices,
        routes_webhooks,
        routes_health,
    ):
        app.include_router(routes.router)
    openapi.install(app)
    return app


def closing_of(app: FastAPI) -> asyncio.Event:
    """To be set when the server is about to end, so that endless answers end too."""
    context: Context = app.state.context
    return context.closing
