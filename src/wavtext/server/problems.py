"""Errors as the API shows them: one JSON shape, a status for each kind, never a stack trace."""

import json
import logging
import secrets
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response

from wavtext.errors import (
    AudioError,
    LibraryError,
    ModelError,
    ModelMismatchError,
    QueryError,
    WavtextError,
)

log = logging.getLogger("wavtext.server")

CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    409: "conflict",
    410: "gone",
    413: "too_large",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
    421: "misdirected_request",
    422: "unprocessable",
    429: "too_many_requests",
    500: "internal",
    503: "busy",
}


class Json(JSONResponse):
    """JSON in ASCII, so that a file name that is not Unicode comes through as escapes."""

    def render(self, content: Any) -> bytes:
        """Bytes of the body; NaN is a mistake of ours."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


class Problem(HTTPException):
    """A request that cannot be answered, with what the caller can do about it."""

    def __init__(
        self, status: int, message: str, *, help: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(status, message, headers)
        self.help = help


def problem_response(
    status: int, message: str, *, help: str = "", headers: dict[str, str] | None = None
) -> Json:
    """The JSON that every refusal and failure has."""
    error: dict[str, Any] = {"code": CODES.get(status, "error"), "message": message}
    if help:
        error["help"] = help
    return Json({"error": error}, status_code=status, headers=headers)


def internal_error(error: Exception, what: str) -> Json:
    """A 500 that names an entry in the log, where the traceback is, and nothing else."""
    reference = secrets.token_hex(4)
    log.error("%s failed [%s]", what, reference, exc_info=error)
    return problem_response(
        500, f"Something broke here (reference {reference}).", help="The server's log says what."
    )


def install(app: FastAPI) -> None:
    """Turn every exception of a route into a problem."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(WavtextError, _wavtext)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers) if error.headers else None
    help = getattr(error, "help", "")
    return problem_response(error.status_code, str(error.detail), help=help, headers=headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return problem_response(422, f"{place}: {first['msg']}")


async def _wavtext(request: Request, error: Exception) -> Response:
    assert isinstance(error, WavtextError)
    message = error.args[0] if error.args else str(error)
    if isinstance(error, AudioError | QueryError | ModelError):
        return problem_response(422, message, help=error.help)
    if isinstance(error, ModelMismatchError):
        return problem_response(409, message, help=error.help)
    if isinstance(error, LibraryError):
        log.warning("%s: %s", request.url.path, error)
        return problem_response(503, message, help=error.help)
    return internal_error(error, request.url.path)
