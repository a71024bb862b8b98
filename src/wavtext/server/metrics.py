"""What the server did, for Prometheus.  Requests and states in -> the text of /metrics out."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import Scope

BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 120.0)  # s
METHODS = frozenset({"GET", "HEAD", "POST", "DELETE"})


class Metrics:
    """One registry for each application, so that two in a process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "wavtext_requests_total",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "wavtext_request_seconds",
            "Time to answer.",
            ["route"],
            buckets=BUCKETS,
            registry=self.registry,
        )

    def observe(self, scope: Scope, status: int, seconds: float) -> None:
        """Count one request, by its route's template, so that ids do not make labels."""
        route = getattr(scope.get("route"), "path", "other")
        method = (
            scope["method"] if scope["method"] in ("GET", "POST", "DELETE", "HEAD") else "other"
        )
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A value that is read when asked for."""
        Gauge(name, text, registry=self.registry).set_function(read)

    def render(self) -> bytes:
        """The exposition text, version 0.0.4."""
        return generate_latest(self.registry)
