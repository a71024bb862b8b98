"""The page itself, signing in, and what monitors ask."""

from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from wavtext import __version__
from wavtext.server.problems import Json, Problem
from wavtext.server.schemas import OkResponse, SessionResponse, TokenRequest
from wavtext.server.services import Services, Shared

router = APIRouter()

PAGE = Path(__file__).parent / "page"
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}


@router.get("/", include_in_schema=False)
async def index(request: Request, services: Shared) -> Response:
    """The page, with a session cookie where no token is asked for."""
    return _with_session(_asset("index.html"), request, services)


@router.get("/login", include_in_schema=False)
async def login_page() -> Response:
    """Where people enter the token; the address printed at start carries it behind a '#'."""
    return _asset("login.html")


@router.post("/login", response_model=OkResponse, include_in_schema=False)
async def login(body: TokenRequest, request: Request, services: Shared) -> Response:
    """A session cookie for the right token."""
    if services.settings.token is not None and not services.sessions.token_matches(body.token):
        raise Problem(401, "That is not the token.", help="The server printed it when it started.")
    return _with_session(Json({"ok": True}), request, services)


@router.get("/page/{name:path}", include_in_schema=False)
async def asset(name: str) -> Response:
    """A file of the page."""
    return _asset(name)


@router.get("/favicon.ico", include_in_schema=False)
async def favicon() -> Response:
    """The icon, for browsers that do not look where the page says."""
    return _asset("icon.svg")


@router.get("/api/session", response_model=SessionResponse)
async def session(request: Request, services: Shared) -> Response:
    """The CSRF token of the caller's cookie (made when there is none), and what the page may do."""
    settings = services.settings
    cookie = request.scope.get("wavtext.session") or services.sessions.create()
    client = request.client.host if request.client else ""
    response = Json(
        {
            "csrf_token": services.sessions.csrf_token(cookie),
            "can_reveal": settings.reveals_to(client),
            "can_index": True,
            "max_upload_bytes": settings.max_upload_bytes,
            "max_upload_duration": settings.max_upload_duration,
            "version": __version__,
        }
    )
    return _with_session(response, request, services, cookie)


@router.get("/healthz", response_model=OkResponse)
async def healthz() -> Json:
    """Whether the server answers."""
    return Json({"ok": True})


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(services: Shared) -> Response:
    """Prometheus's exposition format."""
    return Response(services.metrics.render(), media_type=CONTENT_TYPE_LATEST)


def _with_session(
    response: Response, request: Request, services: Services, cookie: str | None = None
) -> Response:
    if request.scope.get("wavtext.session") is None:
        value = cookie or services.sessions.create()
        secure = request.headers.get("origin", "").startswith("https:")
        secure = secure or request.url.scheme == "https"
        response.headers["Set-Cookie"] = services.sessions.set_cookie(value, secure=secure)
    return response


def _asset(name: str) -> Response:
    path = PAGE / name
    known = path.suffix in MEDIA_TYPES and ".." not in path.parts and path.is_file()
    if not known or not path.resolve().is_relative_to(PAGE.resolve()):
        raise Problem(404, "There is no such page.")
    headers = {"Cache-Control": "no-cache"}
    return FileResponse(path, media_type=MEDIA_TYPES[path.suffix], headers=headers)
