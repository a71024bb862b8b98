"""How much one client may ask: token buckets, and bodies that end in time and in size."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.types import Message, Receive

from wavtext.server.problems import Problem


class RateLimiter:
    """A token bucket for each client; the least recent clients are forgotten.

    Args:
        rate: Requests a second that a client may sustain.
        burst: Requests that it may make at once.
        max_clients: Buckets kept.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        rate: float,
        burst: int,
        *,
        max_clients: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate, self._burst, self._max_clients, self._clock = rate, burst, max_clients, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # (tokens, at s)

    def exhausted(self, client: str) -> bool:
        """Whether there is no token left, without taking one."""
        tokens, at = self._buckets.get(client, (float(self._burst), 0.0))
        return tokens + (self._clock() - at) * self._rate < 1.0

    def wait_of(self, client: str) -> float:
        """Take one token; 0 when there was one, else the seconds until there is."""
        now = self._clock()
        tokens, at = self._buckets.pop(client, (float(self._burst), now))
        tokens = min(float(self._burst), tokens + (now - at) * self._rate)
        allowed = tokens >= 1.0
        self._buckets[client] = (tokens - 1.0 if allowed else tokens, now)
        if len(self._buckets) > self._max_clients:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1.0 - tokens) / self._rate


def limited_receive(receive: Receive, *, max_bytes: int, timeout: float) -> Receive:
    """`receive` that refuses a body over `max_bytes`, or not complete after `timeout` seconds."""
    state = {"bytes": 0, "complete": False, "deadline": time.monotonic() + timeout}

    async def limited() -> Message:
        if state["complete"]:
            return await receive()
        try:
            message = await asyncio.wait_for(
                receive(), max(0.0, state["deadline"] - time.monotonic())
            )
        except TimeoutError as error:
            raise Problem(408, f"The request's body took longer than {timeout:g} s.") from error
        if message["type"] == "http.request":
            state["bytes"] += len(message.get("body", b""))
            state["complete"] = not message.get("more_body", False)
            if state["bytes"] > max_bytes:
                raise too_large(max_bytes)
        return message

    return limited


def too_large(max_bytes: int) -> Problem:
    """The refusal of a body over the limit."""
    return Problem(
        413,
        f"The upload is larger than {max_bytes / 2**20:g} MiB.",
        help="Cut the sound, or convert it to FLAC or MP3.",
    )
