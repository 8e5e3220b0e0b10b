"""The server's counters, for Prometheus.

Labels are the pattern of a route and the id of a run, so the number of series is bounded, whatever the requests contain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

#: Media type of `Metrics.render`.
CONTENT_TYPE = CONTENT_TYPE_LATEST
#: Upper bounds of the histogram's buckets, in seconds.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Counters of one server, in a registry of their own. Thread-safe."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        by_request, registry = ("method", "route", "status"), self._registry
        self._requests = Counter("tellapart_requests", "Requests answered.", by_request, registry=registry)
        self._errors = Counter(
            "tellapart_errors", "Requests answered with a status of 400 or more.", by_request, registry=registry
        )
        self._seconds = Histogram(
            "tellapart_request_seconds", "Time from the first line of a request to its response.", ("route",),
            registry=registry, buckets=BUCKETS,
        )  # fmt: skip
        self._images = Counter("tellapart_images", "Images received for prediction.", ("run", "outcome"), registry=registry)
        self._batches = Counter("tellapart_batches", "Batches predicted.", ("run",), registry=registry)
        self._queue = Gauge("tellapart_queue", "Images waiting for prediction.", ("run",), registry=registry)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request that was answered after `seconds`."""
        self._requests.labels(method, route, status).inc()
        if status >= 400:
            self._errors.labels(method, route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def batch(self, run: str, images: int, bad: int) -> None:
        """Count one batch of `images` images, of which `bad` could not be read."""
        self._batches.labels(run).inc()
        self._images.labels(run, "answered").inc(images - bad)
        self._images.labels(run, "refused").inc(bad)

    def unreadable(self, run: str) -> None:
        """Count one image that could not be decoded, and so is in no batch."""
        self._images.labels(run, "refused").inc()

    def render(self, waiting: Mapping[str, int]) -> bytes:
        """All metrics in Prometheus' text format.

        Args:
            waiting: Number of images in the queue of each run.
        """
        for run, images in waiting.items():
            self._queue.labels(run).set(images)
        return generate_latest(_WithoutCreated(self._registry))


class _WithoutCreated(Collector):
    """A registry without the `_created` series, which the library can only switch off for the whole process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """The metrics of the registry."""
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric
