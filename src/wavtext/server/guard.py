"""The gate in front of every route: pure ASGI, so that it costs little and streams stay streams.

In this order: known Host (DNS rebinding), same Origin and fetch metadata (pages elsewhere), rate,
token or cookie, CSRF, body limits.  On the way out: headers that tell browsers to trust nothing.
"""

import asyncio
import time
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wavtext.server.limits import RateLimiter, limited_receive, too_large
from wavtext.server.problems import Problem, internal_error, problem_response
from wavtext.server.sessions import Sessions
from wavtext.server.settings import ServerSettings

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_JSON_BYTES = 2**20
LOGIN_RATE, LOGIN_BURST = 0.2, 10  # wrong tokens a second, and at once, of one client
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "media-src 'self' blob:; connect-src 'self'; font-src 'self'; manifest-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Guard:
    """ASGI middleware that refuses what must not reach a route.

    Args:
        app: What is guarded.
        settings: Hosts, token and limits.
        sessions: Checks tokens, cookies and CSRF tokens.
        observe: Called after each request with (scope, status, seconds).
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: ServerSettings,
        sessions: Sessions,
        observe: Callable[[Scope, int, float], None] = lambda scope, status, seconds: None,
    ) -> None:
        self.app, self._settings, self._sessions, self._observe = app, settings, sessions, observe
        self._all = RateLimiter(settings.rate, settings.burst)
        self._heavy = RateLimiter(settings.heavy_rate, settings.heavy_burst)
        self._logins = RateLimiter(LOGIN_RATE, LOGIN_BURST)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0

        async def harden(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            refusal = self._check(scope)
            if refusal is not None:
                await refusal(scope, receive, harden)
            else:
                await self.app(scope, self._limit_body(scope, receive), harden)
        except asyncio.CancelledError:
            status = status or 499
            raise
        except HTTPException as error:  # from limited_receive, outside any route
            if status:
                raise
            await _response(error)(scope, receive, harden)
        except Exception as error:
            if status:  # the answer has begun: all that is left is to break the connection
                raise
            await internal_error(error, scope["path"])(scope, receive, harden)
        finally:
            self._observe(scope, status, time.perf_counter() - started)

    def _check(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        try:
            self._check_host(headers)
            self._check_origin(scope, headers)
            self._check_rate(scope)
            self._check_caller(scope, headers)
        except Problem as problem:
            if problem.status_code == 401 and scope["path"] == "/" and scope["method"] == "GET":
                return RedirectResponse("/login", status_code=303)
            return _response(problem)
        return None

    def _check_host(self, headers: Headers) -> None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._settings.allows_host(host_name(hosts[0])):
            raise Problem(
                421,
                "This server does not answer to that name.",
                help="Use the address it printed, or start it with --allow-host NAME.",
            )

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        origins = headers.getlist("origin")
        host = headers["host"].lower()
        if origins and origins not in ([f"http://{host}"], [f"https://{host}"]):
            raise Problem(403, "Pages from elsewhere may not use this server.")
        site = headers.get("sec-fetch-site", "none")
        if site in ("same-origin", "none"):
            return
        opens_page = (
            scope["method"] == "GET"
            and scope["path"] in ("/", "/login")
            and headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest") == "document"
        )
        if not opens_page:
            raise Problem(403, "Pages from elsewhere may not use this server.")

    def _check_rate(self, scope: Scope) -> None:
        client = _client(scope)
        limiter = self._all
        if scope["path"] == "/login" and scope["method"] == "POST":
            limiter = self._logins
        elif scope["method"] == "POST":
            limiter = self._heavy
        wait = limiter.wait_of(client)
        if wait > 0:
            raise _too_many(wait)

    def _check_caller(self, scope: Scope, headers: Headers) -> None:
        cookie = session_cookie(headers, self._sessions.cookie_name)
        has_session = self._sessions.valid(cookie)
        bearer = headers.get("authorization", "")
        has_token = False
        if bearer.startswith("Bearer ") and self._settings.token:
            if self._logins.exhausted(_client(scope)):  # right or wrong: guessing must not pay
                raise _too_many(1 / LOGIN_RATE)
            has_token = self._sessions.token_matches(bearer[7:])
            if not has_token:
                self._logins.wait_of(_client(scope))
        scope["wavtext.session"] = cookie if has_session else None
        scope["wavtext.token"] = has_token
        if self._settings.token and not (has_session or has_token or _is_public(scope)):
            raise Problem(
                401,
                "This server needs a token.",
                help="Send 'Authorization: Bearer TOKEN', or open /login.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if scope["method"] in SAFE_METHODS or has_token or not has_session or _is_public(scope):
            return
        if not self._sessions.csrf_matches(cookie or "", headers.get("x-csrf-token", "")):
            raise Problem(403, "The CSRF token is missing or stale.", help="Reload the page.")

    def _limit_body(self, scope: Scope, receive: Receive) -> Receive:
        if scope["method"] in SAFE_METHODS:
            return receive
        headers = Headers(scope=scope)
        multipart = headers.get("content-type", "").startswith("multipart/form-data")
        # A multipart body is the sound and some boundaries and fields around it.
        max_bytes = self._settings.max_upload_bytes + 2**16 if multipart else MAX_JSON_BYTES
        length = headers.get("content-length", "0")
        if length.isdecimal() and len(length) < 20 and int(length) > max_bytes:
            raise too_large(self._settings.max_upload_bytes if multipart else max_bytes)
        return limited_receive(receive, max_bytes=max_bytes, timeout=self._settings.upload_timeout)


def require_csrf(scope: Scope, sessions: Sessions) -> None:
    """Refuse what starts or changes something unless a page of ours or a token sent it."""
    if scope.get("wavtext.token"):
        return
    cookie = scope.get("wavtext.session")
    sent = Headers(scope=scope).get("x-csrf-token", "")
    if not cookie or not sessions.csrf_matches(cookie, sent):
        raise Problem(
            403,
            "This needs the page's cookie and its CSRF token.",
            help="GET /api/session gives both.",
        )


def _client(scope: Scope) -> str:
    return scope["client"][0] if scope.get("client") else "unknown"


def _too_many(wait: float) -> Problem:
    return Problem(429, "Too many requests.", headers={"Retry-After": str(max(1, round(wait)))})


def host_name(host: str) -> str:
    """The name in a Host header, without port and brackets: `[::1]:8765` -> `::1`."""
    if host.startswith("["):
        name, bracket, port = host[1:].partition("]")
        return name if bracket and (not port or port[1:].isdecimal()) else ""
    name, colon, port = host.partition(":")
    return name if not colon or port.isdecimal() else ""


def session_cookie(headers: Headers, name: str) -> str | None:
    """The session cookie's value, None when absent or malformed."""
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return None
    return morsel.value if morsel else None


def _is_public(scope: Scope) -> bool:
    path: str = scope["path"]
    return path in ("/healthz", "/login", "/favicon.ico") or path.startswith("/page/")


def _response(error: HTTPException) -> Response:
    headers = dict(error.headers) if error.headers else None
    help = getattr(error, "help", "")
    return problem_response(error.status_code, str(error.detail), help=help, headers=headers)
