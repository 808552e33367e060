"""What the service counts, for Prometheus to read."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """Counters of one service, in a registry of its own.

    Args:
        waiting: gives how many examples have been taken and not been answered.
    """

    def __init__(self, waiting: Callable[[], float]) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "vaekit_requests", "Requests that were answered, by route and status.", ["route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "vaekit_request_seconds",
            "Seconds from the head of a request to the end of its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._batches = Histogram(
            "vaekit_batch_examples", "Examples that were computed at once.", ["kind"], buckets=_SIZES, registry=self._registry
        )
        self._examples = Counter("vaekit_examples", "Examples that were computed.", ["kind"], registry=self._registry)
        queue = Gauge("vaekit_queue_examples", "Examples taken and not yet answered.", registry=self._registry)
        queue.set_function(waiting)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def computed(self, kind: str, examples: int) -> None:
        """Count a batch."""
        self._batches.labels(kind).observe(examples)
        self._examples.labels(kind).inc(examples)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)
