"""Who asks: bearer tokens, the page's signed cookie, and the CSRF token that belongs to it.

Nothing is stored: a session is `expiry.nonce.signature` under a key made at start, so a restart
ends all sessions, and no request can fill memory.
"""

import hmac
import secrets
import time
from collections.abc import Callable
from hashlib import sha256

from wavtext.server.settings import ServerSettings


class Sessions:
    """Checks tokens in constant time; makes and checks the page's cookie.

    Args:
        settings: The token, the port (cookies do not tell ports apart, so it is in the name) and
            how long a session lives.
        clock: Seconds since the epoch.
    """

    def __init__(self, settings: ServerSettings, clock: Callable[[], float] = time.time) -> None:
        self.cookie_name = f"wavtext_session_{settings.port}"
        self._settings = settings
        self._clock = clock
        self._key = secrets.token_bytes(32)

    def token_matches(self, token: str) -> bool:
        """Whether `token` is the server's; takes equally long however much of it is right."""
        expected = self._settings.token
        if expected is None:
            return False
        return hmac.compare_digest(
            sha256(token.encode()).digest(), sha256(expected.encode()).digest()
        )

    def create(self) -> str:
        """A new cookie value."""
        expiry = int(self._clock() + self._settings.session_duration)
        body = f"{expiry}.{secrets.token_urlsafe(16)}"
        return f"{body}.{self._sign('session', body)}"

    def valid(self, cookie: str | None) -> bool:
        """Whether this server made the cookie, and it has not expired."""
        if not cookie or len(cookie) > 200 or not cookie.isascii():
            return False
        body, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature, self._sign("session", body)):
            return False
        return int(body.partition(".")[0]) > self._clock()

    def csrf_token(self, cookie: str) -> str:
        """What a page with this cookie must send along to change or start anything."""
        return self._sign("csrf", cookie)

    def csrf_matches(self, cookie: str, token: str) -> bool:
        """Whether the CSRF token belongs to the cookie."""
        return _same(token, self.csrf_token(cookie))

    def set_cookie(self, value: str, *, secure: bool) -> str:
        """The Set-Cookie header for a session."""
        parts = [
            f"{self.cookie_name}={value}",
            "Path=/",
            f"Max-Age={int(self._settings.session_duration)}",
            "HttpOnly",
            "SameSite=Strict",
        ]
        return "; ".join([*parts, "Secure"] if secure else parts)

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose}:{text}".encode(), sha256).hexdigest()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(sha256(one.encode()).digest(), sha256(other.encode()).digest())
