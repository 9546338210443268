"""The gateway as an ASGI application."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from functools import cache
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from innkeeper.gateway.api import (
    callbacks,
    characters,
    codec,
    console,
    control,
    demo,
    error_handlers,
    events,
    external_events,
    file_manager,
    files,
    health,
    hooks,
    internal,
    metrics,
    model_settings,
    nodes,
    openapi,
    plugins,
    projects,
    prompts,
    runs,
    socket_tickets,
    triggers,
    usage,
    users,
    workflows,
)
from innkeeper.gateway.api.cross_origin import CrossOrigin
from innkeeper.gateway.api.middleware import AccessToken, BodyLimit, HostGuard
from innkeeper.gateway.api.socket_tickets import SocketTickets
from innkeeper.gateway.container import open_container
from innkeeper.gateway.settings import Settings, worker_token
from innkeeper.nodes.worker_protocol import demo_token


def _with_token(app: ASGIApp, settings: Settings, tickets: SocketTickets) -> ASGIApp:
    # Asked when it is needed: the file of the workers' token may not be there before the data directory is ours.
    token_of_demo = cache(lambda: demo_token(worker_token(settings)))
    assert settings.access_token is not None
    token = settings.access_token.get_secret_value()
    return AccessToken(app, token=token, demo_token=token_of_demo, take_ticket=tickets.take)


class GatewayApp:
    """The gateway with all its layers, from the outside: Host and Origin, CORS, errors, token, size, routes.

    Attributes:
        failure: Why it could not start; a server that runs the app only tells that it did not.
        routes: The routes, without the layers around them.
    """

    def __init__(self, settings: Settings) -> None:
        self.failure: Exception | None = None
        self.routes = self._routes(settings)
        self.routes.state.socket_tickets = self._tickets = SocketTickets()
        # A page must be able to read errors as well: CORS stands outside of what makes them.
        shielded = error_handlers.Shield(self._guarded(settings))
        readable = CrossOrigin(shielded, origins=settings.allowed_origins, codec_origins=settings.codec_origins)
        self._layers = HostGuard(readable, settings=settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def without_traceback(message: Message) -> None:
            await send({**message, "message": ""} if message["type"] == "lifespan.startup.failed" else message)

        await self._layers(scope, receive, without_traceback if scope["type"] == "lifespan" else send)

    def _guarded(self, settings: Settings) -> ASGIApp:
        app: ASGIApp = BodyLimit(self.routes, limit=settings.max_body_bytes, file_limit=settings.max_file_bytes)
        return app if settings.access_token is None else _with_token(app, settings, self._tickets)

    def _routes(self, settings: Settings) -> FastAPI:
        app = _app(lifespan=self._lifespan(settings), routes=list(_all_routes()))
        error_handlers.install(app)
        return app

    def _lifespan(self, settings: Settings):  # type: ignore[no-untyped-def]  # FastAPI's own type of it is private
        @contextlib.asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[None]:
            async with contextlib.AsyncExitStack() as stack:
                try:
                    app.state.container = await stack.enter_async_context(open_container(settings))
                except Exception as error:
                    self.failure = error
                    raise
                yield

        return lifespan


def _app(**options: Any) -> FastAPI:
    return FastAPI(
        title="Innkeeper",
        version=version("innkeeper"),
        # These pages load scripts from elsewhere; the document has a route of its own (api/openapi.py).
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        generate_unique_id_function=_operation_id,
        **options,
    )


@cache
def _all_routes() -> tuple[BaseRoute, ...]:
    """Shared by all gateways of a process: FastAPI takes 70 ms to look at the functions behind them."""
    app = _app()
    for module in (
        hooks,  # routes are tried one by one: those that programs call hundreds of times a second come first
        *(prompts, runs, callbacks, control, external_events, events, triggers, nodes, plugins),
        *(workflows, projects, files),
        *(file_manager, characters, users, model_settings),
        *(health, metrics, usage, demo, openapi, socket_tickets, console, codec),
        internal,
    ):
        app.include_router(module.router)
    return tuple(app.router.routes)


def _operation_id(route: APIRoute) -> str:
    """Clients are generated with these names: the route function's, unless the route has one of its own."""
    return route.name


def create_app(settings: Settings) -> GatewayApp:
    """The gateway as settings have it. Nothing is opened before it starts."""
    return GatewayApp(settings)
