"""The ASGI application.  A library and settings -> an app for uvicorn, or for tests."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from wavtext import __version__
from wavtext.library.library import SoundLibrary
from wavtext.server import problems, routes_clips, routes_library, routes_page, routes_search
from wavtext.server.guard import Guard
from wavtext.server.schemas import ErrorResponse
from wavtext.server.services import Services
from wavtext.server.settings import ServerSettings

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorResponse}
    for status in (400, 401, 403, 404, 408, 409, 410, 413, 416, 421, 422, 429, 503)
}


def create_app(library: SoundLibrary, settings: ServerSettings | None = None) -> FastAPI:
    """The application over one library; it closes the library when it ends.

    Args:
        library: The sounds; make it with `model=CachedModel(...)` to answer many askers at once.
        settings: Who may ask, and how much; loopback without a token when None.
    """
    settings = settings or ServerSettings()
    services = Services(library, settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        yield
        services.close()

    app = FastAPI(
        title="wavtext",
        version=__version__,
        summary="Find sounds by describing them.",
        openapi_url="/api/openapi.json",
        docs_url=None,  # both would load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        responses=ERRORS,
    )
    app.state.services = services
    problems.install(app)
    for module in (routes_search, routes_clips, routes_library, routes_page):
        app.include_router(module.router)
    app.add_middleware(
        Guard, settings=settings, sessions=services.sessions, observe=services.metrics.observe
    )
    return app
