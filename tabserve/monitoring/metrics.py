"""What is counted while serving: one set of counters, shown as JSON for people and as text for Prometheus.

Owns its registry and its clock, so two apps in one process share no numbers. Every label is bounded: routes are
templates, methods and results come from fixed lists, and only the newest `MAX_VERSIONS` model versions are counted
apart. The counters belong to this process and start at 0 with it.
"""

import threading
import time
from collections import Counter as Totals
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, exposition
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from tabserve.inference import BatchPrediction, Prediction
from tabserve.model import Task
from tabserve.monitoring import comparison
from tabserve.monitoring.comparison import ShadowComparison
from tabserve.monitoring.histogram import Histogram, rounded
from tabserve.monitoring.service_metrics import ServiceMetrics
from tabserve.monitoring.tasks import MONITORING, Counts

MAX_VERSIONS = 20
OLDER = "older"
"""The model version under which the counts of all versions before the newest `MAX_VERSIONS` are added up."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

DURATION_BUCKETS = tuple(1e-4 * 10 ** (step / 8) for step in range(-8, 41))
"""10 µs to 10 s, eight buckets per decade: a quantile is within 33 % of the true one, and mostly much closer."""


class CountsByVersion(dict[str, Counts]):
    """Model version → counts. A new version gets its counts when it is first looked up. If there are too many versions
    then, the counts of the one that came first are added to those of `OLDER`."""

    def __init__(self, counts: type[Counts]) -> None:
        super().__init__()
        self._new = counts

    def __missing__(self, version: str) -> Counts:
        versions = [known for known in self if known != OLDER]
        if len(versions) >= MAX_VERSIONS:
            oldest = self.pop(versions[0])
            self.setdefault(OLDER, self._new()).merge(oldest)
        counts = self[version] = self._new()
        return counts


class Metrics(Collector):
    """The counters of one app. Thread-safe.

    What every request counts is kept here in plain numbers, and becomes metrics of prometheus_client only when they are
    collected: its own counters would take as long as a whole prediction.

    Attributes:
        service: what is measured of the service itself, and not of requests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._clock, self._started = clock, clock()
        self._lock = threading.Lock()
        self._requests: dict[tuple[str, str, int], int] = {}
        self._durations: dict[str, Histogram] = {}
        self._predictions = {kind.outcome: CountsByVersion(kind.counts) for kind in MONITORING.values()}
        self._comparisons: dict[tuple[str, str], ShadowComparison] = {}
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self.service = ServiceMetrics(self.registry, clock)
        self._observer_errors = Counter(
            "observer_errors", "Predictions that something watching them failed to take", registry=self.registry
        )
        Gauge("process_uptime_seconds", "Seconds since the start", registry=self.registry).set_function(self.uptime)

    def uptime(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._started

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts a request. `route` must be a template, never a path that a caller chose."""
        key = (method if method in METHODS else "other", route, status)
        with self._lock:
            self._requests[key] = self._requests.get(key, 0) + 1
            duration = self._durations.get(route)
            if duration is None:
                duration = self._durations[route] = Histogram(DURATION_BUCKETS)
            duration.add(seconds)

    def observe(self, prediction: Prediction) -> None:
        outcome = prediction.outcome
        with self._lock:
            self._predictions[type(outcome)][prediction.model_version].add(outcome)

    def observe_batch(self, batch: BatchPrediction) -> None:
        kind = MONITORING[batch.schema.task.kind]
        counts = kind.counts.of(batch.outcomes)
        with self._lock:  # held as briefly as for one row, because single predictions wait for it
            self._predictions[kind.outcome][batch.model_version].merge(counts)

    def comparison(self, champion: str, challenger: str, task: Task) -> ShadowComparison:
        """The comparison of two model versions, which goes on if there was one before. The newest `MAX_VERSIONS` pairs
        are kept."""
        with self._lock:
            pair = champion, challenger
            comparison = self._comparisons.pop(pair, None) or ShadowComparison(champion, challenger, task)
            while len(self._comparisons) >= MAX_VERSIONS:
                del self._comparisons[next(iter(self._comparisons))]
            self._comparisons[pair] = comparison
        return comparison

    def observer_error(self) -> None:
        """Counts a record that an observer failed to take."""
        self._observer_errors.inc()

    def collect(self) -> Iterable[Metric]:
        """For `prometheus_client`: the metrics that aren't counters of its own."""
        requests = CounterMetricFamily("http_requests", "Requests answered", labels=["method", "route", "status"])
        durations = HistogramMetricFamily(
            "http_request_duration_seconds",
            "Time from the first byte of a request until the socket has its reply",
            labels=["route"],
        )
        predictions: list[Metric] = []
        with self._lock:
            for (method, route, status), count in self._requests.items():
                requests.add_metric([method, route, str(status)], count)
            for route, duration in self._durations.items():
                durations.add_metric([route], duration.cumulative(), duration.sum)
            for kind in MONITORING.values():
                predictions += kind.counts.collect(self._predictions[kind.outcome])
            comparisons = list(self._comparisons.values())
        return [requests, durations, *predictions, *comparison.collect(comparisons)]

    def text(self, accept: str) -> tuple[bytes, str]:
        """All counters with their content type: OpenMetrics text if the Accept header names it, else Prometheus text.

        prometheus_client can choose too, but it parses the header's parameters and fails on odd ones.
        """
        if "application/openmetrics-text" in accept:
            generate: Callable[[CollectorRegistry], bytes] = openmetrics.generate_latest  # it has no annotations
            return generate(self.registry), openmetrics.CONTENT_TYPE_LATEST
        return exposition.generate_latest(self.registry), exposition.CONTENT_TYPE_LATEST

    def snapshot(self) -> dict[str, Any]:
        """The same counters for `/metrics`, by key. What nothing was counted for is null, not 0."""
        by_version: Totals[str] = Totals()
        by_task: dict[str, Any] = {}
        requests: defaultdict[str, dict[str, int]] = defaultdict(dict)
        with self._lock:
            for kind in MONITORING.values():
                counts = self._predictions[kind.outcome]
                by_version.update({version: counted.rows for version, counted in counts.items()})
                by_task |= kind.counts.summary(counts)
            for (_, route, status), count in self._requests.items():
                requests[route][str(status)] = requests[route].get(str(status), 0) + count
            predict = self._durations.get("/predict", Histogram(DURATION_BUCKETS))
            latency = {"mean": predict.mean} | {
                f"p{percent}": predict.quantile(percent / 100) for percent in (50, 95, 99)
            }
        errors = {
            route: {status: count for status, count in counts.items() if status >= "400"}
            for route, counts in requests.items()
        }
        return {
            "predictions_total": by_version.total(),
            "predictions_by_version": dict(by_version),
            **by_task,
            "latency_ms": {name: rounded(seconds, 3, factor=1000) for name, seconds in latency.items()},
            "requests_total": sum(sum(counts.values()) for counts in requests.values()),
            "requests": dict(requests),
            "errors_total": sum(sum(counts.values()) for counts in errors.values()),
            "errors": {route: counts for route, counts in errors.items() if counts},
            "uptime_seconds": round(self.uptime(), 3),
            **self.service.snapshot(),
        }
