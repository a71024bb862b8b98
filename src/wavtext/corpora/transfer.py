"""One HTTP transfer into one partial file, resumed if possible.  A URL -> bytes, or why not.

Every address on the way, redirects included, is checked before it is asked and again by the peer's
address before a byte of the answer is read.
"""

import ipaddress
import json
import socket
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from wavtext.corpora.apt import file_checksum

if TYPE_CHECKING:
    import httpx

_MAX_REDIRECTS = 5
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_HEADERS = {
    "User-Agent": "wavtext-collect (research; one file at a time; resumes)",
    "Accept-Encoding": "identity",  # byte ranges of compressed bodies do not add up
}


class RefusedError(Exception):
    """This URL will not give the file, however often it is asked."""


class TryAgainError(Exception):
    """This URL may give the file later."""

    def __init__(self, message: str, *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after  # s, as the server asked; 0: it did not


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferOptions:
    """Limits of one transfer."""

    timeout: float = 30.0  # s without an answer or a byte
    max_duration: float = 1800.0  # s for one file: a trickle is cut and resumed later
    max_bytes: int = 1 << 30  # of one file
    allow_private: bool = False  # also fetch from this machine and its local network


def transfer(
    url: str, partial: Path, client: "httpx.Client", options: TransferOptions
) -> tuple[int, str]:
    """Fetch `url` into `partial`, going on where it ends if it is of the same file.

    Returns:
        Bytes and checksum of the whole file.

    Raises:
        RefusedError: The answer is final: 404, too large, a web page, a private address.
        TryAgainError: Time-out, reset, truncation, 429, 5xx; what came so far is kept.
    """
    import httpx

    note = partial.with_name(partial.name + ".json")  # which file the partial one is of
    deadline = time.monotonic() + options.max_duration
    try:
        _follow(url, partial, note, client, options, deadline)
    except _RestartError:
        partial.unlink(missing_ok=True)
        raise
    except httpx.TimeoutException as error:
        raise TryAgainError(f"time-out after {options.timeout:g} s") from error
    except httpx.TransportError as error:
        raise TryAgainError(f"broken connection ({type(error).__name__}: {error})") from error
    except (httpx.InvalidURL, UnicodeError) as error:
        raise RefusedError(f"not a URL: {error}") from error
    note.unlink(missing_ok=True)
    return partial.stat().st_size, file_checksum(partial)


def _follow(
    asked: str,
    partial: Path,
    note: Path,
    client: "httpx.Client",
    options: TransferOptions,
    deadline: float,
) -> None:
    have, validator = _resumable(asked, partial, note)
    url = asked
    for _ in range(_MAX_REDIRECTS + 1):
        check_url(url, allow_private=options.allow_private)
        headers = dict(_HEADERS)
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": validator}
        with client.stream("GET", url, headers=headers) as response:
            _check_peer(response, options)
            if response.is_redirect:
                url = urljoin(url, response.headers["location"])
                continue
            have = _check_answer(response, have, options)
            _note(note, response, asked)
            _write(response, partial, have, options, deadline)
            return
    raise RefusedError(f"more than {_MAX_REDIRECTS} redirects")


def check_url(url: str, *, allow_private: bool) -> None:
    """Refuse what is not plain HTTP(S), or names an address that is not on the public internet."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise RefusedError(f"not a web address: {url}")
    if allow_private:
        return
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 80, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError) as error:
        if urllib.request.getproxies():
            return  # names may be the proxy's to resolve
        raise TryAgainError(f"no address for {parts.hostname}: {error}") from error
    for *_, address in found:
        if is_private(str(address[0])):
            raise RefusedError(f"private address: {parts.hostname} is {address[0]}")


def is_private(address: str) -> bool:
    """Whether an IP address is this machine's, the local network's, or otherwise not public."""
    try:
        parsed = ipaddress.ip_address(address.split("%")[0])
    except ValueError:
        return True
    mapped = getattr(parsed, "ipv4_mapped", None)
    return not (mapped or parsed).is_global or parsed.is_multicast


def _check_peer(response: "httpx.Response", options: TransferOptions) -> None:
    # The name may have been resolved anew for the connection, to another address than we checked.
    stream: Any = response.extensions.get("network_stream")
    peer = stream.get_extra_info("server_addr") if stream is not None else None
    if not peer or options.allow_private or urllib.request.getproxies():
        return
    if is_private(str(peer[0])):
        raise RefusedError(f"private address: {response.url.host} is {peer[0]}")


def _check_answer(response: "httpx.Response", have: int, options: TransferOptions) -> int:
    """From which byte on the body is; raises when it is not the file."""
    status = response.status_code
    if status in _AGAIN:
        raise TryAgainError(f"HTTP {status}", retry_after=_retry_after(response))
    if status == 416 and have:
        raise _RestartError("HTTP 416")
    if status not in (200, 206):
        raise RefusedError(f"HTTP {status}")
    if response.headers.get("content-type", "").lower().startswith("text/html"):
        raise RefusedError("a web page, not a sound")
    start = 0
    if status == 206:
        start = _range_start(response)
        if start != have:
            raise _RestartError(f"asked for byte {have}, got {start}")
    length = response.headers.get("content-length", "")
    if length.isdigit() and start + int(length) > options.max_bytes:
        raise RefusedError(f"too large: {start + int(length)} bytes")
    return start


class _RestartError(TryAgainError):
    """The partial file is of no use; begin anew."""


def _write(
    response: "httpx.Response", partial: Path, start: int, options: TransferOptions, deadline: float
) -> None:
    size = start
    with partial.open("r+b" if start else "wb") as file:
        file.truncate(start)
        file.seek(start)
        for block in response.iter_raw():  # as it arrives: what a chunk size holds back is lost
            if size == 0 and _is_web_page(block):
                raise RefusedError("a web page, not a sound")
            size += len(block)
            if size > options.max_bytes:
                file.truncate(0)
                raise RefusedError(f"too large: more than {options.max_bytes} bytes")
            file.write(block)
            if time.monotonic() > deadline:
                raise TryAgainError(f"not done after {options.max_duration:g} s")
    expected = response.headers.get("content-length", "")
    if expected.isdigit() and size - start != int(expected):
        raise TryAgainError(f"cut short: {size - start} of {expected} bytes")
    if size == 0:
        raise TryAgainError("no bytes")


def _is_web_page(block: bytes) -> bool:
    head = block[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return head.startswith((b"<!doctype", b"<html", b"<head", b"<?xml"))


def _resumable(url: str, partial: Path, note: Path) -> tuple[int, str]:
    """How many bytes of this URL's file are there, and the validator that says it is unchanged."""
    if partial.is_file() and note.is_file():
        with suppress(OSError, ValueError, KeyError, TypeError):
            values = json.loads(note.read_text(encoding="utf-8"))
            if values["asked"] == url and values["validator"]:
                return partial.stat().st_size, values["validator"]
    return 0, ""


def _note(note: Path, response: "httpx.Response", asked: str) -> None:
    # A weak ETag does not vouch for bytes. Without a validator a resumed file could be two files.
    etag = response.headers.get("etag", "")
    strong = etag if etag and not etag.startswith("W/") else ""
    validator = strong or response.headers.get("last-modified", "")
    note.write_text(json.dumps({"asked": asked, "validator": validator}), encoding="utf-8")


def _retry_after(response: "httpx.Response") -> float:
    value = response.headers.get("retry-after", "")
    return float(value) if value.isdigit() else 0.0


def _range_start(response: "httpx.Response") -> int:
    value = response.headers.get("content-range", "")
    start = value.removeprefix("bytes ").split("-")[0]
    return int(start) if start.isdigit() else -1
