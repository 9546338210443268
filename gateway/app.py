"""The gateway as an ASGI application."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from importlib.metadata import version

from fastapi import FastAPI
from starlette.types import ASGIApp

from gateway import errors
from gateway.context import open_gateway
from gateway.routes import demo, events, health, nodes, prompts, workflows
from gateway.security import AccessToken, BodyLimit, HostGuard
from gateway.settings import Settings


def create_app(settings: Settings) -> ASGIApp:
    """The gateway with all its layers, from the outside: errors, Host and Origin, token, size, routes."""
    app: ASGIApp = _routes(settings)
    app = BodyLimit(app, limit=settings.max_body_bytes)
    if settings.access_token is not None:
        app = AccessToken(app, token=settings.access_token)
    return errors.Shield(HostGuard(app, settings=settings))


def _routes(settings: Settings) -> FastAPI:
    app = FastAPI(
        title="Innkeeper",
        version=version("innkeeper"),
        lifespan=_lifespan(settings),
        # These pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    for module in (prompts, events, nodes, workflows, health, demo):
        app.include_router(module.router)
    errors.install(app)
    return app


def _lifespan(settings: Settings):  # type: ignore[no-untyped-def]  # FastAPI's own type of it is private
    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_gateway(settings) as gateway:
            app.state.gateway = gateway
            yield

    return lifespan
