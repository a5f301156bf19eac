"""What is counted while serving: one set of counters, shown as JSON for people and as text for Prometheus.

Owns its registry and its clock, so that two apps in one process don't share numbers. Every label is bounded: routes are
templates, methods and results come from fixed lists, and of model versions the newest `MAX_VERSIONS` are kept apart.
Counters start at 0 with the process; they are this process's own.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, exposition
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from tabserve.inference.records import BatchPrediction, Prediction
from tabserve.monitoring.comparison import ShadowComparison
from tabserve.monitoring.histogram import Histogram

MAX_VERSIONS = 20
OLDER = "older"
"""The label under which the counts of all model versions before the newest `MAX_VERSIONS` go on being counted."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

DURATION_BUCKETS = tuple(1e-4 * 10 ** (step / 8) for step in range(41))
"""100 µs to 10 s, eight to a decade: a quantile read off them is within 33 % of the true one, mostly much closer."""

CONFIDENCE_BUCKETS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


class Metrics(Collector):
    """Counters of one app. Any thread may count.

    What is counted for every request is counted here, in plain numbers, and shown to the library when it collects: its
    own counters would take as long as the whole prediction.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._started = clock, clock()
        self._lock = threading.Lock()
        self._requests: dict[tuple[str, str, int], int] = {}
        self._durations: dict[str, Histogram] = {}
        self._predictions: dict[str, dict[str, int]] = {}
        self._confidence = Histogram(CONFIDENCE_BUCKETS)
        self._tallies: dict[tuple[str, str], ShadowComparison] = {}
        self.registry = CollectorRegistry()
        self.registry.register(self)
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
        with self._lock:
            labels = self._labels(prediction.model_version)
            label = prediction.outcome.label
            labels[label] = labels.get(label, 0) + 1
            self._confidence.add(prediction.outcome.confidence)

    def observe_batch(self, batch: BatchPrediction) -> None:
        counts = np.bincount(batch.outcomes.prediction, minlength=len(batch.schema.task.classes)).tolist()
        confidence = self._confidence.of(batch.outcomes.confidence)
        with self._lock:  # held no longer than for one row: who answers single predictions waits for it
            labels = self._labels(batch.model_version)
            for label, count in zip(batch.schema.task.classes, counts, strict=True):
                if count:
                    labels[label] = labels.get(label, 0) + count
            self._confidence.add_all(confidence)

    def _labels(self, version: str) -> dict[str, int]:
        """The counts of a version by label. To make room for it, those of the one admitted first go to `OLDER`."""
        labels = self._predictions.get(version)
        if labels is None:
            kept = [known for known in self._predictions if known != OLDER]
            if len(kept) >= MAX_VERSIONS:
                older = self._predictions.setdefault(OLDER, {})
                for label, count in self._predictions.pop(kept[0]).items():
                    older[label] = older.get(label, 0) + count
            labels = self._predictions[version] = {}
        return labels

    def tally(self, champion: str, challenger: str) -> ShadowComparison:
        """Where these two model versions are compared. Of those before the newest `MAX_VERSIONS` nothing is shown."""
        with self._lock:
            tally = self._tallies.pop((champion, challenger), None) or ShadowComparison(champion, challenger)
            while len(self._tallies) >= MAX_VERSIONS:
                del self._tallies[next(iter(self._tallies))]
            self._tallies[champion, challenger] = tally
        return tally

    def observer_error(self) -> None:
        self._observer_errors.inc()

    def reload(self, result: str) -> None:
        """Counts a look at the registry that changed or failed something: `loaded`, `refused` or `unavailable`."""
        self._reloads.labels(result).inc()

    def serving(self, model_version: str, registry_version: str) -> None:
        """From now on this is the model that is served."""
        self._model.clear()
        self._model.labels(model_version, registry_version).set(1)

    def collect(self) -> Iterable[Metric]:
        requests = CounterMetricFamily("http_requests", "Requests answered", labels=["method", "route", "status"])
        durations = HistogramMetricFamily(
            "http_request_duration_seconds",
            "Time from the first byte of a request to the last of its reply",
            labels=["route"],
        )
        predictions = CounterMetricFamily("model_predictions", "Rows predicted", labels=["model_version", "label"])
        confidence = HistogramMetricFamily(
            "model_prediction_confidence", "Largest probability of each predicted row", labels=[]
        )
        with self._lock:
            for (method, route, status), count in self._requests.items():
                requests.add_metric([method, route, str(status)], count)
            for route, duration in self._durations.items():
                durations.add_metric([route], duration.cumulated(), duration.sum)
            for version, labels in self._predictions.items():
                for label, count in labels.items():
                    predictions.add_metric([version, label], count)
            confidence.add_metric([], self._confidence.cumulated(), self._confidence.sum)
            tallies = list(self._tallies.values())
        return requests, durations, predictions, confidence, *_collected(tallies)

    def text(self, accept: str) -> tuple[bytes, str]:
        """Every counter as OpenMetrics text if the Accept header names it, else as Prometheus', with its content type.

        The library's own choice parses the header's parameters, and fails on odd ones.
        """
        if "application/openmetrics-text" in accept:
            generate: Callable[[CollectorRegistry], bytes] = openmetrics.generate_latest  # says no types
            return generate(self.registry), openmetrics.CONTENT_TYPE_LATEST
        return exposition.generate_latest(self.registry), exposition.CONTENT_TYPE_LATEST

    def snapshot(self) -> dict[str, Any]:
        """The same counters for people. What nothing has been counted for is null, not 0."""
        by_class: defaultdict[str, int] = defaultdict(int)
        requests: defaultdict[str, dict[str, int]] = defaultdict(dict)
        with self._lock:
            for labels in self._predictions.values():
                for label, count in labels.items():
                    by_class[label] += count
            for (_, route, status), count in self._requests.items():
                requests[route][str(status)] = requests[route].get(str(status), 0) + count
            by_version = {version: sum(labels.values()) for version, labels in self._predictions.items()}
            predicted = self._durations.get("/predict", Histogram(DURATION_BUCKETS))
            latency = {"mean": predicted.mean} | {
                f"p{share}": predicted.quantile(share / 100) for share in (50, 95, 99)
            }
            confidence = self._confidence.mean
        errors = {
            route: {status: count for status, count in counts.items() if status >= "400"}
            for route, counts in requests.items()
        }
        return {
            "predictions_total": sum(by_class.values()),
            "predictions_by_class": dict(by_class),
            "predictions_by_version": by_version,
            "mean_confidence": confidence,
            "latency_ms": {name: _milliseconds(seconds) for name, seconds in latency.items()},
            "requests_total": sum(sum(counts.values()) for counts in requests.values()),
            "requests": dict(requests),
            "errors_total": sum(sum(counts.values()) for counts in errors.values()),
            "errors": {route: counts for route, counts in errors.items() if counts},
            "uptime_seconds": round(self.uptime(), 3),
        }


def _collected(tallies: Iterable[ShadowComparison]) -> Iterable[Metric]:
    pair = ["champion", "challenger"]
    rows = CounterMetricFamily(
        "model_shadow_predictions", "Answered rows, by what the challenger made of them", labels=[*pair, "result"]
    )
    distances = HistogramMetricFamily(
        "model_shadow_probability_distance", "Total variation distance of the two models' probabilities", labels=pair
    )
    durations = HistogramMetricFamily(
        "model_shadow_duration_seconds", "Time of the model alone for one row", labels=[*pair, "model_version"]
    )
    for tally in tallies:
        labels = [tally.champion, tally.challenger]
        with tally.lock:
            for result, count in tally.rows.items():
                rows.add_metric([*labels, result], count)
            distances.add_metric(labels, tally.distance.cumulated(), tally.distance.sum)
            for version, taken in tally.latencies.items():
                durations.add_metric([*labels, version], taken.cumulated(), taken.sum)
    return rows, distances, durations


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
