"""What is counted while serving: one set of counters, shown as JSON for people and as text for Prometheus.

Owns its registry and its clock, so that two apps in one process don't share numbers. Every label is bounded: routes are
templates, methods and results come from fixed lists, and of model versions the newest `MAX_VERSIONS` are kept apart.
Counters start at 0 with the process; they are this process's own.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, exposition
from prometheus_client.openmetrics import exposition as openmetrics

from classifier.record import Prediction

MAX_VERSIONS = 20
OLDER = "older"
"""The label under which the counts of all model versions before the newest `MAX_VERSIONS` go on being counted."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

DURATION_BUCKETS = tuple(1e-4 * 10 ** (step / 8) for step in range(41))
"""100 µs to 10 s, eight to a decade: a quantile read off them is within 33 % of the true one, mostly much closer."""

CONFIDENCE_BUCKETS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


class Metrics:
    """Counters of one app."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._started = clock, clock()
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "http_requests", "Requests answered", ["method", "route", "status"], registry=self.registry
        )
        self._durations = Histogram(
            "http_request_duration_seconds",
            "Time from the first byte of a request to the last of its reply",
            ["route"],
            buckets=DURATION_BUCKETS,
            registry=self.registry,
        )
        self._predictions = Counter(
            "model_predictions", "Rows predicted", ["model_version", "label"], registry=self.registry
        )
        self._confidence = Histogram(
            "model_prediction_confidence",
            "Largest probability of each predicted row",
            buckets=CONFIDENCE_BUCKETS,
            registry=self.registry,
        )
        self._model = Gauge(
            "model_info",
            "1 for the model that is served",
            ["model_version", "registry_version"],
            registry=self.registry,
        )
        self._reloads = Counter(
            "model_reloads", "Models loaded, or refused and why they weren't", ["result"], registry=self.registry
        )
        for result in ("loaded", "refused", "unavailable"):
            self._reloads.labels(result)
        self._observer_errors = Counter(
            "observer_errors", "Predictions that something watching them failed to take", registry=self.registry
        )
        Gauge("process_uptime_seconds", "Seconds since the start", registry=self.registry).set_function(self.uptime)
        self._versions: dict[str, set[str]] = {}

    def uptime(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._started

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts a request. `route` must be a template, never a path that a caller chose."""
        self._requests.labels(method if method in METHODS else "other", route, str(status)).inc()
        self._durations.labels(route).observe(seconds)

    def observe(self, prediction: Prediction) -> None:
        labels = self._versions.get(prediction.model_version)
        if labels is None:
            labels = self._admit(prediction.model_version)
        labels.add(prediction.label)
        self._predictions.labels(prediction.model_version, prediction.label).inc()
        self._confidence.observe(prediction.confidence)

    def _admit(self, version: str) -> set[str]:
        """Makes room for a version: the one admitted first has its counts moved to `OLDER`."""
        if len(self._versions) >= MAX_VERSIONS:
            oldest = next(iter(self._versions))
            for label in self._versions.pop(oldest):
                count = self.registry.get_sample_value(
                    "model_predictions_total", {"model_version": oldest, "label": label}
                )
                self._predictions.remove(oldest, label)
                self._predictions.labels(OLDER, label).inc(count or 0)
        return self._versions.setdefault(version, set())

    def observer_error(self) -> None:
        self._observer_errors.inc()

    def reload(self, result: str) -> None:
        """Counts a look at the registry that changed or failed something: `loaded`, `refused` or `unavailable`."""
        self._reloads.labels(result).inc()

    def serving(self, model_version: str, registry_version: str) -> None:
        """From now on this is the model that is served."""
        self._model.clear()
        self._model.labels(model_version, registry_version).set(1)

    def text(self, accept: str) -> tuple[bytes, str]:
        """Every counter as OpenMetrics text if the Accept header names it, else as Prometheus', with its content type.

        The library's own choice parses the header's parameters, and fails on odd ones.
        """
        if "application/openmetrics-text" in accept:
            text: bytes = openmetrics.generate_latest(self.registry)  # type: ignore[no-untyped-call]
            return text, openmetrics.CONTENT_TYPE_LATEST
        return exposition.generate_latest(self.registry), exposition.CONTENT_TYPE_LATEST

    def snapshot(self) -> dict[str, Any]:
        """The same counters for people. What nothing has been counted for is null, not 0."""
        samples = {family.name: family.samples for family in self.registry.collect()}
        by_class: defaultdict[str, int] = defaultdict(int)
        by_version: defaultdict[str, int] = defaultdict(int)
        for sample in _named(samples["model_predictions"], "_total"):
            by_class[sample.labels["label"]] += int(sample.value)
            by_version[sample.labels["model_version"]] += int(sample.value)
        requests: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
        for sample in _named(samples["http_requests"], "_total"):
            requests[sample.labels["route"]][sample.labels["status"]] += int(sample.value)
        errors = {
            route: {status: count for status, count in counts.items() if status >= "400"}
            for route, counts in requests.items()
        }
        predicted = [s for s in samples["http_request_duration_seconds"] if s.labels.get("route") == "/predict"]
        confidence = samples["model_prediction_confidence"]
        return {
            "predictions_total": sum(by_class.values()),
            "predictions_by_class": dict(by_class),
            "predictions_by_version": dict(by_version),
            "mean_confidence": _mean(confidence),
            "latency_ms": {
                "mean": _milliseconds(_mean(predicted)),
                **{f"p{share}": _milliseconds(_quantile(predicted, share / 100)) for share in (50, 95, 99)},
            },
            "requests_total": sum(sum(counts.values()) for counts in requests.values()),
            "requests": {route: dict(counts) for route, counts in requests.items()},
            "errors_total": sum(sum(counts.values()) for counts in errors.values()),
            "errors": {route: counts for route, counts in errors.items() if counts},
            "uptime_seconds": round(self.uptime(), 3),
        }


def _named(samples: Iterable[Any], ending: str) -> list[Any]:
    return [sample for sample in samples if sample.name.endswith(ending)]


def _mean(samples: Iterable[Any]) -> float | None:
    samples = list(samples)
    count: float = sum(float(sample.value) for sample in _named(samples, "_count"))
    total: float = sum(float(sample.value) for sample in _named(samples, "_sum"))
    return total / count if count else None


def _quantile(samples: Iterable[Any], share: float) -> float | None:
    """The quantile of a histogram, interpolated linearly in its bucket, as Prometheus' `histogram_quantile` does."""
    buckets = [(float(sample.labels["le"]), float(sample.value)) for sample in _named(samples, "_bucket")]
    if not buckets or not buckets[-1][1]:
        return None
    rank = share * buckets[-1][1]
    lower, below = 0.0, 0.0
    for upper, cumulative in buckets:
        if cumulative >= rank:
            if math.isinf(upper):
                return lower
            return lower + (upper - lower) * (rank - below) / (cumulative - below)
        lower, below = upper, cumulative
    return lower


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
