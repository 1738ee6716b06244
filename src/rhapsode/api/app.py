"""The ASGI application."""

import asyncio
from importlib.metadata import version

from fastapi import FastAPI
from starlette.routing import Route

from rhapsode.api import (
    errors,
    openapi,
    routes_batches,
    routes_dictionary,
    routes_engines,
    routes_events,
    routes_health,
    routes_history,
    routes_jobs,
    routes_keys,
    routes_metrics,
    routes_openai,
    routes_page,
    routes_plan,
    routes_redo,
    routes_segments,
    routes_session,
    routes_settings,
    routes_speech,
    routes_timeline,
    routes_uploads,
    routes_voices,
    routes_webhooks,
)
from rhapsode.api.auth import Gate
from rhapsode.api.context import Context
from rhapsode.api.cors import Cors
from rhapsode.api.guard import Guard
from rhapsode.api.hosts import Hosts
from rhapsode.api.request_id import RequestId
from rhapsode.api.root_path import RootPath
from rhapsode.config import Loaded
from rhapsode.config_file import ConfigFile
from rhapsode.jobs.event_stream import Owners
from rhapsode.jobs.service import JobService

_PARTS = (
    routes_speech,
    routes_openai,
    routes_events,
    routes_plan,
    routes_batches,
    routes_history,
    routes_jobs,
    routes_voices,
    routes_uploads,
    routes_engines,
    routes_settings,
    routes_dictionary,
    routes_keys,
    routes_session,
    routes_segments,
    routes_redo,
    routes_timeline,
    routes_webhooks,
    routes_health,
    routes_metrics,
    routes_page,  # last: it has an address for all that is left
)


def routes() -> list[Route]:
    """Everything that is answered over HTTP, in the order in which addresses are compared."""
    return [route for part in _PARTS for route in part.router.routes if isinstance(route, Route)]


def create_app(loaded: Loaded, service: JobService, local_token: str = "") -> FastAPI:
    """Build the application around a running service; whoever calls this starts and stops the service.

    Args:
        loaded: All settings, and where they come from.
        service: What answers.
        local_token: Grants everything to whoever sends it as a key; empty: there is none.
    """
    settings = loaded.settings
    app = FastAPI(
        title="Rhapsode",
        version=version("rhapsode"),
        description="A text-to-speech server that never loses work.",
        docs_url=None,  # ours needs no other site
        redoc_url=None,
    )
    gate = Gate(service.shop, settings.auth, Hosts(settings.server, settings.auth.origins), local_token)
    app.state.context = Context(service, settings, Owners(service.shop), gate, ConfigFile(loaded))
    app.add_middleware(Cors, gate=gate)
    app.add_middleware(Guard, gate=gate)
    app.add_middleware(RequestId)
    app.add_middleware(routes_metrics.Measure, metrics=service.shop.metrics)
    app.add_middleware(RootPath, root=settings.server.root_path)
    errors.install(app, routes())
    for part in _PARTS:
        app.include_router(part.router)
    openapi.install(app)
    return app


def closing_of(app: FastAPI) -> asyncio.Event:
    """To be set when the server is about to end, so that endless answers end too."""
    context: Context = app.state.context
    return context.closing
